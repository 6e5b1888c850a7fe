"""The meters that ship with Headroom: SQL files, each a named and versioned definition."""
