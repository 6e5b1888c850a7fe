"""How many different partition keys there were, from digests told in any order and any number of times. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np

DIGEST_BYTES: Final = 8
_MOST_TOLD: Final = 200_000


class DistinctDigests:
    """Counts different digests of eight bytes; eight bytes are held for each, and some for the newest."""

    def __init__(self) -> None:
        self._distinct = np.empty(0, dtype=np.uint64)
        self._told: list[bytes] = []

    def add(self, digests: Sequence[bytes]) -> None:
        """Take note of some digests."""
        self._told.extend(digests)
        if len(self._told) > _MOST_TOLD:
            self._compact()

    def count(self) -> int:
        """How many different ones were added."""
        self._compact()
        return len(self._distinct)

    def _compact(self) -> None:
        told = np.frombuffer(b"".join(self._told), dtype=np.uint64)
        self._distinct = np.union1d(self._distinct, told)
        self._told.clear()
