"""One record of a DynamoDB change stream to Kinesis: what was written, by which key, and what it cost.

Source: Amazon DynamoDB Developer Guide, "Using Kinesis Data Streams to capture changes to DynamoDB" (kds).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from connectors.dynamodb.errors import MalformedRecordError, shown
from connectors.dynamodb.item_size import (
    MAX_NESTING,
    attribute_value_bytes,
    binary_text,
    item_bytes,
    write_capacity_units,
)

MAX_RECORD_BYTES: Final = 10 * 1024 * 1024
"""The largest payload of a Kinesis record. Source: Kinesis Developer Guide, service-sizes-and-limits."""

MAX_TABLE_NAME_CHARS: Final = 255
"""Source: DynamoDB Developer Guide, HowItWorks.NamingRulesDataTypes, "Naming rules"."""

MAX_PARTITION_KEY_BYTES: Final = 2048
"""Source: DynamoDB Developer Guide, ServiceQuotas, "Partition key length"."""

MICROSECONDS_ABOVE: Final = 100_000_000_000_000
"""A larger time is in microseconds: as milliseconds it lies after the year 5138, as microseconds after 1973."""

LAST_MS_OF_YEAR_9999: Final = 253_402_300_799_999
"""No time is later."""

_MS_PER_YEAR: Final = 31_556_952_000
_KEY_TYPES: Final = frozenset({"S", "N", "B"})
_TTL_PRINCIPAL: Final = "dynamodb.amazonaws.com"

# Record, "dynamodb" and image, then two JSON levels for each map or list, then a value and its set.
_MAX_JSON_NESTING: Final = 3 + 2 * MAX_NESTING + 2
_TOO_MANY_IN_A_ROW: Final = b"{" * (_MAX_JSON_NESTING + 1)
# A decoder recurses once a level, on whatever stack its thread has (Flink's are smaller than Python's own):
# this many levels are safe on any, and most records have fewer brackets in all.
_SAFE_NESTING: Final = 400
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS_AS_BRACES: Final = bytes.maketrans(b"[]", b"{}")
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

_BARE_TOML_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class TableSchema:
    """What settings say about a table.

    Attributes:
        partition_key: the attribute that is the partition key. The stream does not say which of two key
            attributes it is; None where it is not known.
        transactional: whether the table is written in transactions, which cost twice.
    """

    partition_key: str | None
    transactional: bool = False


class EventName(StrEnum):
    """What happened to the item."""

    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"


@dataclass(frozen=True, slots=True)
class Change:
    """One write to one item.

    Attributes:
        table: the table's name.
        partition_key: the partition key's value as text: strings as they are, numbers as in the record,
            binaries in base64.
        partition_key_type: ``S``, ``N`` or ``B``.
        at_ms: when the item was written, in milliseconds since 1970.
        event_id: identifies the change; a duplicate of a record has the same. None where it has none.
        event_name: what happened to the item.
        keys_bytes: the size of the key attributes.
        old_bytes: the size of the item before the write; None where the record has no old image.
        new_bytes: the size of the item after the write; None where the record has no new image.
        size_bytes: what the record itself says the sizes add up to; None where it does not say.
        size_matches: whether they do; None where the record does not say.
        wcu: the write capacity units that the write consumed.
    """

    table: str
    partition_key: str
    partition_key_type: str
    at_ms: int
    event_id: str | None
    event_name: EventName
    keys_bytes: int
    old_bytes: int | None
    new_bytes: int | None
    size_bytes: int | None
    size_matches: bool | None
    wcu: int


@dataclass(frozen=True, slots=True)
class _NotAChange:
    reason: str
    table: str | None = None
    partition_key: str | None = None
    partition_key_type: str | None = None
    at_ms: int | None = None
    event_id: str | None = None
    event_name: str | None = None


class Malformed(_NotAChange):
    """A record that should be a change and is broken; beside the reason, what could still be read."""

    __slots__ = ()


class Ignored(_NotAChange):
    """A record that says plainly that it is something else; beside the reason, what could be read."""

    __slots__ = ()


_T = TypeVar("_T")
_Kind = TypeVar("_Kind", bound=_NotAChange)

NO_SETTINGS: Final = TableSchema(partition_key=None)


def parse_change(
    record: bytes | memoryview,
    schemas: Mapping[str, TableSchema],
    default: TableSchema = NO_SETTINGS,
) -> Change | Malformed | Ignored:
    """Return the change that a record tells of, or why it tells of none; never raises.

    Both images are validated and weighed, whatever ``SizeBytes`` says.

    Source: Developer Guide, kds ("ApproximateCreationDateTimePrecision"), streamsmain, and
    time-to-live-ttl-streams for deletes by expiry, which consume nothing.

    Args:
        record: the payload of one Kinesis record, JSON in UTF-8.
        schemas: what is known of tables, by name.
        default: what holds for all other tables.
    """
    try:
        decoded = _decoded(record)
    except MalformedRecordError as error:
        return Malformed(str(error))
    not_ours = _why_not_ours(decoded)
    if not_ours is not None:
        return _set_aside(Ignored, not_ours, decoded, schemas, default)
    try:
        return _change(decoded, schemas, default)
    except MalformedRecordError as error:
        return _set_aside(Malformed, str(error), decoded, schemas, default)


def is_expiry(event_name: str, user: Mapping[str, Any]) -> bool:
    """Return whether this user's write of this kind is a delete by expiry, which consumes nothing."""
    # DynamoDB Streams, the other stream, writes these names with a capital.
    kind = user.get("type", user.get("Type"))
    principal = user.get("principalId", user.get("PrincipalId"))
    return event_name == EventName.REMOVE and kind == "Service" and principal == _TTL_PRINCIPAL


