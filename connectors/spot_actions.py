"""Spot actions: what the spot job asks the actuators to do, and why. Pure.

`issued_at_ms` is event time, so a replay asks for the same as the live run; after `not_after_ms` an action is void.

An action proves nothing: the job sees the instances of the whole account and cannot see tags, so an actuator asks
whether the instance is managed, and what is still true of it, before it touches anything.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from connectors.ec2.events import InstanceAction, InstanceState

ENDED_STATES: Final = frozenset({InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED})
"""The states from which no instance returns."""

HIGHEST_PLACEMENT_SCORE: Final = 10
"""Source: EC2 API Reference, SpotPlacementScore; the lowest is 1."""


class SpotActionType(StrEnum):
    """What an actuator is asked to do."""

    REPLACE_INSTANCE = "replace_instance"
    FALL_BACK = "fall_back"
    RETURN_TO_SPOT = "return_to_spot"


@dataclass(frozen=True, slots=True)
class ReplaceEvidence:
    """What was told of the instance when the decision was made.

    Attributes:
        announced: whether there was a warning; without one the instance has already ended.
        event_id: the event that decided.
        instance_action: what the interruption does; None if unannounced.
        warned_at_ms: the time of the warning; None if unannounced.
        rebalanced_at_ms: the time of the first rebalance recommendation, if one was heard.
        state: shutting-down or terminated, if that was heard.
        state_at_ms: when it came to that state.
    """

    announced: bool
    event_id: str
    instance_action: InstanceAction | None
    warned_at_ms: int | None
    rebalanced_at_ms: int | None
    state: InstanceState | None
    state_at_ms: int | None


@dataclass(frozen=True, slots=True)
class ReplaceInstance:
    """Bring up a replacement for a Spot Instance that is interrupted."""

    action_id: str
    issued_at_ms: int
    not_after_ms: int
    account: str
    region: str
    instance_id: str
    evidence: ReplaceEvidence


@dataclass(frozen=True, slots=True)
class FallBackEvidence:
    """What was told of the pool while it was suspect.

    Attributes:
        suspect_since_ms: when it became suspect.
        interruptions: instances that were interrupted.
        capacity_errors: launches refused for want of Spot capacity.
        rebalances: instances with a rebalance recommendation.
        unhealthy_since_ms: when health was lost; None where it was not, or was regained.
        placement_score: the newest Spot placement score, 1 to 10, if there was one.
        fall_backs: fall-backs of late, this one included.
        pinned: whether these are so many that only a person lets the pool return.
    """

    suspect_since_ms: int
    interruptions: int
    capacity_errors: int
    rebalances: int
    unhealthy_since_ms: int | None
    placement_score: int | None
    fall_backs: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class FallBack:
    """Run on On-Demand what runs on the Spot capacity of a pool."""

    action_id: str
    issued_at_ms: int
    not_after_ms: int
    account: str
    region: str
    instance_type: str
    zone: str
    evidence: FallBackEvidence


@dataclass(frozen=True, slots=True)
class ReturnEvidence:
    """Why a pool may be used again.

    Attributes:
        fell_back_at_ms: when it was given up.
        good_scores: good placement scores in a row, far enough apart.
        placement_score: the last of them; None if a person decided.
        by_hand: whether a person decided.
    """

    fell_back_at_ms: int
    good_scores: int
    placement_score: int | None
    by_hand: bool


@dataclass(frozen=True, slots=True)
class ReturnToSpot:
    """Use the Spot capacity of a pool again."""

    action_id: str
    issued_at_ms: int
    not_after_ms: int
    account: str
    region: str
    instance_type: str
    zone: str
    evidence: ReturnEvidence


SpotAction = ReplaceInstance | FallBack | ReturnToSpot


def replace_action_id(*, account: str, region: str, instance_id: str, restarted_at_ms: int | None) -> str:
    """32 hexadecimal characters that are the same however and how often one interruption is told.

    Args:
        account: The account of the instance.
        region: The Region of the instance.
        instance_id: The instance.
        restarted_at_ms: When the instance came back from the interruption before this one, None if there was none.
    """
    return _action_id(SpotActionType.REPLACE_INSTANCE, account, region, instance_id, restarted_at_ms)


def pool_action_id(
    action_type: SpotActionType, *, account: str, region: str, instance_type: str, zone: str, issued_at_ms: int
) -> str:
    """32 hexadecimal characters that depend only on what was decided about a pool."""
    return _action_id(action_type, account, region, instance_type, zone, issued_at_ms)


def _action_id(*decided: str | int | None) -> str:
    return hashlib.sha256(json.dumps(decided).encode("ascii")).hexdigest()[:32]
