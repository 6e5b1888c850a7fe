"""Routing: which instance, group or pool what a message tells is for, and as what. Pure.

One message may be for many: a page of a scan tells each of its instances where it runs, and each group what it runs.
What is for a subject travels as text, so that any connector can carry it.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, get_args

import msgspec

from connectors.ec2.events import (
    ActivityKind,
    Event,
    GroupActivity,
    InterruptionWarning,
    LifecycleAction,
    NotificationTest,
    RebalanceRecommendation,
    ScheduledChange,
    SpotRequestFulfillment,
    StateChange,
)
from connectors.spot_facts import (
    Facts,
    InstancesDescribed,
    LaunchRefused,
    PlacementScores,
    PoolsHealth,
    PoolsReleased,
    Purchase,
)
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.groups import GroupRuns
from jobs.spot.instances import InstanceFound
from jobs.spot.market import InstanceFacts, Pool
from jobs.spot.signals import InstanceEvent, instance_event

Told = InstanceEvent | InstanceFound | GroupRuns | PoolEvidence


class ToldKind(StrEnum):
    """What a subject is told, by name, in the order in which it is heard where times are equal.

    What is known of a subject comes first, and what a group did of its own accord before what became of an instance.
    """

    INSTANCE_FOUND = "instance_found"
    GROUP_RUNS = "group_runs"
    POOL_EVIDENCE = "pool_evidence"
    SPOT_REQUEST_FULFILLMENT = "spot_request_fulfillment"
    REBALANCE_RECOMMENDATION = "rebalance_recommendation"
    LIFECYCLE_ACTION = "lifecycle_action"
    GROUP_ACTIVITY = "group_activity"
    INTERRUPTION_WARNING = "interruption_warning"
    STATE_CHANGE = "state_change"


class SubjectKind(StrEnum):
    """Whom it concerns."""

    INSTANCE = "instance"
    GROUP = "group"
    POOL = "pool"


class Routed(NamedTuple):
    """Something told, ready to travel.

    Attributes:
        subject: whom it concerns, as a key.
        kind: what it is.
        at_ms: when it happened.
        value: all of it, as JSON.
    """

    subject: str
    kind: ToldKind
    at_ms: int
    value: str


_TYPES: Final[dict[ToldKind, type[Any]]] = {
    ToldKind.INSTANCE_FOUND: InstanceFound,
    ToldKind.GROUP_RUNS: GroupRuns,
    ToldKind.POOL_EVIDENCE: PoolEvidence,
    ToldKind.SPOT_REQUEST_FULFILLMENT: SpotRequestFulfillment,
    ToldKind.REBALANCE_RECOMMENDATION: RebalanceRecommendation,
    ToldKind.LIFECYCLE_ACTION: LifecycleAction,
    ToldKind.GROUP_ACTIVITY: GroupActivity,
    ToldKind.INTERRUPTION_WARNING: InterruptionWarning,
    ToldKind.STATE_CHANGE: StateChange,
}
_KINDS: Final = {told_type: kind for kind, told_type in _TYPES.items()}
_DECODERS: Final = {kind: msgspec.json.Decoder(told_type) for kind, told_type in _TYPES.items()}


class _InPool(Protocol):
    @property
    def instance_type(self) -> str: ...

    @property
    def zone(self) -> str: ...


HEARD_ORDER: Final = {kind: number for number, kind in enumerate(ToldKind)}
"""The place of each kind among those that are heard at the same time."""


def kind_name(outcome: Event | Facts) -> str:
    """What an event or fact is called where they are counted."""
    return _name_of(type(outcome))


def _name_of(kind: type[Event | Facts]) -> str:
    return _COUNTED_ALONE[kind] if kind in _COUNTED_ALONE else _KINDS[kind].value


def counted_kinds() -> set[str]:
    """All names that `kind_name` gives."""
    return {_name_of(kind) for kind in get_args(Event) + get_args(Facts)}


def route(outcome: Event | Facts) -> Iterator[Routed]:
    """What is to be heard of an event or of facts, by each whom it concerns; of some events nothing."""
    for told in _told(outcome):
        yield Routed(_subject(told), _KINDS[type(told)], told.at_ms, msgspec.json.encode(told).decode())


def subject_kind(subject: str) -> SubjectKind:
    """What kind of subject a key is that of."""
    return SubjectKind(subject.partition("|")[0])


def pool_subject(pool: Pool) -> str:
    """The key of a pool."""
    return _key(SubjectKind.POOL, pool.account, pool.region, pool.instance_type, pool.zone)


def pool_of_subject(subject: str) -> Pool:
    """The pool of a key."""
    return Pool(*subject.split("|")[1:])


def read_told(kind: str, value: str) -> Told:
    """What travelled."""
    told: Told = _DECODERS[ToldKind(kind)].decode(value)
    return told


def _told(outcome: Event | Facts) -> Iterator[Told]:
    if isinstance(outcome, InstancesDescribed):
        return _found(outcome)
    if isinstance(outcome, PlacementScores | PoolsHealth | LaunchRefused | PoolsReleased):
        return _pools_told(outcome)
    if isinstance(outcome, GroupActivity) and _is_failed_launch(outcome):
        return iter((outcome,))
    about_instance = instance_event(outcome)
    return iter(() if about_instance is None else (about_instance,))


def _pools_told(facts: PlacementScores | PoolsHealth | LaunchRefused | PoolsReleased) -> Iterator[Told]:
    match facts:
        case PlacementScores():
            for score in facts.scores:
                yield _evidence(facts, score, EvidenceKind.PLACEMENT_SCORE, score=score.score)
        case PoolsHealth():
            for pool in facts.pools:
                yield _evidence(facts, pool, EvidenceKind.HEALTH, healthy=pool.healthy > 0)
        case LaunchRefused():
            yield _evidence(facts, facts, EvidenceKind.CAPACITY_ERROR, source_id=facts.launch)
        case PoolsReleased():
            for name in facts.pools:
                yield _evidence(facts, name, EvidenceKind.RELEASED)


def _found(described: InstancesDescribed) -> Iterator[Told]:
    where: dict[str, Any] = {"account": described.account, "region": described.region, "at_ms": described.at_ms}
    runs: set[tuple[str, str, str]] = set()
    for instance in described.instances:
        facts = InstanceFacts(instance.instance_type, instance.zone, instance.group)
        yield InstanceFound(**where, instance_id=instance.instance_id, facts=facts, purchase=instance.purchase)
        if instance.group is not None and instance.purchase is Purchase.SPOT:
            runs.add((instance.group, instance.instance_type, instance.zone))
    for group, instance_type, zone in sorted(runs):
        yield GroupRuns(**where, group=group, instance_type=instance_type, zone=zone)


def _evidence(facts: Facts, pool: _InPool, kind: EvidenceKind, **known: Any) -> PoolEvidence:
    told: dict[str, Any] = {"at_ms": facts.at_ms, "told_at_ms": facts.at_ms, "source_id": facts.event_id} | known
    return PoolEvidence(Pool(facts.account, facts.region, pool.instance_type, pool.zone), kind, **told)


def _is_failed_launch(activity: GroupActivity) -> bool:
    return activity.kind is ActivityKind.LAUNCH and not activity.successful


def _subject(told: Told) -> str:
    match told:
        case PoolEvidence():
            return pool_subject(told.pool)
        case GroupRuns():
            return _key(SubjectKind.GROUP, told.account, told.region, told.group)
        case GroupActivity() if _is_failed_launch(told):
            return _key(SubjectKind.GROUP, told.account, told.region, told.group)
    return _key(SubjectKind.INSTANCE, told.account, told.instance_id or "")


def _key(kind: SubjectKind, *names: str) -> str:
    # None of the names but a group's can hold the mark between them, and a group's is the last.
    return "|".join((kind, *names))


_COUNTED_ALONE: Final[dict[type[Any], str]] = {
    NotificationTest: "notification_test",
    ScheduledChange: "scheduled_change",
    InstancesDescribed: "instances_described",
    PlacementScores: "placement_scores",
    PoolsHealth: "pools_health",
    LaunchRefused: "launch_refused",
    PoolsReleased: "pools_released",
}