def _decoded(record: bytes | memoryview) -> dict[str, Any]:
    if len(record) > MAX_RECORD_BYTES:
        reason = f"a record of {len(record):,} bytes: Kinesis carries at most {MAX_RECORD_BYTES:,}"
        raise MalformedRecordError(reason)
    text = bytes(record)
    if _nested_too_deep(text):
        reason = f"nested deeper than the {MAX_NESTING} levels of an item"
        raise MalformedRecordError(reason)
    try:
        text.decode()  # first, so that bad bytes are named as such wherever they are
        decoded = msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        reason = f"not valid UTF-8 at byte {error.start}"
        raise MalformedRecordError(reason) from None
    except (msgspec.DecodeError, RecursionError) as error:
        reason = f"not valid JSON: {error}"
        raise MalformedRecordError(reason) from None
    if not isinstance(decoded, dict):
        reason = f"not a JSON object: {shown(decoded)}"
        raise MalformedRecordError(reason)
    return decoded


def _nested_too_deep(text: bytes) -> bool:
    if text.count(b"{") + text.count(b"[") <= _SAFE_NESTING:
        return False
    braces = _STRING.sub(b"", text).translate(_BRACKETS_AS_BRACES, _ALL_BUT_BRACKETS)
    if _TOO_MANY_IN_A_ROW in braces:
        return True
    for _level in range(_MAX_JSON_NESTING):
        outer = braces.replace(b"{}", b"")
        if len(outer) == len(braces):
            break
        braces = outer
    # What remains of a record cut short is its open brackets, and those are for the decoder to complain of.
    return braces.count(b"{") > _SAFE_NESTING


def _why_not_ours(decoded: dict[str, Any]) -> str | None:
    source = decoded.get("eventSource")
    if isinstance(source, str) and source != "aws:dynamodb":
        return f"not from DynamoDB: eventSource is {shown(source)}"
    if "detail-type" in decoded and "source" in decoded and "dynamodb" not in decoded:
        return f"not from DynamoDB: an EventBridge event of source {shown(decoded['source'])}"
    name = decoded.get("eventName")
    if isinstance(name, str) and name not in EventName.__members__:
        return f"not a known kind of change: eventName is {shown(name)}"
    return None


