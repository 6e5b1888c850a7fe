"""Views that the meters read: SQL files."""
