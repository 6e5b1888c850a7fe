"""Facts of changes on their way into the ledger: summed up early, and each told by its `eventID` once. Pure.

A minute's sums leave a reader as one row for each file. They count every copy of a change; which copies are duplicates
is found out where all copies of an `eventID` meet, and what these rows counted too often is taken away again before the
minute is over. So the rows that travel are the sums and, a batch at a time, the events that they are made of.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from jobs.recorded.distinct import Key
from jobs.usage.minute_sums import WINDOW_MS

EVENT_NAMES: Final = ("INSERT", "MODIFY", "REMOVE")

EVENT_PARTITIONS: Final = 16
"""Into how many parts events are told by a hash of their `eventID`; a part is one key of Flink's."""

Origin = tuple[str, int]
"""Where a reader has a change from: a file, and the byte at which the part of it begins that is read by itself."""

EVENT_COLUMNS: Final = np.dtype(
    [
        ("arrived_ms", "<i8"),
        ("at_ms", "<i8"),
        ("place", "<i8"),
        ("origin", "<u4"),
        ("key", "<u4"),
        ("wcu", "<i4"),
        ("new_bytes", "<i4"),
        ("event_name", "u1"),
    ]
)


class UsageRow(NamedTuple):
    """What a reader gives out: sums of a window, a batch of events, or a report, each with its time.

    Attributes:
        file: The path of the file that the sums belong to.
        sums: A `MinuteSums`.
        event_partition: The part that the events belong to.
        events: An `EventBatch`.
        at_ms: The last millisecond of the window; of a batch, of the minute by whose end it is due.
        low_water_ms: No row from this one on has an earlier `at_ms`.
        report: See `jobs.recorded.reports`.
    """

    file: str | None
    sums: bytes | None
    event_partition: int | None
    events: bytes | None
    at_ms: int
    low_water_ms: int
    report: str | None


class EventBatch(msgspec.Struct, array_like=True, gc=False):
    """Events of one partition. `columns` has a row of `EVENT_COLUMNS` for each, which points into the other lists."""

    event_ids: list[str]
    keys: list[Key]
    origins: list[Origin]
    columns: bytes

    def last_arrived_ms(self) -> int:
        """When the last of them arrived."""
        return int(np.frombuffer(self.columns, dtype=EVENT_COLUMNS)["arrived_ms"].max())


encode_batch: Final = msgspec.msgpack.Encoder().encode
decode_batch: Final = msgspec.msgpack.Decoder(EventBatch).decode


class Event(NamedTuple):
    """One change. It arrived when the newest change of its origin so far was written.

    Attributes:
        event_id: None where it has none, and nobody can tell whether it is a duplicate.
    """

    event_id: str | None
    key: Key
    origin: Origin
    place: int
    arrived_ms: int
    at_ms: int
    wcu: int
    new_bytes: int
    event_name: str


def event_partition(event_id: str) -> int:
    """The part that an event is told in."""
    return crc32(event_id.encode()) % EVENT_PARTITIONS


def due_ms(arrived_ms: int, out_of_orderness_ms: int) -> int:
    """The last millisecond of the first minute that cannot be over before an event that arrived then is told."""
    return max(0, arrived_ms - out_of_orderness_ms) // WINDOW_MS * WINDOW_MS + WINDOW_MS - 1


def batch_of(events: Sequence[Event]) -> EventBatch:
    """A batch of some events."""
    key_numbers: dict[Key, int] = {}
    origin_numbers: dict[Origin, int] = {}
    columns = [
        (
            event.arrived_ms,
            event.at_ms,
            event.place,
            origin_numbers.setdefault(event.origin, len(origin_numbers)),
            key_numbers.setdefault(event.key, len(key_numbers)),
            event.wcu,
            event.new_bytes,
            EVENT_NAMES.index(event.event_name),
        )
        for event in events
    ]
    return EventBatch(
        [event.event_id or "" for event in events],
        list(key_numbers),
        list(origin_numbers),
        np.array(columns, dtype=EVENT_COLUMNS).tobytes(),
    )


def report_row(low_water_ms: int, report: str | None = None) -> UsageRow:
    """A row with a report; without one it says nothing but the time."""
    return UsageRow(None, None, None, None, low_water_ms, low_water_ms, report)
