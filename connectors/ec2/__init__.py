"""Events of EC2, Auto Scaling and AWS Health about instances, as EventBridge delivers them."""
