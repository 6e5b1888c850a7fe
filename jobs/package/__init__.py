"""Packages for AWS: a zip a capability for Managed Service for Apache Flink, and one with all lambdas."""
