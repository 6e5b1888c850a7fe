"""Market: when the Spot capacity of a pool is given up for On-Demand, and when it is used again. Pure.

A pool is armed, and its Spot capacity used, until something is told against it. Then it is suspect for the soak. If by
its end health has not come back, nor a good placement score, and the trouble was more than one lone sign, the pool
falls back to On-Demand. Good scores in a row and the end of the cool-down arm it again; a second fall-back within a day
pins it, until a person releases it.

What must feed it, since the events of EC2 name an instance, and neither its type nor its zone:

- Interruptions and rebalance recommendations: those that `jobs.spot.signals` counts, once for each instance, put to
  their pool by `InstanceFacts`, which come from the scan: it describes all managed instances in pages. A sign of an
  instance without facts moves no pool.
- Capacity errors: from the launches of our own actuator, which knows what it asked for; also from launches that Auto
  Scaling reports as failed (`refused_spot_capacity`), in the zone they name and of the type in the facts of the group.
- Placement scores: from the scan, of one Availability Zone each. EC2 gives them by zone id; pools have zone names.
- Health: from the scan. It is lost when none of the Spot Instances of the pool is healthy, and regained when one is.
- Time: a timer at `wake_at_ms`.

All of it in the order of event time: evidence that comes late counts as of the newest change of the pool.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from connectors.ec2.events import ActivityKind, GroupActivity
from connectors.spot_actions import (
    FallBack,
    FallBackEvidence,
    ReturnEvidence,
    ReturnToSpot,
    SpotActionType,
    pool_action_id,
)
from jobs.settings import MarketSettings
from jobs.settings.spot import FULL_PERCENT

# Source: EC2 Auto Scaling User Guide, ts-as-capacity; EC2 API Reference, errors-overview; Amazon EKS User Guide,
# managed-node-groups, which has the last of them as what a group says when Spot capacity is lacking. Other refusals are
# of On-Demand capacity, or of our making.
_NO_SPOT_CAPACITY: Final = (
    "no Spot capacity available",
    "Could not launch Spot Instances. InsufficientInstanceCapacity",
    "Could not launch Spot Instances. UnfulfillableCapacity",
)


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """What a scan knows of an instance, and no event says. `zone` is the name of the Availability Zone."""

    instance_type: str
    zone: str
    group: str | None


@dataclass(frozen=True, slots=True)
class Pool:
    """Spot capacity that comes and goes as one."""

    account: str
    region: str
    instance_type: str
    zone: str


class Market(StrEnum):
    """What a pool's Spot capacity is good for."""

    ARMED = "armed"
    SUSPECT = "suspect"
    FALLBACK = "fallback"
    PINNED = "pinned"


class Sign(StrEnum):
    """Something told about a pool."""

    INTERRUPTION = "interruption"
    CAPACITY_ERROR = "capacity_error"
    REBALANCE = "rebalance"
    HEALTH_LOST = "health_lost"
    HEALTH_REGAINED = "health_regained"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class PlacementScore:
    """How likely EC2 says a launch of Spot capacity is to succeed, 1 to 10."""

    score: int


Evidence = Sign | PlacementScore


@dataclass(frozen=True, slots=True)
class Signs:
    """What was told about a pool since it became suspect."""

    interruptions: int = 0
    capacity_errors: int = 0
    rebalances: int = 0
    unhealthy_since_ms: int | None = None
    placement_score: int | None = None


