"""Pools: what is remembered of one beside its market state, and the lines that tell of its changes. Pure."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from jobs.settings import MarketSettings
from jobs.settings.durations import DAY_MS
from jobs.spot.evidence import EvidenceKind, PoolEvidence, evidence_of
from jobs.spot.market import Change, Market, Pool, PoolState, forget_at_ms, step

_MOST_HEARD: Final = 50

REMEMBER_TOLD_MS: Final = 2 * DAY_MS
"""How long a pool knows what it was told, so that nothing counts twice. EventBridge tries for a day to deliver."""


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """What is remembered of a pool.

    Attributes:
        state: its market.
        healthy: whether any of its Spot Instances was healthy when a scan last looked.
        heard: the evidence since it was last armed, the newest of it.
    """

    state: PoolState = field(default_factory=PoolState.unknown)
    healthy: bool = True
    heard: tuple[PoolEvidence, ...] = ()


@dataclass(frozen=True, slots=True)
class PoolChange:
    """A change of a pool's market, and the evidence for it."""

    change: Change
    cause: PoolEvidence | None
    heard: tuple[PoolEvidence, ...]

    def line(self) -> dict[str, Any]:
        """The fields of a line in `pools.jsonl`."""
        change = self.change
        return {
            **asdict(change.pool),
            "at_ms": change.at_ms,
            "before": change.before.value,
            "after": change.after.value,
            "cause": None if self.cause is None else self.cause.line(),
            "signs": asdict(change.signs),
            "evidence": [each.line() for each in self.heard],
            "action_id": None if change.action is None else change.action.action_id,
        }


def weigh(
    pool: Pool, memory: PoolMemory, told: PoolEvidence, settings: MarketSettings
) -> tuple[PoolMemory, tuple[PoolChange, ...]]:
    """What is remembered of a pool after evidence, and the changes of its market that follow."""
    evidence = evidence_of(told, memory.healthy)
    healthy = memory.healthy if told.healthy is None else told.healthy
    if evidence is None:
        return replace(memory, healthy=healthy), ()
    memory, passed = let_time_pass(pool, memory, told.at_ms, settings)
    heard = (*_standing(memory, told.at_ms, settings), told)[-_MOST_HEARD:]
    state, changes = step(pool, memory.state, evidence, told.at_ms, settings)
    told_of = tuple(PoolChange(change, told, heard) for change in changes)
    return PoolMemory(state, healthy, _kept(state, heard, told_of)), passed + told_of


def let_time_pass(
    pool: Pool, memory: PoolMemory, now_ms: int, settings: MarketSettings
) -> tuple[PoolMemory, tuple[PoolChange, ...]]:
    """What is remembered of a pool when only time has passed, and the changes of its market that follow."""
    state, changes = step(pool, memory.state, None, now_ms, settings)
    told_of = tuple(PoolChange(change, None, memory.heard) for change in changes)
    return replace(memory, state=state, heard=_kept(state, memory.heard, told_of)), told_of


def forget_pool_at_ms(memory: PoolMemory, settings: MarketSettings) -> int | None:
    """The event time from which a memory can be dropped; None if never."""
    if not memory.healthy:
        return None  # that it is healthy again would be no news
    return forget_at_ms(memory.state, settings)


def _standing(memory: PoolMemory, now_ms: int, settings: MarketSettings) -> tuple[PoolEvidence, ...]:
    if memory.state.market is not Market.ARMED:
        return memory.heard
    # While a pool is armed only recommendations add up, and only for a while.
    begin_ms = now_ms - settings.rebalance_window_ms
    return tuple(each for each in memory.heard if each.kind is EvidenceKind.REBALANCE and each.at_ms > begin_ms)


def _kept(
    state: PoolState, heard: tuple[PoolEvidence, ...], changes: tuple[PoolChange, ...]
) -> tuple[PoolEvidence, ...]:
    return () if changes and state.market is Market.ARMED else heard