def _change(decoded: dict[str, Any], schemas: Mapping[str, TableSchema], default: TableSchema) -> Change:
    _refuse_odd_source(decoded)
    table = _table(decoded)
    event_name = _event_name(decoded)
    event_id = _event_id(decoded)
    stream_record = _object(decoded, "dynamodb")
    at_ms = _at_ms(stream_record)
    keys, keys_bytes = _keys(stream_record)
    partition_key, partition_key_type = _partition_key(keys, table, schemas, default)
    old_bytes, new_bytes = _images_bytes(stream_record, event_name)
    size_bytes = _size_bytes(stream_record)
    weighed_bytes = keys_bytes + (old_bytes or 0) + (new_bytes or 0)
    units = write_capacity_units(max(old_bytes or 0, new_bytes or 0))
    transactional = schemas.get(table, default).transactional
    return Change(
        table=table,
        partition_key=partition_key,
        partition_key_type=partition_key_type,
        at_ms=at_ms,
        event_id=event_id,
        event_name=event_name,
        keys_bytes=keys_bytes,
        old_bytes=old_bytes,
        new_bytes=new_bytes,
        size_bytes=size_bytes,
        size_matches=None if size_bytes is None else size_bytes == weighed_bytes,
        wcu=0 if _is_expiry(decoded, event_name) else units * (2 if transactional else 1),
    )


def _set_aside(
    kind: type[_Kind],
    reason: str,
    decoded: dict[str, Any],
    schemas: Mapping[str, TableSchema],
    default: TableSchema,
) -> _Kind:
    def key() -> tuple[str, str]:
        keys, _keys_bytes = _keys(_object(decoded, "dynamodb"))
        return _partition_key(keys, _table(decoded), schemas, default)

    partition_key, partition_key_type = _unless_malformed(key) or (None, None)
    name = decoded.get("eventName")
    return kind(
        reason=reason,
        table=_unless_malformed(lambda: _table(decoded)),
        partition_key=partition_key,
        partition_key_type=partition_key_type,
        at_ms=_unless_malformed(lambda: _at_ms(_object(decoded, "dynamodb"))),
        event_id=_unless_malformed(lambda: _event_id(decoded)),
        event_name=name if isinstance(name, str) else None,
    )


