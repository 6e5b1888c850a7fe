"""What an event tells, in typed values. Pure.

Every value is from the event's `detail` and envelope, never from an ARN: that of an interruption warning has an
Availability Zone where others have a Region and an account.

All events are delivered at least once, in any order, and on a best-effort basis: any of them may never come.

Source: EC2 User Guide, spot-instance-termination-notices, rebalance-recommendations, spot-request-status,
monitoring-instance-state-changes; EC2 Auto Scaling User Guide, ec2-auto-scaling-event-reference; AWS Health User
Guide, aws-health-events-eventbridge-schema.
"""

from dataclasses import dataclass
from enum import StrEnum


class InstanceState(StrEnum):
    """Where an instance is in its life."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"


class InstanceAction(StrEnum):
    """What an interruption does to the instance."""

    TERMINATE = "terminate"
    STOP = "stop"
    HIBERNATE = "hibernate"


class LifecycleTransition(StrEnum):
    """What a lifecycle hook makes an instance wait in."""

    LAUNCHING = "autoscaling:EC2_INSTANCE_LAUNCHING"
    TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


class Place(StrEnum):
    """Where Auto Scaling takes an instance from, or to."""

    EC2 = "EC2"
    AUTO_SCALING_GROUP = "AutoScalingGroup"
    WARM_POOL = "WarmPool"


class ActivityKind(StrEnum):
    """What Auto Scaling does with an instance."""

    LAUNCH = "launch"
    TERMINATE = "terminate"


class HealthStatus(StrEnum):
    """Whether a scheduled change is still to come, under way, or over (cancelled ones too)."""

    UPCOMING = "upcoming"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Event:
    """What every event of EventBridge has.

    Attributes:
        event_id: the same in every delivery of one event.
        account: the account that the instance is in.
        region: the Region that the instance is in.
        at_ms: when it happened, in milliseconds since 1970.
    """

    event_id: str
    account: str
    region: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class InterruptionWarning(_Event):
    """EC2 Spot Instance Interruption Warning: about two minutes until the interruption.

    No time at all where it hibernates, for that begins at once.
    """

    instance_id: str
    instance_action: InstanceAction


@dataclass(frozen=True, slots=True)
class RebalanceRecommendation(_Event):
    """EC2 Instance Rebalance Recommendation: the risk of an interruption has risen. It may come with the warning."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class StateChange(_Event):
    """EC2 Instance State-change Notification."""

    instance_id: str
    state: InstanceState


@dataclass(frozen=True, slots=True)
class SpotRequestFulfillment(_Event):
    """EC2 Spot Instance Request Fulfillment: the instance is a Spot Instance."""

    instance_id: str
    spot_request_id: str


@dataclass(frozen=True, slots=True)
class GroupActivity(_Event):
    """EC2 Instance Launch or Terminate, Successful or Unsuccessful: what Auto Scaling did.

    Attributes:
        kind: launch or terminate.
        successful: whether it was done.
        group: the Auto Scaling group.
        instance_id: None where a launch failed before there was an instance.
        started_at_ms: when Auto Scaling began with it.
        zone: the Availability Zone.
        destination: where the instance went; a warm pool is no end of an instance.
        status_message: why it failed; empty otherwise.
    """

    kind: ActivityKind
    successful: bool
    group: str
    instance_id: str | None
    started_at_ms: int | None
    zone: str | None
    destination: Place | None
    status_message: str


@dataclass(frozen=True, slots=True)
class LifecycleAction:
    """EC2 Instance-launch or -terminate Lifecycle Action: an instance waits for a lifecycle hook to be completed.

    A hook can also notify a queue directly, and such a message names no Region.
    """

    event_id: str
    account: str
    region: str | None
    at_ms: int
    group: str
    instance_id: str
    transition: LifecycleTransition
    hook: str
    token: str
    origin: Place | None
    destination: Place | None


@dataclass(frozen=True, slots=True)
class NotificationTest:
    """autoscaling:TEST_NOTIFICATION: Auto Scaling tries whether it may write to a queue. Names no Region."""

    event_id: str
    account: str
    at_ms: int
    group: str


@dataclass(frozen=True, slots=True)
class ScheduledChange(_Event):
    """AWS Health Event: EC2 will stop, reboot, retire or move instances.

    Attributes:
        health_event: the same in all deliveries, pages and updates about one change.
        event_type: such as AWS_EC2_PERSISTENT_INSTANCE_RETIREMENT_SCHEDULED.
        status: None in the events of years when there was none.
        starts_at_ms: when it begins; long past or years ahead are possible.
        ends_at_ms: when it is over.
        instance_ids: at least one, each once.
    """

    health_event: str
    event_type: str
    status: HealthStatus | None
    starts_at_ms: int
    ends_at_ms: int | None
    instance_ids: tuple[str, ...]


Event = (
    InterruptionWarning
    | RebalanceRecommendation
    | StateChange
    | SpotRequestFulfillment
    | GroupActivity
    | LifecycleAction
    | NotificationTest
    | ScheduledChange
)


@dataclass(frozen=True, slots=True)
class _NotAnEvent:
    reason: str
    source: str | None = None
    detail_type: str | None = None
    event_id: str | None = None
    at_ms: int | None = None


class Malformed(_NotAnEvent):
    """A message that should be an event and is broken; beside the reason, what could still be read."""

    __slots__ = ()


class Ignored(_NotAnEvent):
    """A message that is plainly something else, and not ours; beside the reason, what could be read."""

    __slots__ = ()
