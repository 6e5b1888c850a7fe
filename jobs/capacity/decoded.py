"""Chunks of a recording turned into costs, whatever form their records come in, and a segment read that way."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from connectors.dynamodb.change import Ignored, Malformed
from connectors.dynamodb.clock import RECORDS_AROUND
from connectors.dynamodb.fast_path import FastPath, WriteCost, peek_time_ms
from connectors.recordings.chunks import Chunk
from connectors.recordings.forms import Form, expand
from connectors.recordings.segments import Segment

NO_TIME_MS: Final = 0
"""The progress of a segment in which no time has been seen."""

_DOCUMENTS_PEEKED: Final = 64


class Decoded(NamedTuple):
    """A chunk, the costs of its changes, and the outcomes of its other records with their places in the chunk."""

    chunk: Chunk
    costs: list[WriteCost]
    others: list[tuple[int, Malformed | Ignored]]


class OpenSegment:
    """A segment being read: its decoded chunks in order, and the newest time so far."""

    def __init__(self, segment: Segment, fast_path: FastPath) -> None:
        self._segment = segment
        self.progress_ms = segment.first_ms or NO_TIME_MS
        self._decoded = (decode_chunk(chunk, fast_path) for chunk in segment.chunks())
        self._looked_ahead: list[Decoded] = []

    def next_chunk(self) -> Decoded | None:
        """The next chunk, None at the end."""
        return self._looked_ahead.pop() if self._looked_ahead else next(self._decoded, None)

    def position(self, chunk: Chunk, document: int) -> dict[str, str | int]:
        """Where a document stands: its file and the byte, or in Parquet the row, at which it begins."""
        unit = "row" if self._segment.file.form is Form.PARQUET else "byte"
        return {"file": self._segment.file.path, unit: chunk.place_of(document)}

    def end_position(self, chunk: Chunk) -> dict[str, str | int]:
        """Where a chunk ends."""
        return {"file": self._segment.file.path, "byte": chunk.start_byte + chunk.read_bytes}

    def following_ms(self, costs: Sequence[WriteCost], index: int) -> list[int]:
        """The times of the changes after one, from the next chunk too where its own has not enough."""
        times = [cost.at_ms for cost in islice(costs, index + 1, index + 1 + RECORDS_AROUND)]
        if len(times) < RECORDS_AROUND and not self._looked_ahead:
            self._looked_ahead.extend(islice(self._decoded, 1))
        for decoded in self._looked_ahead:
            times += [cost.at_ms for cost in islice(decoded.costs, RECORDS_AROUND - len(times))]
        return times


def decode_chunk(chunk: Chunk, fast_path: FastPath) -> Decoded:
    """The outcomes of a chunk's records; where documents hold several records, the chunk is one of single records."""
    costs, others = fast_path.decode_all(chunk.documents)
    expanded = expand_chunk(chunk, [document for document, _ in others]) if others else None
    if expanded is None:
        return Decoded(chunk, costs, others)
    return Decoded(expanded, *fast_path.decode_all(expanded.documents))


def expand_chunk(chunk: Chunk, suspects: Sequence[int]) -> Chunk | None:
    """The chunk with its envelopes opened, its concatenated records parted and its blank documents left out."""
    parts = {index: inner for index in suspects if (inner := expand(chunk.documents[index])) is not None}
    if not parts:
        return None
    documents: list[bytes] = []
    starts: list[int] = []
    arrivals_ms: list[int | None] = []
    at_byte = chunk.start_byte
    for index, document in enumerate(chunk.documents):
        start = at_byte if chunk.starts is None else chunk.starts[index]
        at_byte += len(document) + 1
        if index not in parts:
            documents.append(document)
            starts.append(start)
            arrivals_ms.append(chunk.arrivals_ms[index] if chunk.arrivals_ms else None)
            continue
        for part in parts[index]:
            documents.append(part.data)
            starts.append(start + part.offset)
            arrivals_ms.append(part.arrival_ms)
    return replace(chunk, documents=documents, starts=starts, arrivals_ms=arrivals_ms)


def first_time_ms(documents: Sequence[bytes]) -> int | None:
    """The earliest time among the first changes of a stretch, whatever their tables; None where there is none.

    The earliest of several, because the very first may have a wrong clock.
    """
    chunk = Chunk(list(documents[:_DOCUMENTS_PEEKED]), 0, None, 0)
    times = [time_ms for document in _expanded_documents(chunk) if (time_ms := peek_time_ms(document)) is not None]
    return min(times[:RECORDS_AROUND], default=None)


def _expanded_documents(chunk: Chunk) -> list[bytes]:
    suspects = [index for index, document in enumerate(chunk.documents) if peek_time_ms(document) is None]
    return (expand_chunk(chunk, suspects) or chunk).documents
