"""The group of metrics that Managed Service for Apache Flink publishes, and what a source counts. Pure."""

from typing import Final

PUBLISHED: Final = "kinesisanalytics"
"""Of a job's own metrics the service publishes those in this group, and no others.

Source: https://docs.aws.amazon.com/managed-flink/latest/java/monitoring-metrics-custom.html
"""

SOURCE_COUNTERS: Final = {
    "records": "records that the stream gave",
    "bytes": "their bytes",
    "finished_shards": "shards that were read to their end, after a split or a merge",
    "retention_gaps": "times that the stream had dropped what was not read yet",
    "throttled": "polls that Kinesis put off, for others read the same shards",
    "server_errors": "polls that Kinesis did not answer",
    "expired_iterators": "polls that came too late after the one before",
    "ahead_of_clock": "polls that Kinesis put off, for this machine's clock is ahead of its own",
    "listing_errors": "times that the shards could not be listed",
}
"""Counters of a source that reads Kinesis, and what each counts."""
