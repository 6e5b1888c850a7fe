"""Writes the reference page and the example file: `python -m jobs.settings`, in the root of the project."""

from pathlib import Path

from jobs.settings.reference import example_file, reference_page

Path("docs/settings.md").write_text(reference_page(), encoding="utf-8")
Path("headroom.example.toml").write_text(example_file(), encoding="utf-8")
