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
    # A record waits here until the time it arrives; the number keeps those of one time in order.
    waiting: list[tuple[int, int, bytes]] = []
    number = count()
    disorder_us = profile.disorder_ms * 1_000
    delay, duplicate, malformed = (_chance(profile, fault) for fault in ("delay", "duplicate", "malformed"))
    lateness = _Lateness(profile)
    for at_us, record in changes(profile):
        while waiting and waiting[0][0] <= at_us:
            yield heappop(waiting)[2]
        # Most delays are short: half of them are below an eighth of the longest.
        chance = delay.random()
        delay_us = int(chance * chance * chance * disorder_us)
        late_us = lateness.of(at_us)
        heappush(waiting, (at_us + (late_us or delay_us), next(number), record))
        if duplicate.random() < profile.duplicates and not late_us:
            again_us = delay_us + int(duplicate.random() * (disorder_us - delay_us))
            heappush(waiting, (at_us + again_us, next(number), record))
        if malformed.random() < profile.malformed:
            broken = malformed_record(record, pick(malformed, profile.malformed_kinds), malformed)
            heappush(waiting, (at_us + delay_us, next(number), broken))
    while waiting:
        yield heappop(waiting)[2]


class _Lateness:
    """How late records are, in microseconds: most are not, and that is 0."""

    def __init__(self, profile: Profile) -> None:
        self._random = _chance(profile, "late")
        self._fraction = profile.late
        self._shortest_ms, self._longest_ms = profile.late_by_ms
        self._end_us = float("inf")
        if profile.duration_ms is not None:
            self._end_us = (profile.start_ms + profile.duration_ms) * 1_000

    def of(self, at_us: int) -> int:
        if self._random.random() >= self._fraction:
            return 0
        span_ms = self._longest_ms - self._shortest_ms + 1
        late_us = 1_000 * (self._shortest_ms + int(self._random.random() * span_ms))
        # A record that comes after everything else is not behind anything: it would not be late.
        return late_us if at_us + late_us < self._end_us else 0


def _chance(profile: Profile, fault: str) -> Random:
    """Chance for one fault alone, so that a change of one option leaves the rest of the recording as it is."""
    return Random(f"{profile.seed}/{fault}")  # noqa: S311 - the same seed has to give the same recording
