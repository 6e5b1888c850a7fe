"""Tune: what other settings would have done with a recording."""
