"""The edges: wire formats and I/O. Imports nothing from `jobs` or `lambdas`."""
