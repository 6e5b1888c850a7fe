"""What is told of one chunk while a lane takes it up."""

from collections.abc import Sequence

from connectors.dynamodb.change import Malformed
from jobs.recorded.decoded import Decoded, OpenSegment, Timed
from jobs.recorded.reports import LateChange, Report, late_line, malformed_line


class ChunkReport:
    """The report of a chunk, which tells what counts for nothing in it, and where that stands.

    Of the records that are no changes it tells at once; of the changes, whoever takes them up.
    """

    def __init__(self, opened: OpenSegment[Timed], decoded: Decoded[Timed]) -> None:
        self.report = Report()
        self.report.counts.read_bytes = decoded.chunk.read_bytes
        self._opened = opened
        self._chunk = decoded.chunk
        self._places: Sequence[int] | None = None
        for document, outcome in decoded.others:
            if isinstance(outcome, Malformed):
                self.malformed(outcome.reason, document)
            else:
                self.report.counts.ignored += 1

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
