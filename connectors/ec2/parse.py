"""One message of an event stream: the event that it tells of, or why it tells of none. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from connectors.ec2.events import (
    ActivityKind,
    Event,
    GroupActivity,
    HealthStatus,
    Ignored,
    InstanceAction,
    InstanceState,
    InterruptionWarning,
    LifecycleAction,
    LifecycleTransition,
    Malformed,
    NotificationTest,
    Place,
    RebalanceRecommendation,
    ScheduledChange,
    SpotRequestFulfillment,
    StateChange,
)
from connectors.ec2.identifiers import ACCOUNT, INSTANCE_ID, REGION, SPOT_REQUEST_ID, ZONE
from connectors.ec2.times import iso_8601_ms, rfc_1123_ms
from connectors.fields import FieldError, Fields, read_object, shown

MAX_EVENT_BYTES: Final = 1024 * 1024
"""The largest event of EventBridge and message of SQS.

Source: AWS Compute Blog, 2026-01, "More room to build: serverless services now support payloads up to 1 MB".
"""

MAX_NAME_CHARS: Final = 255
"""Source: EC2 Auto Scaling API Reference, CreateAutoScalingGroup and PutLifecycleHook."""

_MAX_EVENT_ID_CHARS: Final = 128
_TEST_NOTIFICATION: Final = "autoscaling:TEST_NOTIFICATION"
_OURS_OF_HEALTH: Final = (("service", "EC2"), ("eventTypeCategory", "scheduledChange"))

_T = TypeVar("_T")

Kind = tuple[str, str]
"""The source and the detail-type of an event."""

Parser = Callable[[Fields, Fields], _T]
"""Reads an event from the fields of its envelope and of its detail."""


class _NotOursError(Exception):
    """Says of a message what it is instead."""


def parse_event(message: bytes | memoryview) -> Event | Malformed | Ignored:
    """The event that a message tells of, or why it tells of none; never raises.

    A message is an event as EventBridge delivers it, or a notification as Auto Scaling writes it to a queue. Fields
    beyond those read are no mistake: AWS adds some from time to time.

    Args:
        message: JSON in UTF-8.
    """
    return parse_message(message, {})


def parse_message(message: bytes | memoryview, others: Mapping[Kind, Parser[_T]]) -> Event | _T | Malformed | Ignored:
    """The same of a stream that also carries messages of other kinds in the envelope of EventBridge.

    Args:
        message: JSON in UTF-8.
        others: How to read each of those kinds from its envelope and its detail; raises FieldError where it is broken.
    """
    try:
        fields = read_object(message, max_bytes=MAX_EVENT_BYTES)
    except FieldError as error:
        return Malformed(str(error))
    try:
        return _event(fields, others)
    except _NotOursError as error:
        return Ignored(str(error), **_still_readable(fields))
    except FieldError as error:
        return Malformed(str(error), **_still_readable(fields))


def _event(fields: Fields, others: Mapping[Kind, Parser[_T]]) -> Event | _T:
    if not fields.has("source") and not fields.has("detail-type"):
        return _notification(fields)
    source, detail_type = fields.text("source"), fields.text("detail-type")
    parse = _PARSERS.get((source, detail_type)) or others.get((source, detail_type))
    if parse is None:
        reason = f"not ours: {shown(detail_type)} of {shown(source)}"
        raise _NotOursError(reason)
    version = fields.optional(fields.any_text, "version")
    if version not in (None, "0"):
        reason = f"not ours: {shown(detail_type)} in the unknown version {shown(version)}"
        raise _NotOursError(reason)
    return parse(fields, fields.object("detail"))


def _still_readable(fields: Fields) -> dict[str, Any]:
    return {
        "source": _unless_broken(lambda: fields.text("source")),
        "detail_type": _unless_broken(lambda: fields.text("detail-type")),
        "event_id": _unless_broken(lambda: _event_id(fields, "id")),
        "at_ms": _unless_broken(lambda: fields.parsed("time", iso_8601_ms)),
    }


def _unless_broken(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except FieldError:
        return None


def read_envelope(fields: Fields) -> dict[str, Any]:
    """The `event_id`, `account`, `region` and `at_ms` that every event of EventBridge has."""
    return {
        "event_id": _event_id(fields, "id"),
        "account": fields.matching("account", ACCOUNT, "an account of 12 digits"),
        "region": fields.matching("region", REGION, "a Region"),
        "at_ms": fields.parsed("time", iso_8601_ms),
    }


def _event_id(fields: Fields, name: str) -> str:
    return fields.text(name, most_chars=_MAX_EVENT_ID_CHARS)


def _name(fields: Fields, name: str) -> str:
    return fields.text(name, most_chars=MAX_NAME_CHARS)


def _instance_id(detail: Fields, name: str) -> str:
    return detail.matching(name, INSTANCE_ID, "an instance id")


def _interruption_warning(fields: Fields, detail: Fields) -> InterruptionWarning:
    return InterruptionWarning(
        **read_envelope(fields),
        instance_id=_instance_id(detail, "instance-id"),
        instance_action=detail.word("instance-action", InstanceAction),
    )


def _rebalance_recommendation(fields: Fields, detail: Fields) -> RebalanceRecommendation:
    return RebalanceRecommendation(**read_envelope(fields), instance_id=_instance_id(detail, "instance-id"))


def _state_change(fields: Fields, detail: Fields) -> StateChange:
    return StateChange(
        **read_envelope(fields),
        instance_id=_instance_id(detail, "instance-id"),
        state=detail.word("state", InstanceState),
    )


def _spot_request_fulfillment(fields: Fields, detail: Fields) -> SpotRequestFulfillment:
    return SpotRequestFulfillment(
        **read_envelope(fields),
        instance_id=_instance_id(detail, "instance-id"),
        spot_request_id=detail.matching("spot-instance-request-id", SPOT_REQUEST_ID, "the id of a Spot request"),
    )


def _group_activity(kind: ActivityKind, *, successful: bool) -> Parser[GroupActivity]:
    def parse(fields: Fields, detail: Fields) -> GroupActivity:
        return GroupActivity(
            **read_envelope(fields),
            kind=kind,
            successful=successful,
            group=_name(detail, "AutoScalingGroupName"),
            instance_id=_instance_id_if_any(detail, successful=successful),
            started_at_ms=detail.optional(lambda name: detail.parsed(name, iso_8601_ms), "StartTime"),
            zone=_zone(detail.optional(detail.object, "Details")),
            destination=_place(detail, "Destination"),
            status_message=detail.optional(detail.any_text, "StatusMessage") or "",
        )

    return parse


def _instance_id_if_any(detail: Fields, *, successful: bool) -> str | None:
    # What failed before there was an instance has an empty id. A missing one is a mistake all the same.
    if not successful and not detail.any_text("EC2InstanceId"):
        return None
    return _instance_id(detail, "EC2InstanceId")


def _zone(details: Fields | None) -> str | None:
    name = "Availability Zone"
    if details is None or not details.optional(details.any_text, name):
        return None
    return details.matching(name, ZONE, "a zone")


def _place(detail: Fields, name: str) -> Place | None:
    return detail.optional(lambda name: detail.word(name, Place), name)


def _launch_lifecycle_action(fields: Fields, detail: Fields) -> LifecycleAction:
    return _lifecycle_action(read_envelope(fields), detail, LifecycleTransition.LAUNCHING)


def _terminate_lifecycle_action(fields: Fields, detail: Fields) -> LifecycleAction:
    return _lifecycle_action(read_envelope(fields), detail, LifecycleTransition.TERMINATING)


def _lifecycle_action(
    envelope: dict[str, Any], detail: Fields, announced: LifecycleTransition | None
) -> LifecycleAction:
    transition = detail.word("LifecycleTransition", LifecycleTransition)
    if announced not in (None, transition):
        reason = f"LifecycleTransition is {transition}, the detail-type says otherwise"
        raise FieldError(reason)
    return LifecycleAction(
        **envelope,
        group=_name(detail, "AutoScalingGroupName"),
        instance_id=_instance_id(detail, "EC2InstanceId"),
        transition=transition,
        hook=_name(detail, "LifecycleHookName"),
        token=_name(detail, "LifecycleActionToken"),
        origin=_place(detail, "Origin"),
        destination=_place(detail, "Destination"),
    )


def _notification(fields: Fields) -> LifecycleAction | NotificationTest:
    """What Auto Scaling wrote to a queue itself: one flat object, without the envelope of EventBridge."""
    is_test = fields.values.get("Event") == _TEST_NOTIFICATION
    if not is_test and not fields.has("LifecycleTransition"):
        if fields.has("Event"):
            reason = f"not ours: the notification {shown(fields.values['Event'])}"
            raise _NotOursError(reason)
        reason = "source and detail-type are missing: neither an event nor a notification"
        raise FieldError(reason)
    envelope: dict[str, Any] = {
        "event_id": _event_id(fields, "RequestId"),
        "account": fields.matching("AccountId", ACCOUNT, "an account of 12 digits"),
        "at_ms": fields.parsed("Time", iso_8601_ms),
    }
    if is_test:
        return NotificationTest(**envelope, group=_name(fields, "AutoScalingGroupName"))
    return _lifecycle_action(envelope | {"region": None}, fields, None)


def _scheduled_change(fields: Fields, detail: Fields) -> ScheduledChange:
    for name, wanted in _OURS_OF_HEALTH:
        if detail.text(name) != wanted:
            reason = f"not ours: a Health event whose {name} is {shown(detail.text(name))}"
            raise _NotOursError(reason)
    instance_ids = _affected_instances(detail)
    envelope = read_envelope(fields)
    # The envelope has the account and the Region it was delivered to: for an organization, or as a backup, not those
    # it is about.
    if detail.has("affectedAccount"):
        envelope["account"] = detail.matching("affectedAccount", ACCOUNT, "an account of 12 digits")
    if detail.has("eventRegion"):
        envelope["region"] = detail.matching("eventRegion", REGION, "a Region")
    return ScheduledChange(
        **envelope,
        health_event=detail.text("eventArn"),
        event_type=_name(detail, "eventTypeCode"),
        status=detail.optional(lambda name: detail.word(name, HealthStatus), "statusCode"),
        starts_at_ms=detail.parsed("startTime", rfc_1123_ms),
        ends_at_ms=detail.optional(lambda name: detail.parsed(name, rfc_1123_ms), "endTime"),
        instance_ids=instance_ids,
    )


def _affected_instances(detail: Fields) -> tuple[str, ...]:
    # Dedicated Hosts and Reserved Instances are entities of EC2 too.
    entities = detail.optional(detail.objects, "affectedEntities") or []
    instances = [entity for entity in entities if entity.text("entityValue").startswith("i-")]
    if not instances:
        reason = "not ours: a Health event about no instance"
        raise _NotOursError(reason)
    return tuple(dict.fromkeys(_instance_id(entity, "entityValue") for entity in instances))


_PARSERS: Final[dict[Kind, Parser[Event]]] = {
    ("aws.ec2", "EC2 Spot Instance Interruption Warning"): _interruption_warning,
    ("aws.ec2", "EC2 Instance Rebalance Recommendation"): _rebalance_recommendation,
    ("aws.ec2", "EC2 Instance State-change Notification"): _state_change,
    ("aws.ec2", "EC2 Spot Instance Request Fulfillment"): _spot_request_fulfillment,
    ("aws.autoscaling", "EC2 Instance Launch Successful"): _group_activity(ActivityKind.LAUNCH, successful=True),
    ("aws.autoscaling", "EC2 Instance Launch Unsuccessful"): _group_activity(ActivityKind.LAUNCH, successful=False),
    ("aws.autoscaling", "EC2 Instance Terminate Successful"): _group_activity(ActivityKind.TERMINATE, successful=True),
    ("aws.autoscaling", "EC2 Instance Terminate Unsuccessful"): _group_activity(
        ActivityKind.TERMINATE, successful=False
    ),
    ("aws.autoscaling", "EC2 Instance-launch Lifecycle Action"): _launch_lifecycle_action,
    ("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action"): _terminate_lifecycle_action,
    ("aws.health", "AWS Health Event"): _scheduled_change,
}
