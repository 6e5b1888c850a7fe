"""How figures and tables look in a terminal. I/O."""

from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console

_WIDE_ENOUGH: Final = 200

PLAIN_TABLE: Final[dict[str, Any]] = {
    "title_justify": "left",
    "title_style": "bold",
    "box": None,
    "padding": (0, 2, 0, 0),
}
"""A table without lines, for `rich.table.Table`."""


def counted(count: int, noun: str) -> str:
    """A number of things: "1 key", "2,000 keys"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def utc(at_ms: int) -> str:
    """Month, day and time in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%d %H:%M:%S")


def open_console() -> Console:
    """The output of a command: as wide as the terminal is, and where it is none, as wide as tables want to be.

    Colours are off where it is no terminal, or where NO_COLOR is set.
    """
    console = Console()
    return console if console.is_terminal else Console(width=_WIDE_ENOUGH)
