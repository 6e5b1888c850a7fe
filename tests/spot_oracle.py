"""A second opinion on the signals: all events of a batch at once, sorted, and one look at each life of an instance."""

from collections import defaultdict
from collections.abc import Iterable

from connectors.ec2.events import (
    InstanceAction,
    InstanceState,
    InterruptionWarning,
    LifecycleAction,
    LifecycleTransition,
    RebalanceRecommendation,
    SpotRequestFulfillment,
    StateChange,
)

OracleEvent = InterruptionWarning | RebalanceRecommendation | StateChange | SpotRequestFulfillment | LifecycleAction


def interruptions(events: Iterable[OracleEvent]) -> dict[str, int]:
    """How many interruptions each instance had, those without any left out."""
    by_instance: dict[str, list[OracleEvent]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.at_ms):
        by_instance[event.instance_id].append(event)
    counted = {instance_id: _count(told) for instance_id, told in by_instance.items()}
    return {instance_id: count for instance_id, count in counted.items() if count}


def _count(told: list[OracleEvent]) -> int:
    is_spot = any(not isinstance(event, StateChange | LifecycleAction) for event in told)
    return sum(_was_interrupted(life, is_spot=is_spot) for life in _lives(told))


def _lives(told: list[OracleEvent]) -> list[list[OracleEvent]]:
    lives: list[list[OracleEvent]] = [[]]
    for event in told:
        if isinstance(event, StateChange) and event.state in ("pending", "running") and _may_return(lives[-1]):
            lives.append([])
        lives[-1].append(event)
    return lives


def _may_return(life: list[OracleEvent]) -> bool:
    warnings = [event for event in life if isinstance(event, InterruptionWarning)]
    return bool(warnings) and warnings[0].instance_action is not InstanceAction.TERMINATE and not _ends(life)


def _was_interrupted(life: list[OracleEvent], *, is_spot: bool) -> bool:
    if any(isinstance(event, InterruptionWarning) for event in life):
        return True
    ends = _ends(life)
    taken_out = [
        event.at_ms
        for event in life
        if isinstance(event, LifecycleAction) and event.transition is LifecycleTransition.TERMINATING
    ]
    return is_spot and bool(ends) and not (taken_out and taken_out[0] <= ends[0])


def _ends(life: list[OracleEvent]) -> list[int]:
    gone = (InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED)
    return [event.at_ms for event in life if isinstance(event, StateChange) and event.state in gone]
