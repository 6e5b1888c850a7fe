"""Writes what the docs say of settings: `python -m jobs.settings`, in the root of the project."""

from pathlib import Path

from jobs.settings.reference import example_file, readme_with_table, reference_page

Path("docs/settings.md").write_text(reference_page(), encoding="utf-8")
Path("headroom.example.toml").write_text(example_file(), encoding="utf-8")
readme = Path("README.md")
readme.write_text(readme_with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")
