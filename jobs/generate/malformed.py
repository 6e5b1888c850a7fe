"""Records that DynamoDB cannot have written, each made from one that it could have. Pure.

What is wrong with a value is wrong in the key, so that a reader that does not weigh images sees it too.
"""

import json
from collections.abc import Callable
from enum import StrEnum, auto
from random import Random
from typing import Any, Final

_NOT_JSON: Final = (
    b"hello",
    b"<html><body>503 Service Unavailable</body></html>",
    b"id,tenant,updated_at",
    b"{'single': 'quotes'}",
    b"\x00\x00\x00\x00",
    b"\xf3\x89\x9a\xc2\x0b\x0a\x31".replace(b"\x0a", b""),
)
_OTHER_JSON: Final = (b"null", b"42", b'"a string"', b"[]", b"{}", b'[{"S":"a"}]', b'{"Records":7}')
_NESTED_ARRAYS: Final = 20_000
_NESTED_MAPS: Final = 64


class MalformedKind(StrEnum):
    """What is wrong with a record. Those in `UNFRAMED` leave no telling where the record ends.

    `FOREIGN` is a sound record of something else, for a reader to ignore rather than to call malformed.
    """

    TRUNCATED = auto()
    NOT_JSON = auto()
    INVALID_UTF8 = auto()
    OTHER_JSON = auto()
    NOT_A_NUMBER = auto()
    MISSING_KEYS = auto()
    EMPTY_KEYS = auto()
    THREE_KEYS = auto()
    MISSING_TABLE_NAME = auto()
    MISSING_CHANGE = auto()
    FOREIGN = auto()
    WRONG_TYPE_OF_KEYS = auto()
    WRONG_TYPE_OF_SIZE = auto()
    WRONG_TYPE_OF_TIME = auto()
    WRONG_TYPE_OF_VALUE = auto()
    UNKNOWN_ATTRIBUTE_TYPE = auto()
    TWO_TYPES = auto()
    NUMBER_TOO_LONG = auto()
    BINARY_NOT_BASE64 = auto()
    TIME_FAR_AHEAD = auto()
    DEEP_NESTING = auto()
    DEEP_ARRAYS = auto()


UNFRAMED: Final = frozenset(
    {MalformedKind.TRUNCATED, MalformedKind.NOT_JSON, MalformedKind.INVALID_UTF8, MalformedKind.OTHER_JSON}
)


def malformed_record(record: bytes, kind: MalformedKind, random: Random) -> bytes:
    """A record with this fault and an id of its own, otherwise like the given one, on one line."""
    if kind is MalformedKind.NOT_JSON:
        return _NOT_JSON[int(random.random() * len(_NOT_JSON))]
    if kind is MalformedKind.OTHER_JSON:
        return _OTHER_JSON[int(random.random() * len(_OTHER_JSON))]
    fields = json.loads(record)
    fields["eventID"] = f"{random.getrandbits(128):032x}"
    edit = _EDITS.get(kind)
    if edit is not None:
        edit(fields)
    faulty = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    if kind is MalformedKind.TRUNCATED:
        return faulty[: 1 + int(random.random() * (len(faulty) - 1))]
    if kind is MalformedKind.INVALID_UTF8:
        return faulty.replace(b'"tableName":"', b'"tableName":"\xff\xc0', 1)
    if kind is MalformedKind.DEEP_ARRAYS:
        return faulty.replace(b'"<deep>"', b"[" * _NESTED_ARRAYS + b"]" * _NESTED_ARRAYS, 1)
    return faulty


Fields = dict[str, Any]


def _edit_change(fields: Fields, **changed: Any) -> None:
    fields["dynamodb"].update(changed)


def _edit_key(fields: Fields, value: object) -> None:
    """Sets every key attribute, wherever an attribute of the key stands."""
    change = fields["dynamodb"]
    for name in change["Keys"]:
        for part in ("Keys", "NewImage", "OldImage"):
            if part in change:
                change[part][name] = value


def _nest(fields: Fields) -> None:
    value: object = {"S": "deep"}
    for _ in range(_NESTED_MAPS):
        value = {"M": {"m": value}}
    _edit_key(fields, value)


def _move_ahead(fields: Fields) -> None:
    # A clock in nanoseconds, told as microseconds: about 54,000 years ahead.
    change = fields["dynamodb"]
    unit = 1_000 if "ApproximateCreationDateTimePrecision" in change else 1_000_000
    change["ApproximateCreationDateTime"] *= unit
    change["ApproximateCreationDateTimePrecision"] = "MICROSECOND"


_EDITS: Final[dict[MalformedKind, Callable[[Fields], None]]] = {
    MalformedKind.NOT_A_NUMBER: lambda fields: _edit_change(fields, SizeBytes=float("nan")),
    MalformedKind.MISSING_KEYS: lambda fields: fields["dynamodb"].pop("Keys"),
    MalformedKind.EMPTY_KEYS: lambda fields: _edit_change(fields, Keys={}),
    MalformedKind.THREE_KEYS: lambda fields: _edit_change(fields, Keys={name: {"S": name} for name in "abc"}),
    MalformedKind.MISSING_TABLE_NAME: lambda fields: fields.pop("tableName"),
    MalformedKind.MISSING_CHANGE: lambda fields: fields.pop("dynamodb"),
    MalformedKind.FOREIGN: lambda fields: fields.update(eventSource="aws:s3", eventName="ObjectCreated:Put"),
    MalformedKind.WRONG_TYPE_OF_KEYS: lambda fields: _edit_change(fields, Keys=list(fields["dynamodb"]["Keys"])),
    MalformedKind.WRONG_TYPE_OF_SIZE: lambda fields: _edit_change(fields, SizeBytes="many"),
    MalformedKind.WRONG_TYPE_OF_TIME: lambda fields: _edit_change(
        fields, ApproximateCreationDateTime="2026-11-20T10:00:00Z"
    ),
    MalformedKind.WRONG_TYPE_OF_VALUE: lambda fields: _edit_key(fields, {"N": 7}),
    MalformedKind.UNKNOWN_ATTRIBUTE_TYPE: lambda fields: _edit_key(fields, {"DATE": "2026-11-20"}),
    MalformedKind.TWO_TYPES: lambda fields: _edit_key(fields, {"S": "7", "N": "7"}),
    MalformedKind.NUMBER_TOO_LONG: lambda fields: _edit_key(fields, {"N": "1234567890123" * 3}),
    MalformedKind.BINARY_NOT_BASE64: lambda fields: _edit_key(fields, {"B": "not base64!"}),
    MalformedKind.TIME_FAR_AHEAD: _move_ahead,
    MalformedKind.DEEP_NESTING: _nest,
    MalformedKind.DEEP_ARRAYS: lambda fields: _edit_change(fields, Keys={"deep": {"L": "<deep>"}}),
}
