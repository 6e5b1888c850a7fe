"""Evidence about a Spot pool, with where it comes from, on its way to the market of the pool. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from jobs.spot.market import Evidence, PlacementScore, Pool, Sign


class EvidenceKind(StrEnum):
    """What was told about a pool."""

    INTERRUPTION = "interruption"
    CAPACITY_ERROR = "capacity_error"
    REBALANCE = "rebalance"
    HEALTH = "health"
    PLACEMENT_SCORE = "placement_score"
    RELEASED = "released"


# At the same time, what is bad counts before what is good, so that the order is the same in every run.
_RANKS: Final = {
    EvidenceKind.CAPACITY_ERROR: 0,
    EvidenceKind.INTERRUPTION: 1,
    EvidenceKind.REBALANCE: 2,
    EvidenceKind.HEALTH: 3,
    EvidenceKind.PLACEMENT_SCORE: 4,
    EvidenceKind.RELEASED: 5,
}


@dataclass(frozen=True, slots=True)
class PoolEvidence:
    """One thing told about a pool.

    Attributes:
        at_ms: when it counts: when it happened, or later when only then the pool of the instance became known.
        told_at_ms: when it happened.
        source_id: what it is known by, the same however often it is told: of an event its id, of a launch its token.
        instance_id: the instance that it is about, where it is about one.
        group: the Auto Scaling group whose launch was refused.
        score: the placement score.
        healthy: whether any Spot Instance of the pool is healthy.
    """

    pool: Pool
    kind: EvidenceKind
    at_ms: int
    told_at_ms: int
    source_id: str
    instance_id: str | None = None
    group: str | None = None
    score: int | None = None
    healthy: bool | None = None

    @property
    def order(self) -> tuple[int, int, str, str]:
        """By which evidence that counts at the same time is taken up."""
        return self.told_at_ms, _RANKS[self.kind], self.source_id, self.instance_id or ""

    def line(self) -> dict[str, Any]:
        """How it is told in `pools.jsonl`: what it is, and all that is known of where it comes from."""
        about = {"instance_id": self.instance_id, "group": self.group, "score": self.score, "healthy": self.healthy}
        known = {name: value for name, value in about.items() if value is not None}
        return {"kind": self.kind.value, "at_ms": self.told_at_ms, "source_id": self.source_id} | known


_SIGNS: Final = {
    EvidenceKind.INTERRUPTION: Sign.INTERRUPTION,
    EvidenceKind.CAPACITY_ERROR: Sign.CAPACITY_ERROR,
    EvidenceKind.REBALANCE: Sign.REBALANCE,
    EvidenceKind.RELEASED: Sign.RELEASED,
}


def evidence_of(told: PoolEvidence, was_healthy: bool) -> Evidence | None:
    """What it is to the market of its pool; None where it says only that all is well as before.

    A scan tells each time whether a pool is healthy. To the market it is news when that is so no more, or is so again.
    """
    if told.score is not None:
        return PlacementScore(told.score)
    if told.kind is not EvidenceKind.HEALTH:
        return _SIGNS[told.kind]
    if not told.healthy:
        return Sign.HEALTH_LOST
    return None if was_healthy else Sign.HEALTH_REGAINED
