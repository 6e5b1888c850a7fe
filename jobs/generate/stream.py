"""Records as a stream delivers them: a little out of order, some twice, some very late, some broken. Pure."""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count, islice
from random import Random

from jobs.generate.attributes import pick
from jobs.generate.changes import changes
from jobs.generate.malformed import malformed_record
from jobs.generate.profile import Profile


def records(profile: Profile) -> Iterator[bytes]:
    """The records of a recording, in the order in which they arrive, none with a line break in it.

    No record is behind an earlier one by more than `profile.disorder_ms`, duplicates included, but the late
    ones are: by `profile.late_by_ms`.
    """
    return islice(_delivered(profile), profile.records)


def _delivered(profile: Profile) -> Iterator[bytes]:
    delivery = _Delivery(profile)
    # A record waits here until the time it arrives; the number keeps those of one time in order.
    waiting: list[tuple[int, int, bytes]] = []
    number = count()
    for at_us, record in changes(profile):
        while waiting and waiting[0][0] <= at_us:
            yield heappop(waiting)[2]
        for arrives_us, arriving in delivery.arrivals(at_us, record):
            heappush(waiting, (arrives_us, next(number), arriving))
    while waiting:
        yield heappop(waiting)[2]


class _Delivery:
    """When a record arrives, and in what company.

    Each fault has a chance of its own, so that a change of one option leaves the rest as it is.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._disorder_us = profile.disorder_ms * 1_000
        self._end_us = float("inf")
        if profile.duration_ms is not None:
            self._end_us = (profile.start_ms + profile.duration_ms) * 1_000
        self._delay, self._late, self._duplicate, self._malformed = (
            Random(f"{profile.seed}/{fault}")  # noqa: S311 - the same seed has to give the same recording
            for fault in ("delay", "late", "duplicate", "malformed")
        )

    def arrivals(self, at_us: int, record: bytes) -> Iterator[tuple[int, bytes]]:
        profile = self._profile
        # Most delays are short: half of them are below an eighth of the longest.
        delay_us = int(self._delay.random() ** 3 * self._disorder_us)
        late_us = self._late_by_us() if self._late.random() < profile.late else 0
        # Nothing is late any more when it comes after everything else.
        is_late = late_us > 0 and at_us + late_us < self._end_us
        yield at_us + (late_us if is_late else delay_us), record
        if self._duplicate.random() < profile.duplicates and not is_late:
            yield at_us + delay_us + int(self._duplicate.random() * (self._disorder_us - delay_us)), record
        if self._malformed.random() < profile.malformed:
            kind = pick(self._malformed, profile.malformed_kinds)
            yield at_us + delay_us, malformed_record(record, kind, self._malformed)

    def _late_by_us(self) -> int:
        shortest_ms, longest_ms = self._profile.late_by_ms
        return 1_000 * (shortest_ms + int(self._late.random() * (longest_ms - shortest_ms + 1)))
