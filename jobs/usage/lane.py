"""A lane of a recording as the ledger reads it. It does no I/O but through its segments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.dynamodb.change_facts import ChangeFact, FactPath
from connectors.recordings.segments import Segment
from jobs.recorded.chunk_report import ChunkReport
from jobs.recorded.decoded import Decoded, OpenSegment
from jobs.recorded.distinct import KeyReports
from jobs.recorded.open_segments import OpenSegments
from jobs.recorded.reports import Report, write_report
from jobs.usage.collector import UsageCollector
from jobs.usage.facts import Event, UsageRow
from jobs.usage.minute_sums import FileLayout

_NO_EARLIEST_MS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What a lane must know of the settings."""

    out_of_orderness_ms: int
    future_tolerance_ms: int
    layout: FileLayout


class UsageLane:
    """Reads segments and hands on what they hold.

    Args:
        segments: What to read.
        fact_path: Tells what is kept of each record.
        settings: The bounds on disorder.
    """

    def __init__(self, segments: Sequence[Segment], fact_path: FactPath, settings: LaneSettings) -> None:
        self._segments = OpenSegments(segments, fact_path)
        self._settings = settings
        self._collector = UsageCollector(settings.out_of_orderness_ms, settings.layout)
        self._keys = KeyReports()

    def rows(self) -> Iterator[UsageRow]:
        """A report for each chunk, and what its changes add up to once their minutes are over in all segments."""
        while read := self._segments.next_chunk():
            report = self._take(*read)
            yield from self._collector.closed(self._segments.lowest_progress_ms())
            yield self._report_row(report)
            if self._keys.are_many():
                yield from map(self._report_row, self._keys.reports())
        yield from self._collector.rest()
        yield from map(self._report_row, self._keys.reports())

    def _take(self, opened: OpenSegment[ChangeFact], decoded: Decoded[ChangeFact]) -> Report:
        telling = ChunkReport(opened, decoded)
        self._add(opened, decoded, telling)
        telling.fault()
        return telling.report

    def _add(  # noqa: C901 - in smaller functions it would call them once a record
        self, opened: OpenSegment[ChangeFact], decoded: Decoded[ChangeFact], telling: ChunkReport
    ) -> None:
        """Hand on each change. This loop runs once a record."""
        counts = telling.report.counts
        tolerance_ms = self._settings.future_tolerance_ms
        origin, place = opened.origin, opened.taken
        progress_ms = opened.progress_ms
        first_ms, last_ms = _NO_EARLIEST_MS, 0
        add, add_key = self._collector.add, self._keys.add
        late = refused = without_event_id = size_mismatch = 0
        for index, fact in enumerate(decoded.costs):
            table, partition_key, key_type, at_ms, wcu, mismatch, document, event_id, event_name, new_bytes = fact
            if at_ms > progress_ms:
                if at_ms - progress_ms > tolerance_ms and (
                    reason := opened.why_not_believed(decoded.costs, index, tolerance_ms)
                ):
                    telling.malformed(reason, document)
                    refused += 1
                    continue
                progress_ms = at_ms
            key = (table, partition_key, key_type)
            add_key(key)
            if add(Event(event_id, key, origin, place + index, progress_ms, at_ms, wcu, new_bytes, event_name)):
                late += 1
            if not event_id:
                without_event_id += 1
            if mismatch:
                size_mismatch += 1
            if at_ms < first_ms:
                first_ms = at_ms
            if at_ms > last_ms:
                last_ms = at_ms
        counts.late, counts.without_event_id, counts.size_mismatch = late, without_event_id, size_mismatch
        counts.changes = len(decoded.costs) - refused
        if counts.changes:
            counts.seen(first_ms, last_ms)
        opened.taken += len(decoded.costs)
        opened.progress_ms = progress_ms

    def _report_row(self, report: Report) -> UsageRow:
        return self._collector.report_row(write_report(report))
