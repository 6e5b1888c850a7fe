"""A JSON object from outside, read field by field: each is as asked for, or refused by its path. Pure.

The standard library is enough here, so that an actuator needs nothing else to read its messages.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

MAX_NESTING: Final = 64
"""More levels than any message of AWS or of ours has, and few enough for the stack of any thread."""

LARGEST_INTEGER: Final = 2**53 - 1  # the largest that every JSON reader keeps exact

_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = 80

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SAME_NAME_BUT_FOR = str.maketrans("", "", "-_ ")

_T = TypeVar("_T")
_Word = TypeVar("_Word", bound=StrEnum)


class FieldError(ValueError):
    """Something in a message that is not as its kind has it; the text begins with the path of the field."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one object in a message, of which `path` is the place."""

    values: Mapping[str, Any]
    path: str = ""

    def has(self, name: str) -> bool:
        """Whether there is such a field, with something in it."""
        return self.values.get(name) is not None

    def optional(self, read: Callable[[str], _T], name: str) -> _T | None:
        """What `read` reads, None where the field is missing or null."""
        return read(name) if self.has(name) else None

    def text(self, name: str, *, most_chars: int | None = None) -> str:
        """A string of at least one character, and at most `most_chars`."""
        value = self.any_text(name)
        if not value:
            raise self._error(name, "is empty")
        if most_chars is not None and len(value) > most_chars:
            raise self._error(name, f"has {len(value):,} characters, more than {most_chars}")
        return value

    def any_text(self, name: str) -> str:
        """A string, which may be empty."""
        value = self._required(name)
        if not isinstance(value, str):
            raise self._error(name, f"is not a string: {shown(value)}")
        if _LONE_SURROGATE.search(value):
            raise self._error(name, f"has half a character, which no text can hold: {shown(value)}")
        return value

    def matching(self, name: str, pattern: re.Pattern[str], what: str) -> str:
        """A string that matches as a whole; `what` names what it then is."""
        value = self.text(name)
        if not pattern.fullmatch(value):
            raise self._error(name, f"is not {what}: {shown(value)}")
        return value

    def word(self, name: str, words: type[_Word]) -> _Word:
        """One of a closed list of words."""
        value = self.text(name)
        if value not in tuple(words):
            raise self._error(name, f"is none of {', '.join(words)}: {shown(value)}")
        return words(value)

    def parsed(self, name: str, parse: Callable[[str], _T]) -> _T:
        """What `parse` makes of a string; its ValueError says what the string is not."""
        value = self.text(name)
        try:
            return parse(value)
        except ValueError as error:
            raise self._error(name, f"{error}: {shown(value)}") from None

    def integer(self, name: str, *, least: int = -LARGEST_INTEGER, most: int = LARGEST_INTEGER) -> int:
        """A whole number between two others, which are included."""
        value = self._required(name)
        # bool is a subclass of int, and true is no number
        if type(value) is not int or not least <= value <= most:
            raise self._error(name, f"is not an integer from {least} to {most}: {shown(value)}")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._required(name)
        if not isinstance(value, bool):
            raise self._error(name, f"is not true or false: {shown(value)}")
        return value

    def object(self, name: str) -> Fields:
        """The fields of an object inside this one."""
        value = self._required(name)
        if not isinstance(value, dict):
            raise self._error(name, f"is not an object: {shown(value)}")
        return Fields(value, self._path(name))

    def objects(self, name: str) -> list[Fields]:
        """The fields of each object of an array."""
        value = self._required(name)
        if not isinstance(value, list):
            raise self._error(name, f"is not an array: {shown(value)}")
        elements = {f"{name}[{at}]": element for at, element in enumerate(value)}
        for place, element in elements.items():
            if not isinstance(element, dict):
                raise self._error(place, f"is not an object: {shown(element)}")
        return [Fields(element, self._path(place)) for place, element in elements.items()]

    def require_exactly(self, names: Iterable[str]) -> None:
        """Nothing, where there are these fields and no others.

        Raises:
            FieldError: One is missing, or unknown.
        """
        if wrong := self.values.keys() ^ set(names):
            reason = f"{self.path or 'the message'} has missing or unknown fields: {shown(sorted(wrong))}"
            raise FieldError(reason)

    def _required(self, name: str) -> Any:
        value = self.values.get(name)
        if value is None:
            alike = [other for other in self.values if _letters(other) == _letters(name) and other != name]
            raise self._error(name, f"is missing; there is {shown(alike[0])}" if alike else "is missing")
        return value

    def _path(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def _error(self, name: str, reason: str) -> FieldError:
        return FieldError(f"{self._path(name)} {reason}")


def read_object(message: bytes | memoryview, *, max_bytes: int) -> Fields:
    """The fields of a message that is one JSON object in UTF-8.

    Raises:
        FieldError: It is larger than `max_bytes`, nested deeper than `MAX_NESTING`, not JSON as the standard has it
            (which knows no NaN), not an object, or has a field twice.
    """
    if len(message) > max_bytes:
        reason = f"{len(message):,} bytes are more than {max_bytes:,}"
        raise FieldError(reason)
    try:
        text = bytes(message).decode()
        if _nested_too_deep(text):
            reason = f"nested deeper than {MAX_NESTING} levels"
            raise FieldError(reason)
        values = json.loads(text, object_pairs_hook=_without_repeats, parse_constant=_refuse_constant)
    except FieldError:
        raise
    except ValueError as error:
        # UnicodeDecodeError, JSONDecodeError and an integer too long to convert are all ValueError.
        reason = f"not JSON in UTF-8: {error}"
        raise FieldError(reason) from None
    if not isinstance(values, dict):
        reason = f"not a JSON object: {shown(values)}"
        raise FieldError(reason)
    return Fields(values)


def shown(value: object) -> str:
    """A value from a message as a reason may quote it: bounded, without control characters."""
    return _SHORT.repr(value)


def _nested_too_deep(text: str) -> bool:
    if text.count("{") + text.count("[") <= MAX_NESTING:
        return False
    level = 0
    for character in _STRING.sub("", text):
        if character in "{[":
            level += 1
            if level > MAX_NESTING:
                return True
        elif character in "}]":
            level -= 1
    return False


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        reason = f"{shown(repeated)} is there twice"
        raise FieldError(reason)
    return fields


def _refuse_constant(constant: str) -> None:
    reason = f"not JSON in UTF-8: {constant} is no number"
    raise FieldError(reason)


def _letters(name: str) -> str:
    return name.translate(_SAME_NAME_BUT_FOR).lower()
