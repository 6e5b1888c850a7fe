"""Groups: which pools a launch of an Auto Scaling group was refused by. Pure.

Auto Scaling tells the zone of a launch that failed, and not the instance type. Where it says that there was no Spot
capacity, there was none of any type that the group launches on Spot in that zone; these are the types that scans found
running there for the group. A refusal that comes before any scan waits for it.
"""

from dataclasses import dataclass, replace

from connectors.ec2.events import GroupActivity
from jobs.settings.durations import DAY_MS
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.market import Pool, refused_spot_capacity

_REMEMBERED_MS = 2 * DAY_MS
_MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class GroupRuns:
    """A scan found that a group runs Spot Instances of a type in a zone."""

    account: str
    region: str
    at_ms: int
    group: str
    instance_type: str
    zone: str


@dataclass(frozen=True, slots=True)
class TypeInZone:
    """A type that a group ran on Spot in a zone, and when that was last seen."""

    instance_type: str
    zone: str
    seen_at_ms: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A launch that was refused in a zone."""

    zone: str
    at_ms: int
    event_id: str


@dataclass(frozen=True, slots=True)
class GroupMemory:
    """What is remembered of a group: what it runs, and refusals in zones of which nothing is known yet."""

    runs: tuple[TypeInZone, ...] = ()
    waiting: tuple[Refusal, ...] = ()
    heard_at_ms: int = 0


def follow_group(memory: GroupMemory, told: GroupActivity | GroupRuns) -> tuple[GroupMemory, tuple[PoolEvidence, ...]]:
    """What is remembered of a group after something told about it, and what its pools are told."""
    memory = replace(
        memory,
        heard_at_ms=max(memory.heard_at_ms, told.at_ms),
        runs=tuple(each for each in memory.runs if each.seen_at_ms > told.at_ms - _REMEMBERED_MS),
    )
    if isinstance(told, GroupRuns):
        return _runs(memory, told)
    if told.zone is None or not refused_spot_capacity(told):
        return memory, ()
    refusal = Refusal(told.zone, told.at_ms, told.event_id)
    types = sorted({each.instance_type for each in memory.runs if each.zone == told.zone})
    if not types:
        return replace(memory, waiting=(*memory.waiting, refusal)[-_MOST_WAITING:]), ()
    pools = [Pool(told.account, told.region, instance_type, told.zone) for instance_type in types]
    return memory, tuple(_evidence(pool, told.group, refusal, told.at_ms) for pool in pools)


def forget_group_at_ms(memory: GroupMemory) -> int:
    """The event time from which a memory can be dropped."""
    return memory.heard_at_ms + _REMEMBERED_MS


def _runs(memory: GroupMemory, told: GroupRuns) -> tuple[GroupMemory, tuple[PoolEvidence, ...]]:
    others = tuple(each for each in memory.runs if (each.instance_type, each.zone) != (told.instance_type, told.zone))
    pool = Pool(told.account, told.region, told.instance_type, told.zone)
    heard = [refusal for refusal in memory.waiting if refusal.zone == told.zone]
    evidence = (_evidence(pool, told.group, refusal, max(refusal.at_ms, told.at_ms)) for refusal in heard)
    memory = replace(
        memory,
        runs=(*others, TypeInZone(told.instance_type, told.zone, told.at_ms)),
        waiting=tuple(refusal for refusal in memory.waiting if refusal.zone != told.zone),
    )
    return memory, tuple(evidence)


def _evidence(pool: Pool, group: str, refusal: Refusal, at_ms: int) -> PoolEvidence:
    return PoolEvidence(pool, EvidenceKind.CAPACITY_ERROR, at_ms, refusal.at_ms, refusal.event_id, group=group)
