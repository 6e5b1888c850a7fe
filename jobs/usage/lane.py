"""A lane of a recording as the ledger reads it. It does no I/O but through its segments."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from connectors.dynamodb.change import Malformed
from connectors.dynamodb.change_facts import ChangeFact, FactPath
from connectors.recordings.segments import Segment
from jobs.recorded.chunk_report import ChunkReport
from jobs.recorded.decoded import Decoded, OpenSegment
from jobs.recorded.distinct import KeyReports
from jobs.recorded.open_segments import OpenSegments
from jobs.recorded.reports import Report, write_report
from jobs.usage.facts import Event, UsageCollector, UsageRow

_NO_EARLIEST_MS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What a lane must know of the settings."""

    out_of_orderness_ms: int
    future_tolerance_ms: int


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
        self._collector = UsageCollector(settings.out_of_orderness_ms)
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
        report = Report()
        report.counts.read_bytes = decoded.chunk.read_bytes
        telling = ChunkReport(opened, decoded.chunk, report)
        for document, outcome in decoded.others:
            if isinstance(outcome, Malformed):
                telling.malformed(outcome.reason, document)
            else:
                report.counts.ignored += 1
        self._add(opened, decoded, telling)
        telling.fault()
        return report

    def _add(self, opened: OpenSegment[ChangeFact], decoded: Decoded[ChangeFact], telling: ChunkReport) -> None:
        counts = telling.report.counts
        tolerance_ms = self._settings.future_tolerance_ms
        origin, place = opened.origin, opened.taken
        progress_ms = opened.progress_ms
        first_ms, last_ms = _NO_EARLIEST_MS, 0
        add, add_key = self._collector.add, self._keys.add
        for index, fact in enumerate(decoded.costs):
            at_ms = fact.at_ms
            if at_ms > progress_ms:
                if at_ms - progress_ms > tolerance_ms and (
                    reason := opened.why_not_believed(decoded.costs, index, tolerance_ms)
                ):
                    telling.malformed(reason, fact.document)
                    continue
                progress_ms = at_ms
            key = (fact.table, fact.partition_key, fact.partition_key_type)
            add_key(key)
            event = Event(
                fact.event_id or "",
                key,
                origin,
                place + index,
                progress_ms,
                at_ms,
                fact.wcu,
                fact.new_bytes,
                fact.event_name,
            )
            counts.late += add(fact.event_id, event)
            counts.changes += 1
            counts.without_event_id += not fact.event_id
            counts.size_mismatch += fact.size_mismatch
            first_ms, last_ms = min(first_ms, at_ms), max(last_ms, at_ms)
        if counts.changes:
            counts.seen(first_ms, last_ms)
        opened.taken += len(decoded.costs)
        opened.progress_ms = progress_ms

    def _report_row(self, report: Report) -> UsageRow:
        return self._collector.report_row(write_report(report))
