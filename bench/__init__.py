"""How fast a replay is beside other engines, on a recording made on the spot: `python -m bench`."""
