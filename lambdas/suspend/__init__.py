"""The suspend actuator: takes actions from a queue, and keeps the leases of suspended partition keys in a cache."""
