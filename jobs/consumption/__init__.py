"""Consumption: what each partition key of a recording wrote, second by second, without Flink; kept for the next look."""
