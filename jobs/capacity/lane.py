"""A lane: several segments of a recording read by one reader, in the order of their times.

What a lane holds are the sums of the steps that are still open in one of its segments. It does no I/O but through them.

A change is late when it is behind its file's progress by more than the out-of-orderness. What a page of a file knows of
the progress before it are the times at which the pages began, so at the beginning of a later page a change can pass
that is late in the file as a whole. None is late that would not be so in one piece.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from connectors.dynamodb.fast_path import FastPath, WriteCost
from connectors.recordings.segments import Segment
from jobs.recorded.chunk_report import ChunkReport
from jobs.recorded.decoded import NO_TIME_MS, Decoded, OpenSegment
from jobs.recorded.distinct import Key, KeyReports
from jobs.recorded.open_segments import OpenSegments
from jobs.recorded.reports import Report, write_report

# Sums of a key in a step that are held before they are handed on unfinished: about 60 MB of them.
_MOST_SUMS: Final = 200_000
_NO_EARLIEST_MS: Final = 1 << 62


class LaneRow(NamedTuple):
    """What a lane gives out: a key's writes in one step, or, without a table, a report.

    Attributes:
        at_ms: The last millisecond of the step.
        low_water_ms: No row from this one on has an earlier `at_ms`.
    """

    table_name: str | None
    partition_key: str | None
    partition_key_type: str | None
    at_ms: int
    wcu: int
    writes: int
    low_water_ms: int
    report: str | None


class WindowRow(NamedTuple):
    """What a lane gives out of whole windows: a key's writes in one window or a part of it, or, as above, a report.

    Attributes:
        at_ms: The last millisecond of the window.
        steps: For each step in which the key wrote `PLACE:WCU:WRITES`, with spaces between; the place in the window is
            0 for its first step.
        low_water_ms: No row from this one on has an earlier `at_ms`.
    """

    table_name: str | None
    partition_key: str | None
    partition_key_type: str | None
    at_ms: int
    wcu: int
    steps: str | None
    low_water_ms: int
    report: str | None


class ClosedSums(NamedTuple):
    """The capacity and writes of each key in some steps, which are told by their numbers, in order."""

    by_step: dict[int, dict[Key, list[int]]]
    low_water_ms: int


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What a lane must know of the settings."""

    step_ms: int
    out_of_orderness_ms: int
    future_tolerance_ms: int


