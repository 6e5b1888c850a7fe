"""What is told of one chunk while a lane takes it up."""

from collections.abc import Sequence

from connectors.recordings.chunks import Chunk
from jobs.recorded.decoded import OpenSegment, Timed
from jobs.recorded.reports import LateChange, Report, late_line, malformed_line


class ChunkReport:
    """Tells in a chunk's report what counts for nothing in it, and where that stands."""

    def __init__(self, opened: OpenSegment[Timed], chunk: Chunk, report: Report) -> None:
        self.report = report
        self._opened = opened
        self._chunk = chunk
        self._places: Sequence[int] | None = None

    def malformed(self, reason: str, document: int) -> None:
        """A record that is none."""
        self._add_malformed(reason, self._position(document), self._chunk.documents[document])

    def late(self, cost: LateChange, behind_ms: int) -> None:
        """A change that is late by so much."""
        self.report.counts.late += 1
        self.report.late.append(late_line(cost, behind_ms, self._position(cost.document)))

    def fault(self) -> None:
        """What is wrong with the file after the chunk, if anything is."""
        fault = self._chunk.fault
        if fault is not None:
            self._add_malformed(fault.reason, self._opened.position(self._chunk, fault.place), fault.record)

    def _add_malformed(self, reason: str, position: dict[str, str | int], record: bytes) -> None:
        self.report.counts.malformed += 1
        self.report.malformed.append(malformed_line(reason, position, record))

    def _position(self, document: int) -> dict[str, str | int]:
        if self._places is None:
            self._places = self._chunk.places()
        return self._opened.position(self._chunk, self._places[document])
