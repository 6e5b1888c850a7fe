"""One record of a DynamoDB change stream, read in full: the change that it tells of, or why it tells of none. Pure.

Source: Amazon DynamoDB Developer Guide, "Using Kinesis Data Streams to capture changes to DynamoDB" (kds).
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from connectors.dynamodb.change import NO_SETTINGS, Change, EventName, Ignored, Malformed, TableSchema
from connectors.dynamodb.errors import MalformedRecordError, shown
from connectors.dynamodb.item_size import write_capacity_units
from connectors.dynamodb.record_fields import (
    at_ms_of,
    event_id_of,
    event_name_of,
    images_bytes,
    keys_of,
    object_of,
    partition_key_of,
    refuse_odd_source,
    size_bytes_of,
    table_of,
)
from connectors.dynamodb.record_json import decoded_record

_TTL_PRINCIPAL: Final = "dynamodb.amazonaws.com"

_T = TypeVar("_T")
_Kind = TypeVar("_Kind", Malformed, Ignored)


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
        decoded = decoded_record(record)
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
    refuse_odd_source(decoded)
    table = table_of(decoded)
    event_name = event_name_of(decoded)
    event_id = event_id_of(decoded)
    stream_record = object_of(decoded, "dynamodb")
    at_ms = at_ms_of(stream_record)
    keys, keys_bytes = keys_of(stream_record)
    partition_key, partition_key_type = partition_key_of(keys, table, schemas, default)
    old_bytes, new_bytes = images_bytes(stream_record, event_name)
    size_bytes = size_bytes_of(stream_record)
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
        keys, _keys_bytes = keys_of(object_of(decoded, "dynamodb"))
        return partition_key_of(keys, table_of(decoded), schemas, default)

    partition_key, partition_key_type = _unless_malformed(key) or (None, None)
    name = decoded.get("eventName")
    return kind(
        reason=reason,
        table=_unless_malformed(lambda: table_of(decoded)),
        partition_key=partition_key,
        partition_key_type=partition_key_type,
        at_ms=_unless_malformed(lambda: at_ms_of(object_of(decoded, "dynamodb"))),
        event_id=_unless_malformed(lambda: event_id_of(decoded)),
        event_name=name if isinstance(name, str) else None,
    )


def _unless_malformed(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except MalformedRecordError:
        return None


def _is_expiry(decoded: dict[str, Any], event_name: EventName) -> bool:
    return decoded.get("userIdentity") is not None and is_expiry(event_name, object_of(decoded, "userIdentity"))
