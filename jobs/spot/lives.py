"""Lives: when each instance of a recording ran, and how it was paid for, from what was told in any order. Pure.

EC2 bills an instance from running to stopping or shutting-down. Where these events are lost, what the scans saw stands
in: an instance ran from its launch time on, and one that the newest scan of its Region no longer saw had ended when it
was last heard of.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from connectors.ec2.events import Event, InstanceState, InterruptionWarning, RebalanceRecommendation, StateChange
from connectors.spot_actions import ENDED_STATES
from connectors.spot_facts import DescribedInstance, Facts, InstancesDescribed, Purchase

_RUNNING: Final = frozenset({InstanceState.PENDING, InstanceState.RUNNING})


@dataclass(frozen=True, slots=True)
class Run:
    """A time in which an instance was billed in one way; the end is not part of it."""

    start_ms: int
    end_ms: int
    purchase: Purchase


@dataclass(frozen=True, slots=True)
class Life:
    """What became of an instance of which a scan knew where it runs.

    Attributes:
        stands_for: the type that its group had in its place at first.
        runs: in order; cut to the time of the report.
        launched_at_ms: its first launch, before the report perhaps.
        ended_at_ms: when it was ended or interrupted; None while it runs.
        warned_at_ms: the first interruption warning.
    """

    account: str
    region: str
    instance_id: str
    instance_type: str
    stands_for: str
    zone: str
    platform: str
    group: str | None
    runs: tuple[Run, ...]
    launched_at_ms: int
    ended_at_ms: int | None
    warned_at_ms: int | None

    @property
    def purchase(self) -> Purchase | None:
        """How it was paid for first; None where it did not run in the time of the report."""
        return self.runs[0].purchase if self.runs else None


@dataclass(frozen=True, slots=True)
class Lives:
    """All instances of a recording, in the order of their ids.

    Attributes:
        start_ms: The time that is told of begins.
        end_ms: It ends.
        unknown: Instances that events name and no scan saw: nobody knows what they cost.
    """

    lives: tuple[Life, ...]
    start_ms: int
    end_ms: int
    unknown: int


@dataclass(slots=True)
class _Told:
    """What was told of one instance."""

    region: str = ""
    states: set[tuple[int, InstanceState]] = field(default_factory=set)
    seen: dict[int, DescribedInstance] = field(default_factory=dict)
    warned_at_ms: int | None = None
    heard_ms: int = 0

    @property
    def launched_at_ms(self) -> int:
        """The earliest launch that a scan tells of."""
        return min(each.launched_at_ms for each in self.seen.values())


class LifeBook:
    """Takes what is told in any order, and tells the lives when all is told."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], _Told] = defaultdict(_Told)
        self._newest_scan_ms: dict[tuple[str, str], int] = {}
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def add(self, outcome: Event | Facts) -> None:
        """Take note of an event or of facts."""
        self._first_ms = outcome.at_ms if self._first_ms is None else min(self._first_ms, outcome.at_ms)
        self._last_ms = outcome.at_ms if self._last_ms is None else max(self._last_ms, outcome.at_ms)
        match outcome:
            case InstancesDescribed():
                where = outcome.account, outcome.region
                self._newest_scan_ms[where] = max(self._newest_scan_ms.get(where, 0), outcome.at_ms)
                for instance in outcome.instances:
                    told = self._heard(outcome.account, instance.instance_id, outcome.region, outcome.at_ms)
                    told.seen[outcome.at_ms] = instance
            case StateChange():
                told = self._heard(outcome.account, outcome.instance_id, outcome.region, outcome.at_ms)
                told.states.add((outcome.at_ms, outcome.state))
            case InterruptionWarning():
                told = self._heard(outcome.account, outcome.instance_id, outcome.region, outcome.at_ms)
                told.warned_at_ms = min(told.warned_at_ms or outcome.at_ms, outcome.at_ms)
            case RebalanceRecommendation():
                self._heard(outcome.account, outcome.instance_id, outcome.region, outcome.at_ms)

    def lives(self, start_ms: int | None = None, end_ms: int | None = None) -> Lives:
        """All lives, as far as they are between two times; without them, from the first that was told to the last."""
        start_ms = (self._first_ms or 0) if start_ms is None else start_ms
        end_ms = (self._last_ms or 0) if end_ms is None else end_ms
        known = {key: told for key, told in sorted(self._told.items()) if told.seen}
        lives = (self._life(*key, told, start_ms, end_ms) for key, told in known.items())
        return Lives(tuple(lives), start_ms, end_ms, unknown=len(self._told) - len(known))

    def _heard(self, account: str, instance_id: str, region: str, at_ms: int) -> _Told:
        told = self._told[account, instance_id]
        told.region = region
        told.heard_ms = max(told.heard_ms, at_ms)
        return told

    def _life(self, account: str, instance_id: str, told: _Told, start_ms: int, end_ms: int) -> Life:
        newest = told.seen[max(told.seen)]
        spans, since_ms, ended_at_ms = _spans(told)
        if since_ms is not None:
            if told.heard_ms < self._newest_scan_ms.get((account, told.region), 0):
                ended_at_ms = told.heard_ms
            spans.append((since_ms, max(since_ms, end_ms if ended_at_ms is None else ended_at_ms)))
        groups = [each.group for _, each in sorted(told.seen.items()) if each.group is not None]
        return Life(
            account=account,
            region=told.region,
            instance_id=instance_id,
            instance_type=newest.instance_type,
            stands_for=newest.stands_for or newest.instance_type,
            zone=newest.zone,
            platform=newest.platform,
            group=groups[-1] if groups else None,
            runs=tuple(_runs(spans, told.seen, start_ms, end_ms)),
            launched_at_ms=min([told.launched_at_ms, *(begin_ms for begin_ms, _ in spans)]),
            ended_at_ms=ended_at_ms,
            warned_at_ms=told.warned_at_ms,
        )


