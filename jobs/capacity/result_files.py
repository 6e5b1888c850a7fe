"""The files in the directory that a replay of the capacity job leaves."""

from typing import Final

SETTINGS_FILE: Final = "settings.toml"
LINE_FILES: Final = ("actions.jsonl", "shadow.jsonl", "windows.jsonl", "malformed.jsonl", "late.jsonl", SETTINGS_FILE)

REPORT_FILE: Final = "report.html"
"""A replay does not write it, but it may be in the directory, and goes with the result that it is of."""
