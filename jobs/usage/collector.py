"""Changes summed up as a reader finds them, minute by minute. Pure."""

from collections.abc import Iterator
from typing import Final

from jobs.recorded.distinct import Key
from jobs.usage.facts import (
    EVENT_PARTITIONS,
    Event,
    UsageRow,
    batch_of,
    due_ms,
    encode_batch,
    event_partition,
    report_row,
)
from jobs.usage.minute_sums import WINDOW_MS, FileLayout, KeySum, encode_sums

# Events that a reader holds before it hands them on unfinished: about 40 MB of them.
_MOST_EVENTS: Final = 100_000


class UsageCollector:
    """Sums up what a reader finds, and holds its events until they are due.

    A reader adds each change with the newest time of its origin so far, and asks for `closed` rows whenever it knows
    how far all its origins are.

    Args:
        out_of_orderness_ms: How far behind the newest change of its origin a change may be before it is late.
        layout: How keys and times are dealt to files.
        low_water_ms: What rows promise about time until more windows are over.
    """

    def __init__(self, out_of_orderness_ms: int, layout: FileLayout, low_water_ms: int = 0) -> None:
        self._out_of_orderness_ms = out_of_orderness_ms
        self._layout = layout
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

    def report_row(self, report: str) -> UsageRow:
        """A row with a report."""
        return report_row(self._low_water_ms, report)

    def _event_rows(self, due: int) -> Iterator[UsageRow]:
        for part, events in enumerate(self._events.pop(due)):
            if events:
                yield UsageRow(None, None, part, encode_batch(batch_of(events)), due, self._low_water_ms, None)

    def _sum_rows(self, window: int) -> Iterator[UsageRow]:
        sums = (
            (table, KeySum(partition_key, key_type, event_name, corrects_ms, *total))
            for ((table, partition_key, key_type), event_name, corrects_ms), total in self._sums.pop(window).items()
        )
        for path, of_file in self._layout.dealt(window * WINDOW_MS, sums):
            yield UsageRow(path, encode_sums(of_file), None, None, of_file.last_ms, self._low_water_ms, None)
