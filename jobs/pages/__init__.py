"""Pages: HTML that needs nothing but itself."""
