"""Values and names as TOML text, safe to show on a terminal. Pure."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

_BARE_NAME = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_CHARACTERS = 60


def printable(text: str) -> str:
    r"""The text with everything that would move a cursor or hide escaped as TOML does: "\u001b"."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def toml_string(text: str) -> str:
    """The text as a TOML basic string, quotes included."""
    return '"' + printable(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def toml_name(name: str) -> str:
    """The name as one part of a TOML key: bare where TOML allows it, else quoted."""
    return name if _BARE_NAME.fullmatch(name) else toml_string(name)


def toml_path(path: Iterable[str | int]) -> str:
    """The dotted path of a setting, with places in arrays counted from 0: `limits.rules[2].wcu`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{shortened(toml_name(part))}"
    return text.removeprefix(".")


def toml_value(value: object) -> str:
    """The value as TOML text.

    Raises:
        TypeError: no setting is of this type.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Decimal():
            return format(value, "f")
        case str():
            return toml_string(value)
        case list() | tuple():
            return "[" + ", ".join(toml_value(element) for element in value) + "]"
        case _:
            message = f"no setting is of type {type(value).__name__}"
            raise TypeError(message)


def shown(value: object) -> str:
    """What was found in a file, in one short phrase for a message."""
    match value:
        case Mapping():
            return "a table"
        case list() | tuple():
            return f"an array of {len(value)}" if value else "an empty array"
        case bool() | str():
            return shortened(toml_value(value))
        case int() if abs(value) >= 10**_SHOWN_CHARACTERS:
            return "a very large number"  # Python refuses to write out a number of thousands of digits
        case _:
            return shortened(printable(str(value)))


def shortened(text: str) -> str:
    """The text, cut where it would fill the line."""
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
