"""Spot actions: what the spot job asks the actuators to do, as messages on a queue.

One message is one JSON object in ASCII on one line, its fields in the order of those of the action. `issued_at_ms` is
event time, so a replay gives the same bytes as the live run; after `not_after_ms` an action is void.

A message proves nothing: the job sees the instances of the whole account and cannot see tags, so an actuator asks
whether the instance is managed, and what is still true of it, before it touches anything.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from connectors.actions import MAX_MESSAGE_BYTES, VERSION, MalformedActionError, UnknownActionError
from connectors.ec2.events import InstanceAction, InstanceState
from connectors.ec2.identifiers import ACCOUNT, INSTANCE_ID, INSTANCE_TYPE, REGION, ZONE
from connectors.fields import FieldError, Fields, read_object, shown

ENDED_STATES: Final = frozenset({InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED})
"""The states from which no instance returns."""

HIGHEST_PLACEMENT_SCORE: Final = 10
"""Source: EC2 API Reference, SpotPlacementScore; the lowest is 1."""

_ACTION_ID = re.compile(r"[0-9a-f]{32}")
_MAX_EVENT_ID_CHARS: Final = 128


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

_TYPES: Final[dict[type[SpotAction], SpotActionType]] = {
    ReplaceInstance: SpotActionType.REPLACE_INSTANCE,
    FallBack: SpotActionType.FALL_BACK,
    ReturnToSpot: SpotActionType.RETURN_TO_SPOT,
}


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


def encode(action: SpotAction) -> bytes:
    """The message of an action, always the same bytes for the same action, without a line end.

    Raises:
        MalformedActionError: The message would be larger than 64 KiB.
    """
    message = json.dumps({"version": VERSION, "type": _TYPES[type(action)], **asdict(action)}).encode("ascii")
    if len(message) > MAX_MESSAGE_BYTES:
        reason = f"{len(message):,} bytes are more than {MAX_MESSAGE_BYTES:,}"
        raise MalformedActionError(reason)
    return message


def decode(message: bytes) -> SpotAction:
    """The action in a message, once every field has been checked.

    Raises:
        MalformedActionError: It is larger than 64 KiB, not UTF-8, not one JSON object, or has a missing, unknown,
            repeated, wrongly typed, impossible or contradictory field.
        UnknownActionError: Its version or type is of another release.
    """
    try:
        fields = read_object(message, max_bytes=MAX_MESSAGE_BYTES)
        version, action_type = fields.integer("version"), fields.any_text("type")
        read = _READERS.get(action_type) if version == VERSION else None
        if read is None:
            reason = f"version {version}, type {shown(action_type)}"
            raise UnknownActionError(reason)
        return read(fields)
    except FieldError as error:
        raise MalformedActionError(str(error)) from error


def _replace_instance(fields: Fields) -> ReplaceInstance:
    _require(fields, ReplaceInstance)
    return ReplaceInstance(
        **_issued(fields),
        instance_id=fields.matching("instance_id", INSTANCE_ID, "an instance id"),
        evidence=_replace_evidence(fields.object("evidence")),
    )


def _replace_evidence(fields: Fields) -> ReplaceEvidence:
    fields.require_exactly(ReplaceEvidence.__dataclass_fields__)
    evidence = ReplaceEvidence(
        announced=fields.flag("announced"),
        event_id=fields.text("event_id", most_chars=_MAX_EVENT_ID_CHARS),
        instance_action=fields.optional(lambda name: fields.word(name, InstanceAction), "instance_action"),
        warned_at_ms=fields.optional(fields.integer, "warned_at_ms"),
        rebalanced_at_ms=fields.optional(fields.integer, "rebalanced_at_ms"),
        state=fields.optional(lambda name: fields.word(name, InstanceState), "state"),
        state_at_ms=fields.optional(fields.integer, "state_at_ms"),
    )
    _refuse_contradiction(evidence)
    return evidence


def _refuse_contradiction(evidence: ReplaceEvidence) -> None:
    warned = (evidence.instance_action is not None, evidence.warned_at_ms is not None)
    ended = (evidence.state is not None, evidence.state_at_ms is not None)
    if evidence.state is not None and evidence.state not in ENDED_STATES:
        reason = "evidence.state is no end of an instance"
        raise FieldError(reason)
    if set(warned) != {evidence.announced} or len(set(ended)) > 1 or not (evidence.announced or all(ended)):
        reason = "evidence contradicts itself: announced has a warning, and only unannounced needs an end"
        raise FieldError(reason)


def _fall_back(fields: Fields) -> FallBack:
    _require(fields, FallBack)
    return FallBack(**_issued(fields), **_pool(fields), evidence=_fall_back_evidence(fields.object("evidence")))


def _fall_back_evidence(fields: Fields) -> FallBackEvidence:
    fields.require_exactly(FallBackEvidence.__dataclass_fields__)
    return FallBackEvidence(
        suspect_since_ms=fields.integer("suspect_since_ms"),
        interruptions=fields.integer("interruptions", least=0),
        capacity_errors=fields.integer("capacity_errors", least=0),
        rebalances=fields.integer("rebalances", least=0),
        unhealthy_since_ms=fields.optional(fields.integer, "unhealthy_since_ms"),
        placement_score=_placement_score(fields),
        fall_backs=fields.integer("fall_backs", least=1),
        pinned=fields.flag("pinned"),
    )


def _return_to_spot(fields: Fields) -> ReturnToSpot:
    _require(fields, ReturnToSpot)
    return ReturnToSpot(**_issued(fields), **_pool(fields), evidence=_return_evidence(fields.object("evidence")))


def _return_evidence(fields: Fields) -> ReturnEvidence:
    fields.require_exactly(ReturnEvidence.__dataclass_fields__)
    evidence = ReturnEvidence(
        fell_back_at_ms=fields.integer("fell_back_at_ms"),
        good_scores=fields.integer("good_scores", least=0),
        placement_score=_placement_score(fields),
        by_hand=fields.flag("by_hand"),
    )
    if evidence.by_hand == (evidence.placement_score is not None):
        reason = "evidence contradicts itself: either a person decided, or a placement score"
        raise FieldError(reason)
    return evidence


def _placement_score(fields: Fields) -> int | None:
    return fields.optional(lambda name: fields.integer(name, least=1, most=HIGHEST_PLACEMENT_SCORE), "placement_score")


def _require(fields: Fields, kind: type[SpotAction]) -> None:
    fields.require_exactly(("version", "type", *kind.__dataclass_fields__))


def _issued(fields: Fields) -> dict[str, Any]:
    issued_at_ms = fields.integer("issued_at_ms")
    return {
        "action_id": fields.matching("action_id", _ACTION_ID, "32 hexadecimal characters"),
        "issued_at_ms": issued_at_ms,
        "not_after_ms": fields.integer("not_after_ms", least=issued_at_ms),
        "account": fields.matching("account", ACCOUNT, "an account of 12 digits"),
        "region": fields.matching("region", REGION, "a Region"),
    }


def _pool(fields: Fields) -> dict[str, Any]:
    return {
        "instance_type": fields.matching("instance_type", INSTANCE_TYPE, "an instance type"),
        "zone": fields.matching("zone", ZONE, "a zone"),
    }


_READERS: Final[dict[str, Callable[[Fields], SpotAction]]] = {
    SpotActionType.REPLACE_INSTANCE: _replace_instance,
    SpotActionType.FALL_BACK: _fall_back,
    SpotActionType.RETURN_TO_SPOT: _return_to_spot,
}