def _spans(told: _Told) -> tuple[list[tuple[int, int]], int | None, int | None]:
    """From when until when it ran, since when it runs still, and when it ended for good."""
    spans: list[tuple[int, int]] = []
    since_ms: int | None = None
    for at_ms, what in _in_order(told):
        if isinstance(what, DescribedInstance) or what in _RUNNING:
            begin_ms = what.launched_at_ms if isinstance(what, DescribedInstance) else at_ms
            if since_ms is None:
                since_ms = max(begin_ms, spans[-1][1]) if spans else begin_ms
            continue
        if since_ms is None and not spans:
            since_ms = told.launched_at_ms  # as a scan tells it only later
        if since_ms is not None:
            spans.append((since_ms, max(since_ms, at_ms)))
        since_ms = None
        if what in ENDED_STATES:
            return spans, None, at_ms
    return spans, since_ms, None


def _in_order(told: _Told) -> list[tuple[int, InstanceState | DescribedInstance]]:
    """States and sightings in the order of time; at the same time, the state first."""
    states = [(at_ms, 0, state) for at_ms, state in sorted(told.states)]
    seen = [(at_ms, 1, instance) for at_ms, instance in told.seen.items()]
    in_order: list[tuple[int, int, InstanceState | DescribedInstance]] = [*states, *seen]
    return [(at_ms, what) for at_ms, _, what in sorted(in_order, key=lambda each: each[:2])]


def _runs(
    spans: Iterable[tuple[int, int]], seen: dict[int, DescribedInstance], start_ms: int, end_ms: int
) -> Iterator[Run]:
    """The spans within the time of the report, cut where the way of paying changed."""
    looks = sorted(seen)
    changes = looks[:1] + [now for before, now in pairwise(looks) if seen[before].purchase is not seen[now].purchase]
    for begin_ms, until_ms in spans:
        for number, change_ms in enumerate(changes):
            from_ms = start_ms if number == 0 else max(start_ms, change_ms)
            to_ms = end_ms if number + 1 == len(changes) else min(end_ms, changes[number + 1])
            if max(begin_ms, from_ms) < min(until_ms, to_ms):
                yield Run(max(begin_ms, from_ms), min(until_ms, to_ms), seen[change_ms].purchase)
