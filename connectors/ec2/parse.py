"""One message of an event stream: the event that it tells of, or why it tells of none. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from connectors.ec2.envelope import NotOursError, Parser, read_envelope, read_event_id, read_instance_id
from connectors.ec2.events import (
    ActivityKind,
    Event,
    Ignored,
    InstanceAction,
    InstanceState,
    InterruptionWarning,
    Malformed,
    RebalanceRecommendation,
    SpotRequestFulfillment,
    StateChange,
)
from connectors.ec2.group_events import (
    group_activity,
    launch_lifecycle_action,
    read_notification,
    terminate_lifecycle_action,
)
from connectors.ec2.health_events import scheduled_change
from connectors.ec2.identifiers import SPOT_REQUEST_ID
from connectors.ec2.times import iso_8601_ms
from connectors.fields import FieldError, Fields, read_object, shown

MAX_EVENT_BYTES: Final = 1024 * 1024
"""The largest event of EventBridge and message of SQS.

Source: AWS Compute Blog, 2026-01, "More room to build: serverless services now support payloads up to 1 MB".
"""


_T = TypeVar("_T")

Kind = tuple[str, str]
"""The source and the detail-type of an event."""


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
    except NotOursError as error:
        return Ignored(str(error), **_still_readable(fields))
    except FieldError as error:
        return Malformed(str(error), **_still_readable(fields))


def _event(fields: Fields, others: Mapping[Kind, Parser[_T]]) -> Event | _T:
    if not fields.has("source") and not fields.has("detail-type"):
        return read_notification(fields)
    source, detail_type = fields.text("source"), fields.text("detail-type")
    parse = _PARSERS.get((source, detail_type)) or others.get((source, detail_type))
    if parse is None:
        reason = f"not ours: {shown(detail_type)} of {shown(source)}"
        raise NotOursError(reason)
    version = fields.optional(fields.any_text, "version")
    if version not in (None, "0"):
        reason = f"not ours: {shown(detail_type)} in the unknown version {shown(version)}"
        raise NotOursError(reason)
    return parse(fields, fields.object("detail"))


def _still_readable(fields: Fields) -> dict[str, Any]:
    return {
        "source": _unless_broken(lambda: fields.text("source")),
        "detail_type": _unless_broken(lambda: fields.text("detail-type")),
        "event_id": _unless_broken(lambda: read_event_id(fields, "id")),
        "at_ms": _unless_broken(lambda: fields.parsed("time", iso_8601_ms)),
    }


def _unless_broken(read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except FieldError:
        return None


def _interruption_warning(fields: Fields, detail: Fields) -> InterruptionWarning:
    return InterruptionWarning(
        **read_envelope(fields),
        instance_id=read_instance_id(detail, "instance-id"),
        instance_action=detail.word("instance-action", InstanceAction),
    )


def _rebalance_recommendation(fields: Fields, detail: Fields) -> RebalanceRecommendation:
    return RebalanceRecommendation(**read_envelope(fields), instance_id=read_instance_id(detail, "instance-id"))


def _state_change(fields: Fields, detail: Fields) -> StateChange:
    return StateChange(
        **read_envelope(fields),
        instance_id=read_instance_id(detail, "instance-id"),
        state=detail.word("state", InstanceState),
    )


def _spot_request_fulfillment(fields: Fields, detail: Fields) -> SpotRequestFulfillment:
    return SpotRequestFulfillment(
        **read_envelope(fields),
        instance_id=read_instance_id(detail, "instance-id"),
        spot_request_id=detail.matching("spot-instance-request-id", SPOT_REQUEST_ID, "the id of a Spot request"),
    )


_PARSERS: Final[dict[Kind, Parser[Event]]] = {
    ("aws.ec2", "EC2 Spot Instance Interruption Warning"): _interruption_warning,
    ("aws.ec2", "EC2 Instance Rebalance Recommendation"): _rebalance_recommendation,
    ("aws.ec2", "EC2 Instance State-change Notification"): _state_change,
    ("aws.ec2", "EC2 Spot Instance Request Fulfillment"): _spot_request_fulfillment,
    ("aws.autoscaling", "EC2 Instance Launch Successful"): group_activity(ActivityKind.LAUNCH, successful=True),
    ("aws.autoscaling", "EC2 Instance Launch Unsuccessful"): group_activity(ActivityKind.LAUNCH, successful=False),
    ("aws.autoscaling", "EC2 Instance Terminate Successful"): group_activity(ActivityKind.TERMINATE, successful=True),
    ("aws.autoscaling", "EC2 Instance Terminate Unsuccessful"): group_activity(
        ActivityKind.TERMINATE, successful=False
    ),
    ("aws.autoscaling", "EC2 Instance-launch Lifecycle Action"): launch_lifecycle_action,
    ("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action"): terminate_lifecycle_action,
    ("aws.health", "AWS Health Event"): scheduled_change,
}
