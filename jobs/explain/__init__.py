"""Explain: the evidence behind a decision, or behind none having been made."""
