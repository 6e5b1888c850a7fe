"""How many different partition keys there were, from digests told in any order and any number of times. Pure."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np

from jobs.recorded.reports import Report

DIGEST_BYTES: Final = 8
_MOST_TOLD: Final = 200_000
_KEYS_PER_REPORT: Final = 4096

Key = tuple[str, str, str]
"""Table, partition key, type of the partition key."""


def key_digest(key: Key) -> bytes:
    """Eight bytes that stand for a key; two of a million keys share them once in 37 million recordings."""
    return blake2b("\0".join(key).encode(), digest_size=DIGEST_BYTES).digest()


class KeyReports:
    """Tells of each key that a reader comes upon, mostly once."""

    def __init__(self) -> None:
        self._keys: set[Key] = set()
        self.add = self._keys.add
        self.add_all = self._keys.update

    def are_many(self) -> bool:
        """Whether it is time to tell what there is; what is told may be told again later."""
        return len(self._keys) > _MOST_TOLD

    def reports(self) -> Iterator[Report]:
        """What there is, in reports of a few thousand each, after which there is nothing."""
        digests = sorted(map(key_digest, self._keys))
        self._keys.clear()
        for start in range(0, len(digests), _KEYS_PER_REPORT):
            yield Report(keys=digests[start : start + _KEYS_PER_REPORT])


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
