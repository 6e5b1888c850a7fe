"""Spot action messages: spot actions as the queue between the spot job and the actuators carries them. Pure.

One message is one JSON object in ASCII on one line, its fields in the order of those of the action. A replay gives the
same bytes as the live run.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from connectors.actions import MAX_MESSAGE_BYTES, VERSION, MalformedActionError
from connectors.ec2.envelope import read_pool
from connectors.ec2.events import InstanceAction, InstanceState
from connectors.ec2.identifiers import ACCOUNT, INSTANCE_ID, REGION
from connectors.fields import FieldError, Fields
from connectors.queue_messages import read_message, require_fields_of
from connectors.spot_actions import (
    ENDED_STATES,
    HIGHEST_PLACEMENT_SCORE,
    FallBack,
    FallBackEvidence,
    ReplaceEvidence,
    ReplaceInstance,
    ReturnEvidence,
    ReturnToSpot,
    SpotAction,
    SpotActionType,
)

_ACTION_ID = re.compile(r"[0-9a-f]{32}")
_MAX_EVENT_ID_CHARS: Final = 128

_TYPES: Final[dict[type[SpotAction], SpotActionType]] = {
    ReplaceInstance: SpotActionType.REPLACE_INSTANCE,
    FallBack: SpotActionType.FALL_BACK,
    ReturnToSpot: SpotActionType.RETURN_TO_SPOT,
}


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
    return read_message(message, _READERS)


def _replace_instance(fields: Fields) -> ReplaceInstance:
    require_fields_of(fields, ReplaceInstance)
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
    require_fields_of(fields, FallBack)
    return FallBack(**_issued(fields), **read_pool(fields), evidence=_fall_back_evidence(fields.object("evidence")))


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
    require_fields_of(fields, ReturnToSpot)
    return ReturnToSpot(**_issued(fields), **read_pool(fields), evidence=_return_evidence(fields.object("evidence")))


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


def _issued(fields: Fields) -> dict[str, Any]:
    issued_at_ms = fields.integer("issued_at_ms")
    return {
        "action_id": fields.matching("action_id", _ACTION_ID, "32 hexadecimal characters"),
        "issued_at_ms": issued_at_ms,
        "not_after_ms": fields.integer("not_after_ms", least=issued_at_ms),
        "account": fields.matching("account", ACCOUNT, "an account of 12 digits"),
        "region": fields.matching("region", REGION, "a Region"),
    }


_READERS: Final[dict[str, Callable[[Fields], SpotAction]]] = {
    SpotActionType.REPLACE_INSTANCE: _replace_instance,
    SpotActionType.FALL_BACK: _fall_back,
    SpotActionType.RETURN_TO_SPOT: _return_to_spot,
}
