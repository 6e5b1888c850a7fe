"""Measurements of the Spot capability, each a module with a `measure` of its own; `python -m bench.spot` runs them."""