class Lane:
    """Reads segments and sums up what they hold.

    Args:
        segments: What to read.
        fast_path: Tells what each record cost.
        settings: The step, and the bounds on disorder.
    """

    def __init__(self, segments: Sequence[Segment], fast_path: FastPath, settings: LaneSettings) -> None:
        self._segments = OpenSegments(segments, fast_path)
        self._settings = settings
        self._low_water_ms = NO_TIME_MS
        self._sums: dict[int, dict[Key, list[int]]] = {}  # by the number of the step
        self._keys = KeyReports()

    def rows(self) -> Iterator[LaneRow]:
        """A report for each chunk, and the sums of each step once it is over in all segments of the lane."""
        for found in self._read(self._settings.step_ms):
            if isinstance(found, Report):
                yield report_row(found, self._low_water_ms)
                continue
            for step, sums in found.by_step.items():
                yield from step_rows(sums, step, self._settings.step_ms, found.low_water_ms)

    def window_rows(self, window_ms: int) -> Iterator[WindowRow]:
        """A report for each chunk, and the sums of each window, of whole steps, once it is over in all segments."""
        steps_in_window = window_ms // self._settings.step_ms
        for found in self._read(window_ms):
            if isinstance(found, Report):
                low_water_ms = self._low_water_ms
                yield WindowRow(None, None, None, low_water_ms, 0, None, low_water_ms, write_report(found))
                continue
            for window, steps in groupby(found.by_step, lambda step: step // steps_in_window):
                by_place = {step % steps_in_window: found.by_step[step] for step in steps}
                yield from window_rows(by_place, (window + 1) * window_ms - 1, found.low_water_ms)

    def _read(self, together_ms: int) -> Iterator[Report | ClosedSums]:
        """A report for each chunk, and the sums of all steps in a time of this length once that is over."""
        while read := self._segments.next_chunk():
            report = self._take(*read)
            low_water_ms = self._segments.lowest_progress_ms() - self._settings.out_of_orderness_ms
            yield self._closed(self._due(low_water_ms, together_ms))
            self._low_water_ms = max(self._low_water_ms, low_water_ms)
            yield report
            if self._keys.are_many():
                yield from self._keys.reports()
        yield self._closed(self._sums)
        yield from self._keys.reports()

    def _take(self, opened: OpenSegment[WriteCost], decoded: Decoded[WriteCost]) -> Report:
        telling = ChunkReport(opened, decoded)
        self._sum_up(opened, decoded, telling)
        telling.fault()
        return telling.report

    def _sum_up(  # noqa: C901 - in smaller functions it would call them once a record
        self, opened: OpenSegment[WriteCost], decoded: Decoded[WriteCost], telling: ChunkReport
    ) -> None:
        """Put each change to its step. This loop runs once a record, so its common path calls nothing."""
        counts = telling.report.counts
        settings = self._settings
        step_ms, tolerance_ms = settings.step_ms, settings.future_tolerance_ms
        lateness_ms = settings.out_of_orderness_ms
        progress_ms = opened.progress_ms
        first_ms = _NO_EARLIEST_MS
        open_step, sums = -1, {}
        refused = 0
        for index, cost in enumerate(decoded.costs):
            table, partition_key, partition_key_type, at_ms, wcu, size_mismatch, document = cost
            if at_ms > progress_ms:
                if at_ms - progress_ms > tolerance_ms and (
                    reason := opened.why_not_believed(decoded.costs, index, tolerance_ms)
                ):
                    telling.malformed(reason, document)
                    refused += 1
                    continue
                progress_ms = at_ms
            if size_mismatch:
                counts.size_mismatch += 1
            if at_ms < first_ms:
                first_ms = at_ms
            if at_ms < progress_ms - lateness_ms:
                telling.late(cost, progress_ms - at_ms)
                self._keys.add((table, partition_key, partition_key_type))
                continue
            step = at_ms // step_ms
            if step != open_step:
                open_step, sums = step, self._sums.setdefault(step, {})
            key = (table, partition_key, partition_key_type)
            total = sums.get(key)
            if total is None:
                sums[key] = [wcu, 1 if wcu else 0]
            elif wcu:
                total[0] += wcu
                total[1] += 1
        counts.changes = len(decoded.costs) - refused
        if counts.changes:
            is_newest_of_chunk = progress_ms > opened.progress_ms
            counts.seen(first_ms, progress_ms if is_newest_of_chunk else _last_ms(decoded.costs, progress_ms))
        opened.progress_ms = progress_ms

    def _due(self, low_water_ms: int, together_ms: int) -> Iterable[int]:
        """The steps in what ends at the low-water mark or before; all steps where too many sums are held."""
        if sum(map(len, self._sums.values())) > _MOST_SUMS:
            return self._sums
        steps_together = together_ms // self._settings.step_ms
        return [step for step in self._sums if (step // steps_together + 1) * together_ms <= low_water_ms]

    def _closed(self, steps: Iterable[int]) -> ClosedSums:
        closed = {step: self._sums.pop(step) for step in sorted(steps)}
        for sums in closed.values():
            self._keys.add_all(sums)
        return ClosedSums(closed, self._low_water_ms)


def step_rows(sums: Mapping[Key, Sequence[int]], step: int, step_ms: int, low_water_ms: int) -> Iterator[LaneRow]:
    """The rows of one step: capacity and writes of each key."""
    at_ms = (step + 1) * step_ms - 1
    for key, (wcu, writes) in sums.items():
        yield LaneRow(*key, at_ms, wcu, writes, low_water_ms, None)


def report_row(report: Report, low_water_ms: int) -> LaneRow:
    """The row of a report."""
    return LaneRow(None, None, None, low_water_ms, 0, 0, low_water_ms, write_report(report))


def window_rows(
    by_place: Mapping[int, Mapping[Key, Sequence[int]]], at_ms: int, low_water_ms: int
) -> Iterator[WindowRow]:
    """The rows of one window: of each key what it consumed in all these steps, which are told by their places."""
    total_wcu: defaultdict[Key, int] = defaultdict(int)
    steps: defaultdict[Key, list[str]] = defaultdict(list)
    for place, sums in by_place.items():
        for key, (wcu, writes) in sums.items():
            total_wcu[key] += wcu
            steps[key].append(f"{place}:{wcu}:{writes}")
    for key, wcu in total_wcu.items():
        yield WindowRow(*key, at_ms, wcu, " ".join(steps[key]), low_water_ms, None)


def _last_ms(costs: Sequence[WriteCost], newest_ms: int) -> int:
    """The last time of changes that are no newer than all before them; later ones were refused."""
    return max(cost.at_ms for cost in costs if cost.at_ms <= newest_ms)