@dataclass(frozen=True, slots=True)
class PoolState:
    """What is remembered of a pool.

    Attributes:
        market: the state of the market.
        since_ms: when it came to that.
        signs: while suspect, what was told.
        rebalances_ms: while armed, when recommendations came that are not yet enough.
        good_scores: while fallen back, good placement scores in a row.
        good_score_ms: when the last of these was counted.
        fall_backs_ms: when the pool fell back, as far as that still counts.
    """

    market: Market
    since_ms: int
    signs: Signs = Signs()
    rebalances_ms: tuple[int, ...] = ()
    good_scores: int = 0
    good_score_ms: int = 0
    fall_backs_ms: tuple[int, ...] = ()

    @classmethod
    def unknown(cls) -> "PoolState":
        """The state of a pool that nothing was ever told about."""
        return cls(Market.ARMED, since_ms=0)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a pool's market, and why.

    Attributes:
        pool: the pool.
        at_ms: when.
        before: what it was.
        after: what it is now.
        cause: the last evidence; None where it was time that passed.
        signs: all that was told since the pool became suspect.
        action: what follows, if anything does.
    """

    pool: Pool
    at_ms: int
    before: Market
    after: Market
    cause: Evidence | None
    signs: Signs
    action: FallBack | ReturnToSpot | None = None


Step = tuple[PoolState, tuple[Change, ...]]


def pool_of(account: str, region: str, facts: InstanceFacts | None) -> Pool | None:
    """The pool of an instance; None where no scan has found it yet."""
    return None if facts is None else Pool(account, region, facts.instance_type, facts.zone)


def refused_spot_capacity(activity: GroupActivity) -> bool:
    """Whether Auto Scaling reports that EC2 had no Spot capacity for a launch."""
    failed_launch = activity.kind is ActivityKind.LAUNCH and not activity.successful
    return failed_launch and any(words in activity.status_message for words in _NO_SPOT_CAPACITY)


def step(pool: Pool, state: PoolState, evidence: Evidence | None, now_ms: int, settings: MarketSettings) -> Step:
    """The next state of a pool, and the changes on the way: two where time had run out before the evidence came.

    Args:
        pool: The pool.
        state: What is remembered of it.
        evidence: What is told; None where only time has passed.
        now_ms: When that is, in event time. A time before the newest change is taken for the time of the change.
        settings: How much of what it takes.
    """
    now_ms = max(now_ms, state.since_ms)
    state, passed = _pass_time(pool, state, now_ms, settings)
    if evidence is None:
        return state, passed
    state, told = _REACTIONS[state.market](pool, state, evidence, now_ms, settings)
    return state, passed + told


def wake_at_ms(state: PoolState, settings: MarketSettings) -> int | None:
    """When time alone changes the market of a pool; None where it does not."""
    return state.since_ms + settings.soak_ms if state.market is Market.SUSPECT else None


def forget_at_ms(state: PoolState, settings: MarketSettings) -> int | None:
    """The event time from which a state can be dropped without changing any later decision; None if never."""
    if state.market is not Market.ARMED:
        return None
    until_ms = (
        state.since_ms,
        *(at_ms + settings.rebalance_window_ms for at_ms in state.rebalances_ms),
        *(at_ms + settings.pin_window_ms for at_ms in state.fall_backs_ms),
    )
    return max(until_ms)


def _pass_time(pool: Pool, state: PoolState, now_ms: int, settings: MarketSettings) -> Step:
    wake_ms = wake_at_ms(state, settings)
    if wake_ms is None or now_ms < wake_ms:
        return state, ()
    if _trouble_stands(state.signs, settings):
        return _fall_back(pool, state, wake_ms, settings)
    return _change(pool, state, _armed(state, wake_ms), None, state.signs)


def _trouble_stands(signs: Signs, settings: MarketSettings) -> bool:
    if signs.unhealthy_since_ms is not None:
        return True
    strong = signs.interruptions + signs.capacity_errors
    if not strong:
        return False  # recommendations alone: nothing has happened yet
    weighs = strong * FULL_PERCENT + signs.rebalances * settings.rebalance_percent
    score_is_low = signs.placement_score is not None and signs.placement_score < settings.good_score
    return score_is_low or weighs >= settings.fall_back_percent


def _when_armed(pool: Pool, state: PoolState, evidence: Evidence, now_ms: int, settings: MarketSettings) -> Step:
    # A score is about launches to come, and armed is already as good as it gets.
    if isinstance(evidence, PlacementScore) or evidence in (Sign.HEALTH_REGAINED, Sign.RELEASED):
        return state, ()
    begin_ms = now_ms - settings.rebalance_window_ms
    rebalances_ms = tuple(at_ms for at_ms in state.rebalances_ms if at_ms > begin_ms)
    signs = _with(Signs(rebalances=len(rebalances_ms)), evidence, now_ms)
    if evidence is Sign.REBALANCE and signs.rebalances * settings.rebalance_percent < FULL_PERCENT:
        remembered_ms = (*rebalances_ms, now_ms) if settings.rebalance_percent else ()
        return replace(state, rebalances_ms=remembered_ms), ()
    after = PoolState(Market.SUSPECT, now_ms, signs=signs, fall_backs_ms=state.fall_backs_ms)
    return _change(pool, state, after, evidence, signs)


def _when_suspect(pool: Pool, state: PoolState, evidence: Evidence, now_ms: int, settings: MarketSettings) -> Step:
    signs = _with(state.signs, evidence, now_ms)
    good_news = evidence is Sign.HEALTH_REGAINED or _is_good(evidence, settings)
    # A good score is no cure for lost health: there may be capacity, and what is wrong with it still goes on.
    if good_news and signs.unhealthy_since_ms is None:
        return _change(pool, state, _armed(state, now_ms), evidence, signs)
    return replace(state, signs=signs), ()


def _when_fallen_back(pool: Pool, state: PoolState, evidence: Evidence, now_ms: int, settings: MarketSettings) -> Step:
    if not isinstance(evidence, PlacementScore):
        return state, ()
    if not _is_good(evidence, settings):
        return replace(state, good_scores=0), ()
    if not state.good_scores or now_ms - state.good_score_ms >= settings.scores_apart_ms:
        state = replace(state, good_scores=state.good_scores + 1, good_score_ms=now_ms)
    if state.good_scores < settings.good_scores or now_ms - state.since_ms < settings.cool_down_ms:
        return state, ()
    why = ReturnEvidence(
        fell_back_at_ms=state.since_ms,
        good_scores=state.good_scores,
        placement_score=evidence.score,
        by_hand=False,
    )
    action = ReturnToSpot(**_issued(SpotActionType.RETURN_TO_SPOT, pool, now_ms, settings), evidence=why)
    return _change(pool, state, _armed(state, now_ms), evidence, Signs(placement_score=evidence.score), action)


def _when_pinned(pool: Pool, state: PoolState, evidence: Evidence, now_ms: int, settings: MarketSettings) -> Step:
    if evidence is not Sign.RELEASED:
        return state, ()
    why = ReturnEvidence(fell_back_at_ms=state.since_ms, good_scores=0, placement_score=None, by_hand=True)
    action = ReturnToSpot(**_issued(SpotActionType.RETURN_TO_SPOT, pool, now_ms, settings), evidence=why)
    return _change(pool, state, PoolState(Market.ARMED, now_ms), evidence, Signs(), action)


_REACTIONS: Final[dict[Market, Callable[[Pool, PoolState, Evidence, int, MarketSettings], Step]]] = {
    Market.ARMED: _when_armed,
    Market.SUSPECT: _when_suspect,
    Market.FALLBACK: _when_fallen_back,
    Market.PINNED: _when_pinned,
}


def _with(signs: Signs, evidence: Evidence, now_ms: int) -> Signs:
    if isinstance(evidence, PlacementScore):
        return replace(signs, placement_score=evidence.score)
    match evidence:
        case Sign.INTERRUPTION:
            return replace(signs, interruptions=signs.interruptions + 1)
        case Sign.CAPACITY_ERROR:
            return replace(signs, capacity_errors=signs.capacity_errors + 1)
        case Sign.REBALANCE:
            return replace(signs, rebalances=signs.rebalances + 1)
        case Sign.HEALTH_LOST if signs.unhealthy_since_ms is None:
            return replace(signs, unhealthy_since_ms=now_ms)
        case Sign.HEALTH_REGAINED:
            return replace(signs, unhealthy_since_ms=None)
    return signs


def _is_good(evidence: Evidence, settings: MarketSettings) -> bool:
    return isinstance(evidence, PlacementScore) and evidence.score >= settings.good_score


def _armed(state: PoolState, at_ms: int) -> PoolState:
    return PoolState(Market.ARMED, at_ms, fall_backs_ms=state.fall_backs_ms)


def _fall_back(pool: Pool, state: PoolState, at_ms: int, settings: MarketSettings) -> Step:
    begin_ms = at_ms - settings.pin_window_ms
    fall_backs_ms = (*(each_ms for each_ms in state.fall_backs_ms if each_ms > begin_ms), at_ms)
    pinned = len(fall_backs_ms) >= settings.pin_after
    after = PoolState(Market.PINNED if pinned else Market.FALLBACK, at_ms, fall_backs_ms=fall_backs_ms)
    signs = state.signs
    why = FallBackEvidence(
        suspect_since_ms=state.since_ms,
        interruptions=signs.interruptions,
        capacity_errors=signs.capacity_errors,
        rebalances=signs.rebalances,
        unhealthy_since_ms=signs.unhealthy_since_ms,
        placement_score=signs.placement_score,
        fall_backs=len(fall_backs_ms),
        pinned=pinned,
    )
    action = FallBack(**_issued(SpotActionType.FALL_BACK, pool, at_ms, settings), evidence=why)
    return _change(pool, state, after, None, signs, action)


def _issued(action_type: SpotActionType, pool: Pool, at_ms: int, settings: MarketSettings) -> dict[str, Any]:
    about = {
        "account": pool.account,
        "region": pool.region,
        "instance_type": pool.instance_type,
        "zone": pool.zone,
    }
    return {
        "action_id": pool_action_id(action_type, **about, issued_at_ms=at_ms),
        "issued_at_ms": at_ms,
        "not_after_ms": at_ms + settings.action_valid_ms,
        **about,
    }


def _change(
    pool: Pool,
    before: PoolState,
    after: PoolState,
    cause: Evidence | None,
    signs: Signs,
    action: FallBack | ReturnToSpot | None = None,
) -> Step:
    return after, (Change(pool, after.since_ms, before.market, after.market, cause, signs, action),)
