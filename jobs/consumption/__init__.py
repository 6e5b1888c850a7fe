"""Consumption: what each partition key of a recording wrote, second by second, read without Flink and kept."""
