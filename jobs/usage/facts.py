"""Facts of changes on their way into the ledger: summed up early, and each told by its `eventID` once. Pure.

A minute's sums leave a reader as few rows. They count every copy of a change; which copies are duplicates is found out
where all copies of an `eventID` meet, and what these rows counted too often is taken away again before the minute is
over. So the rows that travel are the sums and, a batch at a time, the events that they are made of.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from jobs.recorded.distinct import Key

WINDOW_MS: Final = 60_000
"""The length of the ledger's windows, which begin at whole minutes of the epoch."""

EVENT_NAMES: Final = ("INSERT", "MODIFY", "REMOVE")

EVENT_PARTITIONS: Final = 16
"""Into how many parts events are told by a hash of their `eventID`; a part is one key of Flink's."""

# Events that a reader holds before it hands them on unfinished: about 40 MB of them.
_MOST_EVENTS: Final = 100_000

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
    """What a reader gives out: sums of a key in a window, a batch of events, or a report, each with its time.

    Attributes:
        window_start_ms: The window that the row is of.
        corrects_ms: The window that it corrects, None where its changes came in time.
        writes: Changes that consumed capacity.
        changes: All changes, deletes by TTL included.
        events: An `EventBatch`, and `event_partition` the part that it belongs to.
        at_ms: The last millisecond of the window; of a batch, of the minute by whose end it is due.
        low_water_ms: No row from this one on has an earlier `at_ms`.
        report: See `jobs.recorded.reports`.
    """

    table_name: str | None
    partition_key: str | None
    partition_key_type: str | None
    window_start_ms: int | None
    event_name: str | None
    corrects_ms: int | None
    wcu: int | None
    writes: int | None
    bytes_written: int | None
    changes: int | None
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


class UsageCollector:
    """Sums up what a reader finds, and holds its events until they are due.

    A reader adds each change with the newest time of its origin so far, and asks for `closed` rows whenever it knows
    how far all its origins are.

    Args:
        out_of_orderness_ms: How far behind the newest change of its origin a change may be before it is late.
        low_water_ms: What rows promise about time until more windows are over.
    """

    def __init__(self, out_of_orderness_ms: int, low_water_ms: int = 0) -> None:
        self._out_of_orderness_ms = out_of_orderness_ms
        self._low_water_ms = low_water_ms
        # By the number of the window; then by key, event name and the window that is corrected.
        self._sums: dict[int, dict[tuple[Key, str, int | None], list[int]]] = {}
        # By the time at which they are due, then by their part.
        self._events: dict[int, list[list[Event]]] = {}
        self._held_events = 0

    def add(self, event: Event) -> bool:
        """Count a change; whether it is late."""
        event_id, key, _, _, arrived_ms, at_ms, wcu, new_bytes, event_name = event
        window = at_ms // WINDOW_MS
        corrects_ms = None
        is_late = at_ms < arrived_ms - self._out_of_orderness_ms
        if is_late:
            corrects_ms, window = window * WINDOW_MS, arrived_ms // WINDOW_MS
        sums = self._sums.get(window)
        if sums is None:
            sums = self._sums[window] = {}
        summed = (key, event_name, corrects_ms)
        total = sums.get(summed)
        if total is None:
            sums[summed] = [wcu, 1 if wcu else 0, new_bytes, 1]
        else:
            total[0] += wcu
            total[1] += 1 if wcu else 0
            total[2] += new_bytes
            total[3] += 1
        if event_id:
            due = due_ms(arrived_ms, self._out_of_orderness_ms)
            parts = self._events.get(due)
            if parts is None:
                parts = self._events[due] = [[] for _ in range(EVENT_PARTITIONS)]
            parts[event_partition(event_id)].append(event)
            self._held_events += 1
        return is_late

    def closed(self, lowest_progress_ms: int) -> Iterator[UsageRow]:
        """The rows of all windows that are over once every origin is so far; all events where too many are held."""
        low_water_ms = lowest_progress_ms - self._out_of_orderness_ms
        for due in sorted(self._events):
            if due < low_water_ms or self._held_events > _MOST_EVENTS:
                yield from self._event_rows(due)
        self._held_events = sum(len(part) for parts in self._events.values() for part in parts)
        for window in sorted(self._sums):
            if (window + 1) * WINDOW_MS <= low_water_ms:
                yield from self._sum_rows(window)
        self._low_water_ms = max(self._low_water_ms, low_water_ms)

    def rest(self) -> Iterator[UsageRow]:
        """All rows that are left, where nothing more is to come."""
        for due in sorted(self._events):
            yield from self._event_rows(due)
        for window in sorted(self._sums):
            yield from self._sum_rows(window)

    def report_row(self, report: str | None) -> UsageRow:
        """A row with a report; without one it says nothing but the time."""
        return self._row(report=report)

    def _event_rows(self, due: int) -> Iterator[UsageRow]:
        for part, events in enumerate(self._events.pop(due)):
            if events:
                yield self._row(event_partition=part, events=encode_batch(batch_of(events)), at_ms=due)

    def _sum_rows(self, window: int) -> Iterator[UsageRow]:
        start_ms = window * WINDOW_MS
        at_ms, low_water_ms = start_ms + WINDOW_MS - 1, self._low_water_ms
        for (key, event_name, corrects_ms), (wcu, writes, bytes_written, changes) in self._sums.pop(window).items():
            sums = wcu, writes, bytes_written, changes
            yield UsageRow(*key, start_ms, event_name, corrects_ms, *sums, None, None, at_ms, low_water_ms, None)

    def _row(self, **columns: Any) -> UsageRow:
        times = {"at_ms": self._low_water_ms, "low_water_ms": self._low_water_ms}
        values: dict[str, Any] = dict.fromkeys(UsageRow._fields) | times | columns
        return UsageRow(**values)
