"""The fields of a record of a change stream, each read by itself. Pure.

Each function raises `MalformedRecordError` where its field is missing or broken.

Source: Amazon DynamoDB Developer Guide, "Using Kinesis Data Streams to capture changes to DynamoDB" (kds).
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from connectors.dynamodb.change import MAX_TABLE_NAME_CHARS, EventName, TableSchema
from connectors.dynamodb.errors import MalformedRecordError, shown
from connectors.dynamodb.item_size import attribute_value_bytes, binary_text, item_bytes

MAX_PARTITION_KEY_BYTES: Final = 2048
"""Source: DynamoDB Developer Guide, ServiceQuotas, "Partition key length"."""

MICROSECONDS_ABOVE: Final = 100_000_000_000_000
"""A larger time is in microseconds: as milliseconds it lies after the year 5138, as microseconds after 1973."""

LAST_MS_OF_YEAR_9999: Final = 253_402_300_799_999
"""No time is later."""

_MS_PER_YEAR: Final = 31_556_952_000
_KEY_TYPES: Final = frozenset({"S", "N", "B"})

_BARE_TOML_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _required(holder: dict[str, Any], name: str) -> Any:
    value = holder.get(name)
    if value is None:
        reason = f"{name} is missing"
        raise MalformedRecordError(reason)
    return value


def object_of(holder: dict[str, Any], name: str) -> dict[str, Any]:
    """The JSON object of this name in another."""
    value = _required(holder, name)
    if not isinstance(value, dict):
        reason = f"{name} is not an object: {shown(value)}"
        raise MalformedRecordError(reason)
    return value


def refuse_odd_source(decoded: dict[str, Any]) -> None:
    """Raise where the record's source is no text; which sources are ours, `parse` judges."""
    source = decoded.get("eventSource")
    if source is not None and not isinstance(source, str):
        reason = f"eventSource is not a string: {shown(source)}"
        raise MalformedRecordError(reason)


def table_of(decoded: dict[str, Any]) -> str:
    """The table's name."""
    table = _required(decoded, "tableName")
    if not isinstance(table, str) or not 0 < len(table) <= MAX_TABLE_NAME_CHARS:
        reason = f"tableName is not the name of a table: {shown(table)}"
        raise MalformedRecordError(reason)
    return table


def event_name_of(decoded: dict[str, Any]) -> EventName:
    """What happened to the item, of a name that is known."""
    name = _required(decoded, "eventName")
    if not isinstance(name, str):
        reason = f"eventName is not a string: {shown(name)}"
        raise MalformedRecordError(reason)
    return EventName(name)


def event_id_of(decoded: dict[str, Any]) -> str | None:
    """What identifies the change, None where nothing does."""
    event_id = decoded.get("eventID")
    if event_id is not None and not isinstance(event_id, str):
        reason = f"eventID is not a string: {shown(event_id)}"
        raise MalformedRecordError(reason)
    return event_id


def at_ms_of(stream_record: dict[str, Any]) -> int:
    """When the item was written, in milliseconds since 1970, whatever the precision."""
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


def keys_of(stream_record: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The key attributes, of types that keys can have, and their size."""
    keys = object_of(stream_record, "Keys")
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


def partition_key_of(
    keys: dict[str, Any], table: str, schemas: Mapping[str, TableSchema], default: TableSchema
) -> tuple[str, str]:
    """The partition key's value as text, and its type."""
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


def images_bytes(stream_record: dict[str, Any], event_name: EventName) -> tuple[int | None, int | None]:
    """The sizes of the item before and after the write, None for an image that is not there."""
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
    return None if stream_record.get(name) is None else _weighed(object_of(stream_record, name), name)


def _weighed(attributes: dict[str, Any], name: str) -> int:
    try:
        return item_bytes(attributes)
    except MalformedRecordError as error:
        located = error.within(name)
        raise located from None


def size_bytes_of(stream_record: dict[str, Any]) -> int | None:
    """What the record says that all sizes add up to; None where it does not say."""
    size_bytes = stream_record.get("SizeBytes")
    if size_bytes is None:
        return None
    if type(size_bytes) is not int or size_bytes < 0:
        reason = f"SizeBytes is not a size: {shown(size_bytes)}"
        raise MalformedRecordError(reason)
    return size_bytes
