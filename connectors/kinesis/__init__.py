"""Kinesis Data Streams: reading a stream's shards, by Python or by AWS's own Flink source."""
