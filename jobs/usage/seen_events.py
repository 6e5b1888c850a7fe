"""Which events were counted already: a few sorted arrays, 28 bytes for each event of the horizon. Pure.

Each event is found by 16 bytes of a hash of its `eventID`. New ones come as a sorted array of their own; where an array
is not twice as large as the one after it, the two are merged, so there are few and an event moves a few times only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_HEADER_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class SeenArray:
    """Events that were counted, sorted by `high`.

    Attributes:
        high: The first half of each digest.
        low: The second half.
        content: A hash of what the event said.
        arrived_ms: When it arrived.
    """

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    content: npt.NDArray[np.uint32]
    arrived_ms: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.high)

    def taken(self, places: npt.NDArray[Any]) -> SeenArray:
        """The events at these places, or where this is true."""
        return SeenArray(self.high[places], self.low[places], self.content[places], self.arrived_ms[places])

    def merged(self, other: SeenArray) -> SeenArray:
        """The events of both."""
        joined = SeenArray(*(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _COLUMNS))
        return joined.taken(np.argsort(joined.high, kind="stable"))  # quick for two sorted halves

    def to_bytes(self) -> bytes:
        """It as it is kept in state."""
        columns = b"".join(getattr(self, name).tobytes() for name in _COLUMNS)
        return len(self).to_bytes(_HEADER_BYTES, "little") + columns

    @staticmethod
    def from_bytes(kept: bytes) -> SeenArray:
        """It as it was."""
        count, at = int.from_bytes(kept[:_HEADER_BYTES], "little"), _HEADER_BYTES
        columns: list[npt.NDArray[Any]] = []
        for kind in (np.uint64, np.uint64, np.uint32, np.int64):
            columns.append(np.frombuffer(kept, dtype=kind, count=count, offset=at))
            at += columns[-1].nbytes
        return SeenArray(*columns)


_COLUMNS: Final = tuple(field.name for field in fields(SeenArray))


class SeenEvents:
    """The events that were counted within the horizon.

    Attributes:
        arrays: The arrays by numbers that are never used twice, so that only those that are new need to be kept.
    """

    def __init__(self, arrays: dict[int, SeenArray] | None = None) -> None:
        self.arrays = dict(arrays or {})
        self._next = max(self.arrays, default=-1) + 1

    def find(self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> dict[int, tuple[int, int]]:
        """When events arrived last, and what they said, by their places among those asked for; no others are there.

        Args:
            high: First halves of digests, sorted.
            low: Their second halves.
        """
        found: dict[int, tuple[int, int]] = {}
        for array in self.arrays.values():
            starts = np.searchsorted(array.high, high)
            inside = starts < len(array)
            alike = np.flatnonzero(inside)[array.high[starts[inside]] == high[inside]]
            for place in map(int, alike):
                at = int(starts[place])
                while at < len(array) and array.high[at] == high[place]:
                    arrived_ms = int(array.arrived_ms[at])
                    if array.low[at] == low[place] and (place not in found or found[place][0] < arrived_ms):
                        found[place] = arrived_ms, int(array.content[at])
                    at += 1
        return found

    def add(self, counted: SeenArray, oldest_ms: int) -> None:
        """Take note of events that were counted, sorted by `high`; those that arrived before `oldest_ms` may go."""
        for number in [each for each, array in self.arrays.items() if array.arrived_ms.max() < oldest_ms]:
            del self.arrays[number]
        if not len(counted):
            return
        while self.arrays and len(self.arrays[last := max(self.arrays)]) < 2 * len(counted):
            merged = self.arrays.pop(last).merged(counted)
            counted = merged.taken(merged.arrived_ms >= oldest_ms)
        self.arrays[self._next] = counted
        self._next += 1
