"""Actuators: the only code that changes anything outside. Imports `connectors`, never `jobs` or Flink."""
