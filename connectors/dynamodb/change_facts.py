"""What the usage ledger keeps of each change, for many records a second. Pure.

Beside what a change cost, that is its `eventID`, its event name and the exact size of the item after the write. Where
there is one image, its size is `SizeBytes` less the keys; of two, the one with the shorter JSON is weighed and the
other is what is left. So this path and `parse_change` agree but for what is broken inside an image that was not
weighed, and a wrong `SizeBytes` beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from connectors.dynamodb.change import NO_SETTINGS, Change, Ignored, Malformed, TableSchema
from connectors.dynamodb.fast_path import keys_bytes, partition_key_of, weighed_sizes, written_at_ms
from connectors.dynamodb.item_size import write_capacity_units
from connectors.dynamodb.parse import is_expiry, parse_change
from connectors.dynamodb.record_json import MAX_RECORD_BYTES
from connectors.dynamodb.typed_record import UNUSUAL, StreamRecord, decode_record, image_bytes
from connectors.dynamodb.usual_tables import UsualTables, deal

_NULL_BYTES: Final = len(b"null")


class ChangeFact(NamedTuple):
    """One change as the ledger counts it. `document` is its place in the sequence it was decoded from."""

    table: str
    partition_key: str
    partition_key_type: str
    at_ms: int
    wcu: int
    size_mismatch: bool
    document: int
    event_id: str | None
    event_name: str
    new_bytes: int


class FactPath:
    """Decodes change records of known tables into facts.

    Args:
        schemas: What is known of each table.
        default: What holds for a table that is not named there.
        weigh_always: Weigh every image of every record, and compare the sizes with `SizeBytes`.
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

    def decode_all(self, records: Sequence[bytes]) -> tuple[list[ChangeFact], list[tuple[int, Malformed | Ignored]]]:
        """The facts of the records that are changes, and the outcomes of the others with their places, in order."""
        return deal(records, self.decode)

    def decode(self, record: bytes, document: int = 0) -> ChangeFact | Malformed | Ignored:
        """The facts of one record, or why it has none."""
        try:
            if len(record) > MAX_RECORD_BYTES:
                return self.weigh(record, document)
            change = decode_record(record)
            stream_record = change.dynamodb
            event_name = change.event_name
            partition_key_name, factor = self._usual[change.table_name]
            key, key_type = partition_key_of(stream_record.keys, partition_key_name)
            mismatch = False
            sizes = None if self._weigh_always else _sizes_by_sum(event_name, stream_record)
            if sizes is None:
                sizes, mismatch = weighed_sizes(event_name, stream_record)
            elif not record.isascii():
                record.decode()  # nobody has looked at the bytes of an image that was not weighed
            wcu = write_capacity_units(max(sizes)) * factor
            if change.user_identity is not None and is_expiry(event_name, change.user_identity):
                wcu = 0
            # A third of the time that calling the class takes.
            return tuple.__new__(
                ChangeFact,
                (
                    change.table_name,
                    key,
                    key_type,
                    written_at_ms(stream_record),
                    wcu,
                    mismatch,
                    document,
                    change.event_id,
                    event_name,
                    sizes[0],
                ),
            )
        except UNUSUAL:
            return self.weigh(record, document)

    def weigh(self, record: bytes, document: int = 0) -> ChangeFact | Malformed | Ignored:
        """The same as `decode`, by `parse_change`."""
        change = parse_change(record, self._schemas, self._default)
        if not isinstance(change, Change):
            return change
        return ChangeFact(
            change.table,
            change.partition_key,
            change.partition_key_type,
            change.at_ms,
            change.wcu,
            change.size_matches is False,
            document,
            change.event_id,
            str(change.event_name),
            change.new_bytes or 0,
        )


def _sizes_by_sum(event_name: str, stream_record: StreamRecord) -> tuple[int, int] | None:
    """The sizes of the new and the old image as far as the sum of all sizes tells, None where it does not."""
    sum_bytes = stream_record.size_bytes
    new, old = stream_record.new_image, stream_record.old_image
    most_new_bytes, most_old_bytes = len(new), len(old)
    if not sum_bytes or sum_bytes < 0:
        return None
    images_bytes = sum_bytes - keys_bytes(stream_record.keys)
    if not most_old_bytes:
        # An image is longer as JSON than it weighs.
        usual = event_name != "REMOVE" and most_new_bytes > _NULL_BYTES and 0 < images_bytes <= most_new_bytes
        return (images_bytes, 0) if usual else None
    if not most_new_bytes:
        usual = event_name != "INSERT" and most_old_bytes > _NULL_BYTES and 0 < images_bytes <= most_old_bytes
        return (0, images_bytes) if usual else None
    if most_old_bytes <= _NULL_BYTES or most_new_bytes <= _NULL_BYTES:
        return None
    # The shorter one is weighed, and the other is what is left.
    if most_new_bytes <= most_old_bytes:
        new_bytes = image_bytes(new) or 0
        old_bytes = images_bytes - new_bytes
    else:
        old_bytes = image_bytes(old) or 0
        new_bytes = images_bytes - old_bytes
    fits = 0 < new_bytes <= most_new_bytes and 0 < old_bytes <= most_old_bytes
    return (new_bytes, old_bytes) if fits else None
