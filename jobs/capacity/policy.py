"""Policy: when a partition key is suspended, for how long, and when that is extended.

Pure: state and one window's total in, state and a decision out. A suspension is a lease that ends by itself,
so a dead job or a dead actuator releases everyone.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from connectors.actions import Evidence, SuspendAction, suspend_action_id
from jobs.capacity.limits import Limit
from jobs.settings import LeaseSettings, WindowSettings

DELIVERY_ALLOWANCE_MS = 1_500
"""How long a decision may take from the watermark that allows it to the entry in the cache.

A decision of a step is made once `out_of_orderness_ms` have passed after the step, and then goes through a queue and an
actuator, which by the aim of the whole loop takes this long at most.
"""


class Level(StrEnum):
    """How near a total is to its limit."""

    WARN = "warn"
    OVER = "over"


class DecisionKind(StrEnum):
    """What a decision did to the lease."""

    SUSPENDED = "suspended"
    EXTENDED = "extended"


@dataclass(frozen=True, slots=True)
class WindowTotal:
    """What one partition key consumed from the start of a window to one of its step ends, which is exclusive.

    `writes` counts the changes that consumed capacity.
    """

    table: str
    partition_key: str
    partition_key_type: str
    window_start_ms: int
    step_end_ms: int
    consumed_wcu: int
    writes: int


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What is remembered of one partition key between evaluations.

    `level_index` is the place of the last lease in the configured steps, -1 before the first offence. A lease
    runs to `lease_end_ms`, exclusive.
    """

    level_index: int
    lease_end_ms: int
    last_over_ms: int
    decision_seq: int

    @classmethod
    def calm(cls) -> "LeaseState":
        """The state of a key that was never over its limit."""
        return cls(level_index=-1, lease_end_ms=0, last_over_ms=0, decision_seq=0)


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one window total; `kind` and `action` are there together or not at all."""

    level: Level | None
    kind: DecisionKind | None = None
    action: SuspendAction | None = None


def level(total: WindowTotal, limit: Limit) -> Level | None:
    """How near a total is to its limit; None when it is not near, or the key is exempt."""
    if limit.wcu is None or limit.warn_wcu is None:
        return None
    if total.consumed_wcu >= limit.wcu:
        return Level.OVER
    return Level.WARN if total.consumed_wcu >= limit.warn_wcu else None


def decide(
    state: LeaseState, total: WindowTotal, limit: Limit, lease: LeaseSettings, window: WindowSettings
) -> tuple[LeaseState, Decision]:
    """The next state of a key, and what to do about its newest total.

    The totals of one key come in the order of `step_end_ms`. Those below the limit may be left out.
    """
    reached = level(total, limit)
    if limit.wcu is None or reached is not Level.OVER:
        return state, Decision(reached)
    decided, kind = lease_when_over(state, total.step_end_ms, lease, window)
    if kind is None:
        return decided, Decision(reached)
    lease_ms = decided.lease_end_ms - total.step_end_ms
    evidence = Evidence(
        window_start_ms=total.window_start_ms,
        window_end_ms=total.window_start_ms + window.size_ms,
        consumed_wcu=total.consumed_wcu,
        writes=total.writes,
        limit_wcu=limit.wcu,
        rule=limit.rule,
    )
    return decided, Decision(reached, kind, _suspend(total, decided.decision_seq, lease_ms, evidence))


def lease_when_over(
    state: LeaseState, step_end_ms: int, lease: LeaseSettings, window: WindowSettings
) -> tuple[LeaseState, DecisionKind | None]:
    """The next state of a key that is over its limit at a step end, and what that does to its lease."""
    if step_end_ms >= state.lease_end_ms:
        kind, level_index = DecisionKind.SUSPENDED, _offence_level(state, step_end_ms, lease)
    elif _must_extend(state, step_end_ms, lease, window):
        kind, level_index = DecisionKind.EXTENDED, _lease_level(state.level_index, lease)
    else:
        return replace(state, last_over_ms=step_end_ms), None
    lease_end_ms = step_end_ms + lease.steps_ms[level_index]
    return LeaseState(level_index, lease_end_ms, step_end_ms, state.decision_seq + 1), kind


def forget_at_ms(state: LeaseState, lease: LeaseSettings) -> int:
    """The event time from which a state can be dropped without changing any later decision.

    Only `decision_seq` begins again at 1. That is safe: the lease, and with it the entry in the cache that
    carries the older number, has ended by then.
    """
    return max(state.lease_end_ms, state.last_over_ms) + lease.decay_ms


def _offence_level(state: LeaseState, step_end_ms: int, lease: LeaseSettings) -> int:
    forgiven = step_end_ms >= forget_at_ms(state, lease)
    return 0 if forgiven else _lease_level(state.level_index + 1, lease)


def _lease_level(level_index: int, lease: LeaseSettings) -> int:
    # The last lease repeats. A state may also have been restored under settings with fewer of them.
    return min(level_index, len(lease.steps_ms) - 1)


def _must_extend(state: LeaseState, step_end_ms: int, lease: LeaseSettings, window: WindowSettings) -> bool:
    # What the next step decides is in the cache so much later; until then nobody else would hold the entry.
    next_in_cache_ms = step_end_ms + window.step_ms + window.out_of_orderness_ms + DELIVERY_ALLOWANCE_MS
    # Always so, but for a state restored under settings with shorter leases: what was given is not cut.
    lengthens = state.lease_end_ms < step_end_ms + lease.steps_ms[_lease_level(state.level_index, lease)]
    return state.lease_end_ms <= next_in_cache_ms and lengthens


def _suspend(total: WindowTotal, decision_seq: int, lease_ms: int, evidence: Evidence) -> SuspendAction:
    return SuspendAction(
        action_id=suspend_action_id(
            table=total.table,
            partition_key=total.partition_key,
            partition_key_type=total.partition_key_type,
            window_start_ms=total.window_start_ms,
            issued_at_ms=total.step_end_ms,
            lease_ms=lease_ms,
        ),
        decision_seq=decision_seq,
        issued_at_ms=total.step_end_ms,
        not_after_ms=total.step_end_ms + lease_ms,
        table=total.table,
        partition_key=total.partition_key,
        partition_key_type=total.partition_key_type,
        lease_ms=lease_ms,
        evidence=evidence,
    )
