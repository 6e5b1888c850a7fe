"""What each change cost, for many records a second: no image is looked into unless its size decides. Pure.

Where a record is as DynamoDB usually writes it, its cost follows from `SizeBytes`. Everything else goes to
`parse_change`, which looks at all of it, so the two agree on every record whose images are sound; what the fast path
never sees is what stands inside images that need no weighing.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from connectors.dynamodb.change import (
    Change,
    Ignored,
    Malformed,
    TableSchema,
    parse_change,
)
from connectors.dynamodb.item_size import number_bytes

_WRITE_UNIT_BYTES: Final = 1024
# Longer runs of digits are left to the exact rule for numbers.
_PLAIN_NUMBER_DIGITS: Final = 38
# Above this a time is in microseconds: in milliseconds it would lie past the year 5138.
_LATEST_IN_MILLISECONDS: Final = 10**14
_NO_SETTINGS: Final = TableSchema(partition_key=None)
_NO_IMAGE: Final = msgspec.Raw(b"")
_NULL_IMAGE: Final = msgspec.Raw(b"null")


class WriteCost(NamedTuple):
    """One change as the windows count it. `document` is its place in the sequence it was decoded from."""

    table: str
    partition_key: str
    partition_key_type: str
    at_ms: int
    wcu: int
    size_mismatch: bool
    document: int


class _KeyValue(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    S: str | None = None
    N: str | None = None
    B: str | None = None


class _Body(msgspec.Struct, gc=False):
    ApproximateCreationDateTime: int
    Keys: dict[str, _KeyValue]
    SizeBytes: int
    NewImage: msgspec.Raw = _NO_IMAGE
    OldImage: msgspec.Raw = _NO_IMAGE
    ApproximateCreationDateTimePrecision: str | None = None


class _Record(msgspec.Struct, gc=False):
    eventName: str
    tableName: str
    eventSource: str
    dynamodb: _Body
    userIdentity: dict[str, str] | None = None


_decode: Final = msgspec.json.Decoder(_Record).decode


class FastPath:
    """Decodes change records of known tables into their costs.

    Args:
        schemas: What is known of each table.
        default: What holds for a table that is not named there.
        weigh_always: Look into every image of every record, as `parse_change` does.
    """

    def __init__(
        self,
        schemas: Mapping[str, TableSchema],
        default: TableSchema = _NO_SETTINGS,
        *,
        weigh_always: bool = False,
    ) -> None:
        self._schemas = dict(schemas)
        self._default = default
        self._weigh_always = weigh_always

    def decode_all(self, records: Sequence[bytes]) -> tuple[list[WriteCost], list[tuple[int, Malformed | Ignored]]]:
        """The costs of the records that are changes, and the outcomes of the others with their places, in order."""
        costs: list[WriteCost] = []
        others: list[tuple[int, Malformed | Ignored]] = []
        for document, record in enumerate(records):
            outcome = self.decode(record, document)
            if outcome.__class__ is WriteCost:
                costs.append(outcome)
            else:
                others.append((document, outcome))
        return costs, others

    def decode(self, record: bytes, document: int = 0) -> WriteCost | Malformed | Ignored:
        """What one record cost, or why it counts for nothing."""
        if not self._weigh_always:
            try:
                change = _decode(record)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return self.weigh(record, document)
            if record.isascii() or _is_utf8(record):
                schema = self._schemas.get(change.tableName, self._default)
                cost = _cost_by_sum(change, schema, document)
                if cost is not None:
                    return cost
        return self.weigh(record, document)

    def weigh(self, record: bytes, document: int = 0) -> WriteCost | Malformed | Ignored:
        """The same as `decode`, by looking at everything."""
        change = parse_change(record, self._schemas, self._default)
        if not isinstance(change, Change):
            return change
        mismatch = change.size_matches is False
        key, key_type = change.partition_key, change.partition_key_type
        return WriteCost(change.table, key, key_type, change.at_ms, change.wcu, mismatch, document)


def peek_time_ms(record: bytes) -> int | None:
    """The time in a record that looks like a change, in milliseconds; None in any other."""
    try:
        at_ms = _decode(record).dynamodb.ApproximateCreationDateTime
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return at_ms // 1000 if at_ms > _LATEST_IN_MILLISECONDS else at_ms


def _is_utf8(record: bytes) -> bool:
    # msgspec does not look at the bytes of strings that it skips.
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cost_by_sum(change: _Record, schema: TableSchema, document: int) -> WriteCost | None:
    """The cost where it follows from the sum of the sizes, None where the record wants a closer look.

    With one image, `SizeBytes` less the keys is that image's size. With two, the larger weighs between half of that
    and all of it: up to 1,024 bytes it is one unit whichever it is.
    """
    body = change.dynamodb
    at_ms = body.ApproximateCreationDateTime
    if at_ms > _LATEST_IN_MILLISECONDS:
        at_ms //= 1000
        if at_ms > _LATEST_IN_MILLISECONDS:
            return None
    elif at_ms <= 0 or body.ApproximateCreationDateTimePrecision is not None:
        return None
    if change.eventSource != "aws:dynamodb" or change.userIdentity is not None or not change.tableName:
        return None
    partition_key = _string_key(body.Keys, schema.partition_key)
    units = _units_by_sum(change.eventName, body)
    if not partition_key or not units:
        return None
    wcu = 2 * units if schema.transactional else units
    return WriteCost(change.tableName, partition_key, "S", at_ms, wcu, False, document)


def _string_key(keys: dict[str, _KeyValue], name: str | None) -> str | None:
    """The partition key where it is a string and any other key attribute a string or a plain number, else None."""
    if len(keys) == 1:
        (value,) = keys.values()
        return value.S if value.N is None and value.B is None else None
    partition_key = None
    for attribute, value in keys.items():
        if value.B is not None or (value.S is None) is (value.N is None):
            return None
        if attribute == name:
            partition_key = value.S
        elif value.N is not None and not _is_plain_number(value.N):
            return None
    return partition_key if len(keys) == 2 else None


def _is_plain_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= _PLAIN_NUMBER_DIGITS


def _units_by_sum(event_name: str, body: _Body) -> int:
    """Units that follow from the sum of the sizes, 0 where they do not."""
    new, old = body.NewImage, body.OldImage
    sum_bytes = body.SizeBytes
    if new == _NULL_IMAGE or old == _NULL_IMAGE or sum_bytes <= 0:
        return 0
    if event_name == "MODIFY":
        one_image = new is _NO_IMAGE or old is _NO_IMAGE
        if new is old:
            return 0
    elif event_name == "INSERT":
        one_image = old is _NO_IMAGE
        if new is _NO_IMAGE:
            return 0
    elif event_name == "REMOVE":
        one_image = new is _NO_IMAGE
        if old is _NO_IMAGE:
            return 0
    else:
        return 0
    if sum_bytes <= _WRITE_UNIT_BYTES:
        return 1
    images_bytes = sum_bytes - _keys_bytes(body.Keys)
    if images_bytes <= _WRITE_UNIT_BYTES:
        return 1
    return -(-images_bytes // _WRITE_UNIT_BYTES) if one_image else 0


def _keys_bytes(keys: dict[str, _KeyValue]) -> int:
    return sum(
        len(name.encode()) + (len(value.S.encode()) if value.S is not None else number_bytes(value.N or "0"))
        for name, value in keys.items()
    )
