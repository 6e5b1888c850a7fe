"""Flink applications: a package per capability, with its pure logic beside the graph that uses it."""
