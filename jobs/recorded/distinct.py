"""How many different partition keys there were, from digests told in any order and any number of times. Pure."""

from collections.abc import Sequence
from typing import Final

import numpy as np

DIGEST_BYTES: Final = 8
_MOST_TOLD: Final = 200_000


class DistinctDigests:
    """Counts different digests of eight bytes; for each, eight bytes are held, and at times twice as many."""

    def __init__(self) -> None:
        self._distinct = np.empty(0, dtype=np.uint64)
        self._told: list[bytes] = []
        self._told_bytes = 0

    def add(self, digests: Sequence[bytes]) -> None:
        """Take note of some digests."""
        told = b"".join(digests)
        self._told.append(told)
        self._told_bytes += len(told)
        # As many as are known already, so that sorting them costs each digest the same however many there are.
        if self._told_bytes > DIGEST_BYTES * max(_MOST_TOLD, len(self._distinct)):
            self._compact()

    def count(self) -> int:
        """How many different ones were added."""
        self._compact()
        return len(self._distinct)

    def _compact(self) -> None:
        told = np.frombuffer(b"".join(self._told), dtype=np.uint64)
        self._distinct = np.union1d(self._distinct, told)
        self._told.clear()
        self._told_bytes = 0
