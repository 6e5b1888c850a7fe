"""Chunks of a recording turned into costs, whatever form their records come in, and a segment read that way."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from connectors.dynamodb.change import Ignored, Malformed
from connectors.dynamodb.clock import RECORDS_AROUND, is_too_far_ahead, wrong_clock_reason
from connectors.dynamodb.fast_path import peek_time_ms
from connectors.recordings.chunks import Chunk
from connectors.recordings.envelopes import expand
from connectors.recordings.segments import Segment

NO_TIME_MS: Final = 0
"""The progress of a segment in which no time has been seen."""

# How far a first time is looked for, and how far ahead what a wrong clock is told by.
_MOST_PEEKED_BYTES: Final = 4 << 20
_MOST_CHUNKS_AHEAD: Final = 16


class HasTime(Protocol):
    """What a job makes of a change."""

    @property
    def at_ms(self) -> int:
        """When the item was written."""


Timed = TypeVar("Timed", bound=HasTime)


class Decoder(Protocol[Timed]):
    """Decodes records: a job's choice of what it wants to know of each change."""

    def decode_all(self, records: Sequence[bytes]) -> tuple[list[Timed], list[tuple[int, Malformed | Ignored]]]:
        """What is wanted of the records that are changes, and the outcomes of the others with their places."""


class Decoded(NamedTuple, Generic[Timed]):
    """A chunk, what its changes cost, and the outcomes of its other records with their places in the chunk."""

    chunk: Chunk
    costs: list[Timed]
    others: list[tuple[int, Malformed | Ignored]]


class OpenSegment(Generic[Timed]):
    """A segment being read: its decoded chunks in order, the newest time so far, and how many changes were taken."""

    def __init__(self, segment: Segment, decoder: Decoder[Timed]) -> None:
        self._segment = segment
        self.origin = (segment.file.path, segment.start_byte)
        self.progress_ms = segment.first_ms or NO_TIME_MS
        self.taken = 0
        self._decode = partial(decode_chunk, decoder=decoder)
        # Not a generator expression, which would hold each chunk until the next.
        self._decoded = map(self._decode, segment.chunks())
        self._looked_ahead: deque[Decoded[Timed]] = deque()

    def next_chunk(self) -> Decoded[Timed] | None:
        """The next chunk, None at the end."""
        return self._looked_ahead.popleft() if self._looked_ahead else next(self._decoded, None)

    def position(self, chunk: Chunk, place: int) -> dict[str, str | int]:
        """A place in a chunk as it is told: the file, and the byte or the row in it."""
        return {"file": self._segment.file.path, "row" if chunk.in_rows else "byte": place}

    def following_ms(self, costs: Sequence[Timed], index: int) -> list[int]:
        """The times of the next changes after one of the newest chunk, in later chunks too and beyond a page."""
        times = [cost.at_ms for cost in islice(costs, index + 1, index + 1 + RECORDS_AROUND)]
        ahead = self._chunks_ahead()
        while len(times) < RECORDS_AROUND and (decoded := next(ahead, None)):
            times += [cost.at_ms for cost in islice(decoded.costs, RECORDS_AROUND - len(times))]
        return times

    def why_not_believed(self, costs: Sequence[Timed], index: int, tolerance_ms: int) -> str | None:
        """Why a time of the newest chunk that jumps ahead is a wrong clock's, None where it is believed."""
        at_ms = costs[index].at_ms
        if is_too_far_ahead(at_ms, self.following_ms(costs, index), tolerance_ms):
            return wrong_clock_reason(at_ms)
        return None

    def _chunks_ahead(self) -> Iterator[Decoded[Timed]]:
        yield from self._looked_ahead
        while len(self._looked_ahead) < _MOST_CHUNKS_AHEAD and (decoded := next(self._decoded, None)):
            self._looked_ahead.append(decoded)
            yield decoded
        if len(self._looked_ahead) < _MOST_CHUNKS_AHEAD:
            yield from islice(map(self._decode, self._segment.chunks_beyond()), _MOST_CHUNKS_AHEAD)


def decode_chunk(chunk: Chunk, decoder: Decoder[Timed]) -> Decoded[Timed]:
    """The outcomes of a chunk's records; where documents hold several records, the chunk is one of single records."""
    costs, others = decoder.decode_all(chunk.documents)
    expanded = expand_chunk(chunk, [document for document, _ in others]) if others else None
    if expanded is None:
        return Decoded(chunk, costs, others)
    return Decoded(expanded, *decoder.decode_all(expanded.documents))


def expand_chunk(chunk: Chunk, suspects: Sequence[int]) -> Chunk | None:
    """The chunk with its envelopes opened, its concatenated records parted and its blank documents left out.

    None where that leaves it as it is.

    Args:
        chunk: What was read.
        suspects: The documents that may be something else than one record.
    """
    parts = {index: inner for index in suspects if (inner := expand(chunk.documents[index])) is not None}
    if not parts:
        return None
    documents: list[bytes] = []
    starts: list[int] = []
    for index, (document, start) in enumerate(zip(chunk.documents, chunk.places(), strict=True)):
        if index not in parts:
            documents.append(document)
            starts.append(start)
            continue
        for part in parts[index]:
            documents.append(part.data)
            starts.append(start if chunk.in_rows else start + part.offset)
    return replace(chunk, documents=documents, starts=starts)


def first_time_ms(chunks: Iterable[Chunk]) -> int | None:
    """The earliest of the first few times in a stretch; None where too few are found near its beginning.

    The earliest of several, because the very first may have a wrong clock. All records that tell a time count, so
    that it is not later than the first change, whatever tables the settings know.
    """
    times: list[int] = []
    peeked_bytes = 0
    for chunk in chunks:
        for document in _single_records(chunk):
            at_ms = peek_time_ms(document)
            if at_ms is not None:
                times.append(at_ms)
            if len(times) == RECORDS_AROUND:
                return min(times)
        peeked_bytes += chunk.read_bytes
        if peeked_bytes > _MOST_PEEKED_BYTES:
            return None
    return min(times, default=None)


def _single_records(chunk: Chunk) -> list[bytes]:
    suspects = [index for index, document in enumerate(chunk.documents) if peek_time_ms(document) is None]
    return (expand_chunk(chunk, suspects) or chunk).documents
