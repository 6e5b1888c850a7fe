"""What each change cost, for many records a second: images are looked into only where their sizes decide. Pure.

Where a record is as DynamoDB usually writes it, its cost follows from the sum of its sizes, `SizeBytes`: at once, or
with the weight of what differs between its images. Otherwise the images are weighed, by a quicker reader than
`parse_change`. Everything unusual goes to `parse_change` itself. So all agree on every record, with one exception: what
is broken in that part of the images that need not be weighed is not seen, and neither is a wrong `SizeBytes` beside it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import UNSET, Raw

from connectors.dynamodb.change import NO_SETTINGS, Change, Ignored, Malformed, TableSchema
from connectors.dynamodb.item_size import (
    WRITE_UNIT_BYTES,
    binary_bytes,
    binary_text,
    number_bytes,
    write_capacity_units,
)
from connectors.dynamodb.parse import is_expiry, parse_change
from connectors.dynamodb.record_fields import LAST_MS_OF_YEAR_9999, MAX_PARTITION_KEY_BYTES, MICROSECONDS_ABOVE
from connectors.dynamodb.record_json import MAX_RECORD_BYTES
from connectors.dynamodb.typed_record import (
    UNUSUAL,
    KeyValue,
    Record,
    StreamRecord,
    decode_record,
    image_bytes,
    image_difference_bytes,
)
from connectors.dynamodb.usual_tables import UsualTables, deal

_LONGEST_TEXT_IN_NO_DOUBT: Final = MAX_PARTITION_KEY_BYTES // 4  # characters have up to 4 bytes
_NULL_BYTES: Final = len(b"null")
_EVENT_ID: Final = re.compile(rb'"eventID"\s*:\s*"([^"\\]+)"')


class WriteCost(NamedTuple):
    """One change as the windows count it. `document` is its place in the sequence it was decoded from."""

    table: str
    partition_key: str
    partition_key_type: str
    at_ms: int
    wcu: int
    size_mismatch: bool
    document: int


class FastPath:
    """Decodes change records of known tables into their costs.

    Args:
        schemas: What is known of each table.
        default: What holds for a table that is not named there.
        weigh_always: Look into every image of every record, and compare the sizes with `SizeBytes`.
    """

    def __init__(
        self,
        schemas: Mapping[str, TableSchema],
        default: TableSchema = NO_SETTINGS,
        *,
        weigh_always: bool = False,
    ) -> None:
        self._schemas = dict(schemas)
        self._default = default
        self._weigh_always = weigh_always
        self._usual = UsualTables(schemas, default)

    def decode_all(self, records: Sequence[bytes]) -> tuple[list[WriteCost], list[tuple[int, Malformed | Ignored]]]:
        """The costs of the records that are changes, and the outcomes of the others with their places, in order."""
        return deal(records, self.decode)

    def decode(self, record: bytes, document: int = 0) -> WriteCost | Malformed | Ignored:
        """What one record cost, or why it counts for nothing."""
        try:
            if len(record) > MAX_RECORD_BYTES:
                return self.weigh(record, document)
            change = decode_record(record)
            if not record.isascii():
                record.decode()  # nobody else looks at the bytes of the images
            stream_record = change.dynamodb
            partition_key_name, factor = self._usual[change.table_name]
            partition_key, key_type = partition_key_of(stream_record.keys, partition_key_name)
            at_ms = written_at_ms(stream_record)
            mismatch = False
            wcu = 0 if self._weigh_always else _units_by_sum(change.event_name, stream_record)
            if not wcu:
                wcu, mismatch = _weighed(change)
            wcu *= factor
            if change.user_identity is not None and is_expiry(change.event_name, change.user_identity):
                wcu = 0
            # A third of the time that calling the class takes.
            return tuple.__new__(
                WriteCost, (change.table_name, partition_key, key_type, at_ms, wcu, mismatch, document)
            )
        except UNUSUAL:
            return self.weigh(record, document)

    def weigh(self, record: bytes, document: int = 0) -> WriteCost | Malformed | Ignored:
        """The same as `decode`, by `parse_change`."""
        change = parse_change(record, self._schemas, self._default)
        if not isinstance(change, Change):
            return change
        mismatch = change.size_matches is False
        key, key_type = change.partition_key, change.partition_key_type
        return WriteCost(change.table, key, key_type, change.at_ms, change.wcu, mismatch, document)


def peek_time_ms(record: bytes) -> int | None:
    """The time in a record that looks like a change, in milliseconds; None in any other."""
    try:
        return written_at_ms(decode_record(record).dynamodb)
    except UNUSUAL:
        outcome = parse_change(record, {})
        return None if isinstance(outcome, Ignored) else outcome.at_ms


def event_id(record: bytes) -> bytes | None:
    """What identifies a change however often it comes; None where the record does not say.

    Nothing else in a sound record looks like this: an attribute of that name has a type before its value, and quotes
    within a text are escaped.
    """
    found = _EVENT_ID.search(record)
    return found[1] if found else None


def written_at_ms(stream_record: StreamRecord) -> int:
    """When the item was written, in milliseconds."""
    at_ms = stream_record.approximate_creation_date_time
    if at_ms > MICROSECONDS_ABOVE or stream_record.approximate_creation_date_time_precision == "MICROSECOND":
        at_ms //= 1000
    if not 0 < at_ms <= LAST_MS_OF_YEAR_9999:
        raise ValueError
    return at_ms


def partition_key_of(keys: dict[str, KeyValue], name: str | None) -> tuple[str, str]:
    """The partition key and its type."""
    if len(keys) == 1:
        (partition_key,) = keys.values()
    elif len(keys) == 2 and name is not None:
        partition_key = keys[name]
    else:
        raise ValueError
    text, key_type = partition_key.S, "S"
    for value in keys.values():
        if value.S is UNSET or value.N is not UNSET or value.B is not UNSET:
            other = _text_of_other_type(value)
            if value is partition_key:
                text, key_type = other
    if not text or len(text) > _LONGEST_TEXT_IN_NO_DOUBT:
        raise ValueError
    return text, key_type


def _text_of_other_type(value: KeyValue) -> tuple[str, str]:
    """The text and the type of a number or a binary."""
    if value.S is not UNSET:
        raise ValueError
    if value.B is UNSET and value.N is not UNSET:
        number_bytes(value.N)
        return value.N, "N"
    if value.N is UNSET and value.B is not UNSET:
        return binary_text(value.B), "B"
    raise ValueError


def keys_bytes(keys: dict[str, KeyValue]) -> int:
    """The size of the key attributes."""
    total = 0
    for name, value in keys.items():
        total += len(name.encode())
        if value.S is not UNSET:
            total += len(value.S.encode())
        elif value.N is not UNSET:
            total += number_bytes(value.N)
        else:
            total += binary_bytes(value.B)
    return total


def _units_by_sum(event_name: str, stream_record: StreamRecord) -> int:
    """Units that follow from the sum of the sizes and as little of the images as will do, 0 where they do not."""
    sum_bytes = stream_record.size_bytes
    new, old = stream_record.new_image, stream_record.old_image
    new_bytes, old_bytes = len(new), len(old)
    if not sum_bytes or sum_bytes < 0:
        return 0
    if (new_bytes <= _NULL_BYTES or old_bytes <= _NULL_BYTES) and not _has_its_one_image(
        event_name, new_bytes, old_bytes
    ):
        return 0
    if sum_bytes <= WRITE_UNIT_BYTES:
        return 1
    images_bytes = sum_bytes - keys_bytes(stream_record.keys)
    units = _units_within(images_bytes, new_bytes, old_bytes)
    if units:
        return units
    new_bytes, old_bytes = _without_quotes(new), _without_quotes(old)
    units = _units_within(images_bytes, new_bytes, old_bytes)
    if units or not 0 < images_bytes <= new_bytes + old_bytes:
        return units
    return _units_by_difference(images_bytes, new, old)


def _units_by_difference(images_bytes: int, new: Raw, old: Raw) -> int:
    """Units that follow from what both images weigh together and what differs between them, 0 where these disagree."""
    if not new or not old:
        return 0
    difference_bytes = abs(image_difference_bytes(new, old))
    larger_bytes, is_odd = divmod(images_bytes + difference_bytes, 2)
    return 0 if is_odd or difference_bytes >= images_bytes else write_capacity_units(larger_bytes)


def _units_within(images_bytes: int, most_new_bytes: int, most_old_bytes: int) -> int:
    """Units that follow from the size of both images together and bounds for each, 0 where they do not.

    The larger image weighs at least half of both, and each weighs at least what the other cannot.
    """
    if not 0 < images_bytes <= most_new_bytes + most_old_bytes:
        return 0
    at_least = max(images_bytes // 2, images_bytes - min(most_new_bytes, most_old_bytes))
    at_most = min(images_bytes, max(most_new_bytes, most_old_bytes))
    units = write_capacity_units(at_most)
    return units if units == write_capacity_units(at_least) else 0


def _without_quotes(image: Raw) -> int:
    """The bytes of an image's JSON without quotes, which are more than the image weighs.

    Names, strings and binaries weigh no more than their JSON between the quotes, in which a quote takes two bytes.
    Numbers weigh at most a byte more than they have characters, maps, lists and what is in them a few: no more than
    the brackets, colons, commas and type names around them.
    """
    return len(image) - bytes(image).count(b'"')


def _has_its_one_image(event_name: str, new_bytes: int, old_bytes: int) -> bool:
    """Whether there is only the image that such an event has, longer than null would be, and no null beside it."""
    if old_bytes:
        return old_bytes > _NULL_BYTES and not new_bytes and event_name != "INSERT"
    return new_bytes > _NULL_BYTES and event_name != "REMOVE"


def _weighed(change: Record) -> tuple[int, bool]:
    """The units of the larger image, and whether the record says that the sizes add up to something else."""
    sizes, mismatch = weighed_sizes(change.event_name, change.dynamodb)
    return write_capacity_units(max(sizes)), mismatch


def weighed_sizes(event_name: str, stream_record: StreamRecord) -> tuple[tuple[int, int], bool]:
    """The sizes of the new and the old image, and whether the record says that they add up to something else."""
    new_bytes, old_bytes = image_bytes(stream_record.new_image), image_bytes(stream_record.old_image)
    if (new_bytes is None and event_name != "REMOVE") or (old_bytes is None and event_name == "REMOVE"):
        raise ValueError
    sizes = new_bytes or 0, old_bytes or 0
    sum_bytes = stream_record.size_bytes
    if sum_bytes is None:
        return sizes, False
    if sum_bytes < 0:
        raise ValueError
    return sizes, sum_bytes != keys_bytes(stream_record.keys) + sum(sizes)
