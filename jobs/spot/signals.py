"""Signals: when an instance is to be replaced, from what was told of it so far. Pure.

EC2 tells of one interruption by several events: perhaps a rebalance recommendation, a warning, two changes of state.
Each of them may come twice, in any order, or never. An interruption is acted on once, as soon as it is certain:

- A warning is certain.
- The end of a Spot Instance without a warning is the backstop, and its action is marked unannounced.
- A rebalance recommendation orders nothing. It is evidence for the market, and tells that an instance is Spot.

What an end means, its event does not say. On-Demand Instances end when someone, or a scale-in, ends them: an instance
that is not known to be Spot is left alone, until something tells that it is. A Spot Instance ends so too. Where Auto
Scaling tells that it was taking the instance out before it ended, that is no interruption, and Auto Scaling fills the
group itself. It often tells too late, or does not tell, and a user's TerminateInstances is told by nobody. So an
unannounced action is a question: the actuator asks EC2 for the reason (an interruption has the code
Server.SpotInstanceTermination) and the group for its desired capacity. For the same cause unannounced ends do not count
against the market: an evening's scale-in is no drought.

A Spot Instance that is stopped or hibernated by an interruption can come back, and be interrupted again. It begins a
new life with the first start that is told after the warning, and what is told of earlier times changes nothing. Where
that start is never told, or after the next warning, both interruptions are taken for one. A stop without warning is not
acted on, for users stop instances too.
"""

from dataclasses import dataclass, replace
from typing import Final, TypeVar

from connectors.ec2.events import (
    ActivityKind,
    Event,
    GroupActivity,
    InstanceAction,
    InstanceState,
    InterruptionWarning,
    LifecycleAction,
    LifecycleTransition,
    NotificationTest,
    Place,
    RebalanceRecommendation,
    ScheduledChange,
    SpotRequestFulfillment,
    StateChange,
)
from connectors.spot_actions import ENDED_STATES, ReplaceEvidence, ReplaceInstance, replace_action_id
from jobs.settings import SignalSettings
from jobs.spot.market import Sign

_STARTED_STATES: Final = frozenset({InstanceState.PENDING, InstanceState.RUNNING})
_ACTIONS_THAT_KEEP: Final = frozenset({InstanceAction.STOP, InstanceAction.HIBERNATE})


@dataclass(frozen=True, slots=True)
class SpotInstanceFound:
    """A scan found the instance, and that it is a Spot Instance: for those that are older than the job."""

    account: str
    region: str
    at_ms: int
    instance_id: str


InstanceEvent = (
    InterruptionWarning
    | RebalanceRecommendation
    | StateChange
    | SpotRequestFulfillment
    | GroupActivity
    | LifecycleAction
    | SpotInstanceFound
)


