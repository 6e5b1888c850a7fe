"""The group of metrics that Managed Service for Apache Flink publishes to CloudWatch. Pure."""

from typing import Final

PUBLISHED: Final = "kinesisanalytics"
"""Of a job's own metrics the service publishes those in this group, and no others.

Source: https://docs.aws.amazon.com/managed-flink/latest/java/monitoring-metrics-custom.html
"""
