"""Spot: interruptions of instances, and the state of the market that their capacity comes from."""