def _unless_malformed(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except MalformedRecordError:
        return None


def _required(holder: dict[str, Any], name: str) -> Any:
    value = holder.get(name)
    if value is None:
        reason = f"{name} is missing"
        raise MalformedRecordError(reason)
    return value


def _object(holder: dict[str, Any], name: str) -> dict[str, Any]:
    value = _required(holder, name)
    if not isinstance(value, dict):
        reason = f"{name} is not an object: {shown(value)}"
        raise MalformedRecordError(reason)
    return value


def _refuse_odd_source(decoded: dict[str, Any]) -> None:
    source = decoded.get("eventSource")
    if source is not None and not isinstance(source, str):
        reason = f"eventSource is not a string: {shown(source)}"
        raise MalformedRecordError(reason)


def _table(decoded: dict[str, Any]) -> str:
    table = _required(decoded, "tableName")
    if not isinstance(table, str) or not 0 < len(table) <= MAX_TABLE_NAME_CHARS:
        reason = f"tableName is not the name of a table: {shown(table)}"
        raise MalformedRecordError(reason)
    return table


def _event_name(decoded: dict[str, Any]) -> EventName:
    name = _required(decoded, "eventName")
    if not isinstance(name, str):
        reason = f"eventName is not a string: {shown(name)}"
        raise MalformedRecordError(reason)
    return EventName(name)


def _event_id(decoded: dict[str, Any]) -> str | None:
    event_id = decoded.get("eventID")
    if event_id is not None and not isinstance(event_id, str):
        reason = f"eventID is not a string: {shown(event_id)}"
        raise MalformedRecordError(reason)
    return event_id


def _at_ms(stream_record: dict[str, Any]) -> int:
    value = _required(stream_record, "ApproximateCreationDateTime")
    if type(value) is not int or value <= 0:
        reason = f"ApproximateCreationDateTime is not a positive integer: {shown(value)}"
        raise MalformedRecordError(reason)
    # A table's precision can be changed while records of both are under way, and not all records name it:
    # each is read by itself.
    microseconds = _precision(stream_record) == "MICROSECOND" or value > MICROSECONDS_ABOVE
    at_ms = value // 1000 if microseconds else value
    if at_ms > LAST_MS_OF_YEAR_9999:
        years = at_ms // _MS_PER_YEAR
        reason = f"ApproximateCreationDateTime {shown(value)} lies about {years:,} years ahead of 1970"
        raise MalformedRecordError(reason)
    return at_ms


def _precision(stream_record: dict[str, Any]) -> str | None:
    precision = stream_record.get("ApproximateCreationDateTimePrecision")
    if precision not in (None, "MILLISECOND", "MICROSECOND"):
        reason = f"ApproximateCreationDateTimePrecision is not one that is known: {shown(precision)}"
        raise MalformedRecordError(reason)
    return precision


def _keys(stream_record: dict[str, Any]) -> tuple[dict[str, Any], int]:
    keys = _object(stream_record, "Keys")
    if len(keys) not in (1, 2):
        reason = f"Keys has {len(keys)} attributes, a primary key has 1 or 2"
        raise MalformedRecordError(reason)
    keys_bytes = _weighed(keys, "Keys")
    for name, value in keys.items():
        if _KEY_TYPES.isdisjoint(value):
            reason = f"not of a type that a key can have (S, N, B): {shown(value)}"
            located = MalformedRecordError(reason).within(name).within("Keys")
            raise located
    return keys, keys_bytes


def _partition_key(
    keys: dict[str, Any], table: str, schemas: Mapping[str, TableSchema], default: TableSchema
) -> tuple[str, str]:
    name = next(iter(keys)) if len(keys) == 1 else _partition_key_name(keys, table, schemas, default)
    size_bytes = attribute_value_bytes(keys[name])
    if not 0 < size_bytes <= MAX_PARTITION_KEY_BYTES:
        reason = f"a partition key of {size_bytes:,} bytes: DynamoDB allows 1 to {MAX_PARTITION_KEY_BYTES:,}"
        located = MalformedRecordError(reason).within(name).within("Keys")
        raise located
    [(tag, body)] = keys[name].items()
    return (binary_text(body) if tag == "B" else body), tag


def _partition_key_name(
    keys: dict[str, Any], table: str, schemas: Mapping[str, TableSchema], default: TableSchema
) -> str:
    name = schemas.get(table, default).partition_key or default.partition_key
    if name is not None and name in keys:
        return name
    first, second = sorted(keys)
    has = f"table {_quoted(table)} has the key attributes {_quoted(first)} and {_quoted(second)}"
    setting = f"[tables.{table if _BARE_TOML_KEY.fullmatch(table) else _quoted(table)}] partition_key"
    reason = f"{has}: set {setting}" if name is None else f"{has}: {setting} is {_quoted(name)}"
    raise MalformedRecordError(reason)


def _quoted(name: str) -> str:
    return json.dumps(name[:MAX_TABLE_NAME_CHARS], ensure_ascii=False)


def _images_bytes(stream_record: dict[str, Any], event_name: EventName) -> tuple[int | None, int | None]:
    old_bytes = _image_bytes(stream_record, "OldImage")
    new_bytes = _image_bytes(stream_record, "NewImage")
    if old_bytes is None and new_bytes is None:
        reason = "NewImage and OldImage are both missing: a write is weighed by its images"
        raise MalformedRecordError(reason)
    if event_name is EventName.INSERT and new_bytes is None:
        reason = "NewImage is missing from an INSERT"
        raise MalformedRecordError(reason)
    if event_name is EventName.REMOVE and old_bytes is None:
        reason = "OldImage is missing from a REMOVE"
        raise MalformedRecordError(reason)
    return old_bytes, new_bytes


def _image_bytes(stream_record: dict[str, Any], name: str) -> int | None:
    return None if stream_record.get(name) is None else _weighed(_object(stream_record, name), name)


def _weighed(attributes: dict[str, Any], name: str) -> int:
    try:
        return item_bytes(attributes)
    except MalformedRecordError as error:
        located = error.within(name)
        raise located from None


def _size_bytes(stream_record: dict[str, Any]) -> int | None:
    size_bytes = stream_record.get("SizeBytes")
    if size_bytes is None:
        return None
    if type(size_bytes) is not int or size_bytes < 0:
        reason = f"SizeBytes is not a size: {shown(size_bytes)}"
        raise MalformedRecordError(reason)
    return size_bytes


def _is_expiry(decoded: dict[str, Any], event_name: EventName) -> bool:
    return decoded.get("userIdentity") is not None and is_expiry(event_name, _object(decoded, "userIdentity"))
