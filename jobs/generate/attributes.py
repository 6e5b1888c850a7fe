"""Attributes of all types that DynamoDB has, with values that are hard to weigh. Pure."""

from base64 import b64encode
from collections.abc import Collection, Sequence
from random import Random
from typing import Any, Final, TypeVar

AttributeValue = dict[str, Any]

_MOST_NESTING: Final = 5
# Values come from a few of each type: a recording has to be small when compressed.
_VALUES: Final = 32
_NAMES: Final = (
    "status", "priority", "subject", "channel", "assignee", "tags", "labels", "meta", "parts", "source",
    "rating", "score", "attempts", "balance", "read", "archived", "deleted_by", "checksum", "thumbnail",
    "keys_seen", "history", "contact", "prénom", "display name", 'quoted "name"', "ünïcode", "a",
)  # fmt: skip
_WORDS: Final = (
    "open", "closed", "snoozed", "e-mail", "chat", "webhook", "billing", "refund", "invoice", "delivery", "",
    "été", "Grüße", "привет", "注文", "👍🏽", 'said "no"', "back\\slash", "two\nlines", "tab\there", "<b>",
)  # fmt: skip
_LONG_NUMBER: Final = "13579246801357924680135792468013579246"  # 38 digits, the most that DynamoDB keeps
_T = TypeVar("_T")


def pick(random: Random, choices: Sequence[_T]) -> _T:
    """One of the choices, all alike."""
    # The methods of Random beyond random() and getrandbits() may draw differently in another Python.
    return choices[int(random.random() * len(choices))]


def twice_encoded(data: bytes) -> str:
    """Bytes as the stream to Kinesis tells them, in base64 of base64."""
    return b64encode(b64encode(data)).decode()


class Attributes:
    """A source of attributes, none with one of the taken names."""

    def __init__(self, random: Random, taken_names: Collection[str]) -> None:
        self._random = random
        self._names = [name for name in _NAMES if name not in taken_names]
        self._strings = [_string(random) for _ in range(_VALUES)]
        self._numbers = ["0", _LONG_NUMBER, *(_number(random) for _ in range(_VALUES))]
        self._binaries = [twice_encoded(_bytes(random)) for _ in range(_VALUES // 4)]

    def some(self, count: int) -> AttributeValue:
        """So many attributes of an item."""
        left = list(self._names)
        names = [left.pop(int(self._random.random() * len(left))) for _ in range(min(count, len(left)))]
        return {name: self._value(1) for name in names}

    def _value(self, depth: int) -> AttributeValue:
        chance = self._random.random()
        if chance < 0.3:
            return {"S": pick(self._random, self._strings)}
        if chance < 0.5:
            return {"N": pick(self._random, self._numbers)}
        if chance < 0.75 or depth >= _MOST_NESTING:
            return self._rare_value()
        return self._nested(depth)

    def _nested(self, depth: int) -> AttributeValue:
        values = [self._value(depth + 1) for _ in range(int(self._random.random() * 4))]
        if self._random.random() < 0.5:
            return {"L": values}
        return {"M": {pick(self._random, _NAMES): value for value in values}}

    def _rare_value(self) -> AttributeValue:
        kind = pick(self._random, ("B", "BOOL", "NULL", "SS", "NS", "BS"))
        if kind == "NULL":
            return {"NULL": True}
        if kind == "BOOL":
            return {"BOOL": self._random.random() < 0.5}
        if kind == "B":
            return {"B": pick(self._random, self._binaries)}
        members = {"SS": self._strings, "NS": self._numbers, "BS": self._binaries}[kind]
        drawn = [pick(self._random, members) for _ in range(1 + int(self._random.random() * 3))]
        return {kind: list(dict.fromkeys(drawn))}


def _string(random: Random) -> str:
    return " ".join(pick(random, _WORDS) for _ in range(int(random.random() * 5)))


def _bytes(random: Random) -> bytes:
    return bytes(random.getrandbits(8) for _ in range(int(random.random() * 24)))


def _number(random: Random) -> str:
    """A number as DynamoDB writes it, without zeros that say nothing."""
    digits = str(1 + random.getrandbits(1 + int(random.random() * 50)))
    sign = pick(random, ("", "", "-"))
    chance = random.random()
    if chance < 0.5:
        return sign + digits
    if chance < 0.65:
        return sign + digits + "0" * int(random.random() * 12)
    fraction = "0" * int(random.random() * 6) + str(1 + random.getrandbits(12)).rstrip("0")
    return f"{sign}{pick(random, ('0', digits))}.{fraction}"
