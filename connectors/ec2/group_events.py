"""Group events: launches, terminations and lifecycle actions of Auto Scaling groups. Pure."""

from typing import Any, Final

from connectors.ec2.envelope import NotOursError, Parser, read_envelope, read_event_id, read_instance_id, read_name
from connectors.ec2.events import (
    ActivityKind,
    GroupActivity,
    LifecycleAction,
    LifecycleTransition,
    NotificationTest,
    Place,
)
from connectors.ec2.identifiers import ACCOUNT, ZONE
from connectors.ec2.times import iso_8601_ms
from connectors.fields import FieldError, Fields, shown

_TEST_NOTIFICATION: Final = "autoscaling:TEST_NOTIFICATION"


def group_activity(kind: ActivityKind, *, successful: bool) -> Parser[GroupActivity]:
    """What reads a launch or a termination that succeeded or failed, as the detail-type says."""

    def parse(fields: Fields, detail: Fields) -> GroupActivity:
        return GroupActivity(
            **read_envelope(fields),
            kind=kind,
            successful=successful,
            group=read_name(detail, "AutoScalingGroupName"),
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
    return read_instance_id(detail, "EC2InstanceId")


def _zone(details: Fields | None) -> str | None:
    name = "Availability Zone"
    if details is None or not details.optional(details.any_text, name):
        return None
    return details.matching(name, ZONE, "a zone")


def _place(detail: Fields, name: str) -> Place | None:
    return detail.optional(lambda name: detail.word(name, Place), name)


def launch_lifecycle_action(fields: Fields, detail: Fields) -> LifecycleAction:
    """An instance that waits for a hook on its way into the group."""
    return _lifecycle_action(read_envelope(fields), detail, LifecycleTransition.LAUNCHING)


def terminate_lifecycle_action(fields: Fields, detail: Fields) -> LifecycleAction:
    """An instance that waits for a hook on its way out of the group."""
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
        group=read_name(detail, "AutoScalingGroupName"),
        instance_id=read_instance_id(detail, "EC2InstanceId"),
        transition=transition,
        hook=read_name(detail, "LifecycleHookName"),
        token=read_name(detail, "LifecycleActionToken"),
        origin=_place(detail, "Origin"),
        destination=_place(detail, "Destination"),
    )


def read_notification(fields: Fields) -> LifecycleAction | NotificationTest:
    """What Auto Scaling wrote to a queue itself: one flat object, without the envelope of EventBridge."""
    is_test = fields.values.get("Event") == _TEST_NOTIFICATION
    if not is_test and not fields.has("LifecycleTransition"):
        if fields.has("Event"):
            reason = f"not ours: the notification {shown(fields.values['Event'])}"
            raise NotOursError(reason)
        reason = "source and detail-type are missing: neither an event nor a notification"
        raise FieldError(reason)
    envelope: dict[str, Any] = {
        "event_id": read_event_id(fields, "RequestId"),
        "account": fields.matching("AccountId", ACCOUNT, "an account of 12 digits"),
        "at_ms": fields.parsed("Time", iso_8601_ms),
    }
    if is_test:
        return NotificationTest(**envelope, group=read_name(fields, "AutoScalingGroupName"))
    return _lifecycle_action(envelope | {"region": None}, fields, None)
