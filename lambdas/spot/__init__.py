"""What the Spot actuators share: the plan, the swap saga, and the one place that calls EC2 and Auto Scaling."""
