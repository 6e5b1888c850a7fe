"""Report: what a replay found, as a page."""