@dataclass(frozen=True, slots=True)
class InstanceHistory:
    """What is remembered of one instance of one account.

    Attributes:
        is_spot: whether something told that it is a Spot Instance.
        restarted_at_ms: when it came back from an interruption; only what is later is remembered.
        warning: the earliest warning.
        rebalanced_at_ms: the earliest rebalance recommendation.
        end: the earliest change to shutting-down or terminated.
        group_ended_at_ms: the earliest time Auto Scaling told that it was taking the instance out.
        acted: whether a replacement was asked for.
        last_heard_ms: the latest time of any event.
    """

    is_spot: bool = False
    restarted_at_ms: int | None = None
    warning: InterruptionWarning | None = None
    rebalanced_at_ms: int | None = None
    end: StateChange | None = None
    group_ended_at_ms: int | None = None
    acted: bool = False
    last_heard_ms: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What follows from one event: an action, and a sign that counts for the market. Mostly neither."""

    action: ReplaceInstance | None = None
    sign: Sign | None = None


_Told = TypeVar("_Told", InterruptionWarning, StateChange)


def instance_event(event: Event) -> InstanceEvent | None:
    """The event, where it is about one instance.

    A scheduled change is days ahead, and no interruption: it is for those who plan. A launch that failed before there
    was an instance is for the market.
    """
    if isinstance(event, NotificationTest | ScheduledChange):
        return None
    return None if event.instance_id is None else event


def hear(history: InstanceHistory, event: InstanceEvent, settings: SignalSettings) -> tuple[InstanceHistory, Heard]:
    """What is remembered of an instance after an event about it, and what follows."""
    after = _remember(history, event)
    action = None if after.acted else _action(after, settings)
    return replace(after, acted=after.acted or action is not None), Heard(action, _sign(history, after))


def forget_at_ms(history: InstanceHistory, settings: SignalSettings) -> int:
    """The event time from which a history can be dropped.

    An event that comes later still can at most repeat an action, under the same id and long void.
    """
    is_ending = history.warning is not None and history.warning.instance_action is InstanceAction.TERMINATE
    may_run = history.is_spot and history.end is None and not is_ending
    return history.last_heard_ms + (settings.remember_spot_ms if may_run else settings.remember_ms)


def _remember(history: InstanceHistory, event: InstanceEvent) -> InstanceHistory:
    history = replace(
        history,
        is_spot=history.is_spot or _tells_spot(event),
        last_heard_ms=max(history.last_heard_ms, event.at_ms),
    )
    if history.restarted_at_ms is not None and event.at_ms < history.restarted_at_ms:
        return history
    match event:
        case InterruptionWarning():
            return replace(history, warning=_earlier(history.warning, event))
        case RebalanceRecommendation():
            return replace(history, rebalanced_at_ms=_earliest_ms(history.rebalanced_at_ms, event.at_ms))
        case StateChange():
            return _remember_state(history, event)
        case GroupActivity() | LifecycleAction() if (ended_at_ms := _group_ended_at_ms(event)) is not None:
            return replace(history, group_ended_at_ms=_earliest_ms(history.group_ended_at_ms, ended_at_ms))
    return history


def _tells_spot(event: InstanceEvent) -> bool:
    return isinstance(event, InterruptionWarning | RebalanceRecommendation | SpotRequestFulfillment | SpotInstanceFound)


def _remember_state(history: InstanceHistory, event: StateChange) -> InstanceHistory:
    if event.state in ENDED_STATES:
        return replace(history, end=_earlier(history.end, event))
    if event.state in _STARTED_STATES and _came_back(history, event.at_ms):
        return InstanceHistory(is_spot=True, restarted_at_ms=event.at_ms, last_heard_ms=history.last_heard_ms)
    return history


def _came_back(history: InstanceHistory, at_ms: int) -> bool:
    warning = history.warning
    if warning is None or history.end is not None:
        return False
    return warning.instance_action in _ACTIONS_THAT_KEEP and warning.at_ms < at_ms


def _group_ended_at_ms(event: GroupActivity | LifecycleAction) -> int | None:
    if event.destination is Place.WARM_POOL:
        return None
    if isinstance(event, LifecycleAction):
        return event.at_ms if event.transition is LifecycleTransition.TERMINATING else None
    if event.kind is not ActivityKind.TERMINATE or not event.successful:
        return None
    return event.at_ms if event.started_at_ms is None else event.started_at_ms


def _earlier(one: _Told | None, other: _Told) -> _Told:
    return other if one is None or other.at_ms < one.at_ms else one


def _earliest_ms(one_ms: int | None, other_ms: int) -> int:
    return other_ms if one_ms is None else min(one_ms, other_ms)


def _sign(before: InstanceHistory, after: InstanceHistory) -> Sign | None:
    if before.warning is None and after.warning is not None:
        return Sign.INTERRUPTION
    if before.rebalanced_at_ms is None and after.rebalanced_at_ms is not None:
        return Sign.REBALANCE
    return None


def _action(history: InstanceHistory, settings: SignalSettings) -> ReplaceInstance | None:
    if history.warning is not None:
        return _replacement(history, history.warning, settings)
    if history.is_spot and history.end is not None and not _ended_by_group(history, history.end):
        return _replacement(history, history.end, settings)
    return None


def _ended_by_group(history: InstanceHistory, end: StateChange) -> bool:
    return history.group_ended_at_ms is not None and history.group_ended_at_ms <= end.at_ms


def _replacement(
    history: InstanceHistory, decisive: InterruptionWarning | StateChange, settings: SignalSettings
) -> ReplaceInstance:
    warning, end = history.warning, history.end
    return ReplaceInstance(
        action_id=replace_action_id(
            account=decisive.account,
            region=decisive.region,
            instance_id=decisive.instance_id,
            restarted_at_ms=history.restarted_at_ms,
        ),
        issued_at_ms=decisive.at_ms,
        not_after_ms=decisive.at_ms + settings.action_valid_ms,
        account=decisive.account,
        region=decisive.region,
        instance_id=decisive.instance_id,
        evidence=ReplaceEvidence(
            announced=warning is not None,
            event_id=decisive.event_id,
            instance_action=None if warning is None else warning.instance_action,
            warned_at_ms=None if warning is None else warning.at_ms,
            rebalanced_at_ms=history.rebalanced_at_ms,
            state=None if end is None else end.state,
            state_at_ms=None if end is None else end.at_ms,
        ),
    )
