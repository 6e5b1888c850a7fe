"""Several segments read by one reader in the order of their times. It does no I/O but through its segments.

A file holds records in the order in which they arrived, and its progress is the newest time so far in it. Reading
always goes on where progress is lowest, so files recorded side by side advance together.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Generic

from connectors.recordings.segments import Segment
from jobs.recorded.decoded import NO_TIME_MS, Decoded, Decoder, OpenSegment, Timed


class OpenSegments(Generic[Timed]):
    """Gives the chunks of some segments, each from the segment whose progress is lowest."""

    def __init__(self, segments: Sequence[Segment], decoder: Decoder[Timed]) -> None:
        self._waiting = sorted(segments, key=reading_order, reverse=True)
        self._decoder = decoder
        self._opened: list[tuple[int, int, OpenSegment[Timed]]] = []
        self._numbered = 0
        self._under_way: tuple[int, OpenSegment[Timed]] | None = None

    def next_chunk(self) -> tuple[OpenSegment[Timed], Decoded[Timed]] | None:
        """The next chunk and its segment, whose progress the caller moves on before the next call; None at the end."""
        while True:
            self._put_back()
            while self._waiting and (not self._opened or _start_ms(self._waiting[-1]) <= self._opened[0][0]):
                segment = OpenSegment(self._waiting.pop(), self._decoder)
                heappush(self._opened, (segment.progress_ms, self._numbered, segment))
                self._numbered += 1
            if not self._opened:
                return None
            _, number, slowest = heappop(self._opened)
            decoded = slowest.next_chunk()
            if decoded is not None:
                self._under_way = number, slowest
                return slowest, decoded

    def lowest_progress_ms(self) -> int:
        """The lowest progress of any segment that is not at its end: no change in a later chunk arrives before it."""
        self._put_back()
        next_ms = _start_ms(self._waiting[-1]) if self._waiting else self._opened[0][0]
        return min(self._opened[0][0], next_ms)

    def _put_back(self) -> None:
        if self._under_way is not None:
            number, segment = self._under_way
            heappush(self._opened, (segment.progress_ms, number, segment))
            self._under_way = None


def reading_order(segment: Segment) -> tuple[int, str, int]:
    """What segments are sorted by to be read: their first times, and where these are alike, their places."""
    return _start_ms(segment), segment.file.path, segment.start_byte


def _start_ms(segment: Segment) -> int:
    return segment.first_ms or NO_TIME_MS
