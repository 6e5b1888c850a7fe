"""Instances: what is remembered of one, its signals put to the pool that it runs in. Pure.

A warning is acted on at once. Its pool may be known then, or later, when a scan tells where the instance runs; until
then its signs wait, and they count from the time at which the pool is known.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from connectors.ec2.events import InterruptionWarning, RebalanceRecommendation
from connectors.spot_actions import ReplaceInstance
from connectors.spot_facts import Purchase
from jobs.settings import SignalSettings
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.market import InstanceFacts, Pool, Sign, pool_of
from jobs.spot.signals import (
    InstanceEvent,
    InstanceHistory,
    SpotInstanceFound,
    forget_at_ms,
    hear,
)

_KINDS: Final = {Sign.INTERRUPTION: EvidenceKind.INTERRUPTION, Sign.REBALANCE: EvidenceKind.REBALANCE}


@dataclass(frozen=True, slots=True)
class InstanceFound:
    """A scan found the instance running."""

    account: str
    region: str
    at_ms: int
    instance_id: str
    facts: InstanceFacts
    purchase: Purchase


@dataclass(frozen=True, slots=True)
class WaitingSign:
    """A sign of an instance whose pool is not known yet."""

    kind: EvidenceKind
    at_ms: int
    source_id: str


@dataclass(frozen=True, slots=True)
class InstanceMemory:
    """What is remembered of one instance of one account.

    Attributes:
        facts: where it runs; None until a scan has found it.
        found_at_ms: the newest time that a scan found it.
        waiting: its signs that no pool has heard of.
    """

    history: InstanceHistory = field(default_factory=InstanceHistory)
    facts: InstanceFacts | None = None
    found_at_ms: int = 0
    waiting: tuple[WaitingSign, ...] = ()


@dataclass(frozen=True, slots=True)
class Followed:
    """What follows from something told about an instance."""

    action: ReplaceInstance | None = None
    evidence: tuple[PoolEvidence, ...] = ()


def follow(
    memory: InstanceMemory, told: InstanceEvent | InstanceFound, settings: SignalSettings
) -> tuple[InstanceMemory, Followed]:
    """What is remembered of an instance after something told about it, and what follows."""
    if isinstance(told, InstanceFound):
        return _found(memory, told, settings)
    history, heard = hear(memory.history, told, settings)
    memory = replace(memory, history=history)
    if heard.sign is None or not isinstance(told, InterruptionWarning | RebalanceRecommendation):
        return memory, Followed(heard.action)
    sign = WaitingSign(_KINDS[heard.sign], told.at_ms, told.event_id)
    pool = pool_of(told.account, told.region, memory.facts)
    if pool is None:
        return replace(memory, waiting=(*memory.waiting, sign)), Followed(heard.action)
    return memory, Followed(heard.action, (_evidence(pool, told.instance_id, sign, told.at_ms),))


def _found(memory: InstanceMemory, found: InstanceFound, settings: SignalSettings) -> tuple[InstanceMemory, Followed]:
    action = None
    if found.purchase is Purchase.SPOT:
        spot = SpotInstanceFound(found.account, found.region, found.at_ms, found.instance_id)
        history, heard = hear(memory.history, spot, settings)
        memory, action = replace(memory, history=history), heard.action
    if found.at_ms >= memory.found_at_ms:
        memory = replace(memory, facts=found.facts, found_at_ms=found.at_ms)
    pool = Pool(found.account, found.region, found.facts.instance_type, found.facts.zone)
    evidence = (_evidence(pool, found.instance_id, sign, max(sign.at_ms, found.at_ms)) for sign in memory.waiting)
    return replace(memory, waiting=()), Followed(action, tuple(evidence))


def _evidence(pool: Pool, instance_id: str, sign: WaitingSign, at_ms: int) -> PoolEvidence:
    return PoolEvidence(pool, sign.kind, at_ms, sign.at_ms, sign.source_id, instance_id=instance_id)


def forget_instance_at_ms(memory: InstanceMemory, settings: SignalSettings) -> int:
    """The event time from which a memory can be dropped."""
    return max(forget_at_ms(memory.history, settings), memory.found_at_ms + settings.remember_ms)
