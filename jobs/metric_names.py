"""Names of the metrics that jobs and lambdas publish, and what each counts. Pure.

docs/operations.md lists them, the dashboard shows them; tests compare.
"""

from typing import Final

FLINK_GROUP: Final = "kinesisanalytics"
"""Metrics in this group are published to CloudWatch by the managed service.

Source: https://docs.aws.amazon.com/managed-flink/latest/java/monitoring-metrics-custom.html
"""

CAPACITY: Final = {
    "events": "records read, of whatever outcome",
    "changes": "records that say what a write cost",
    "malformed": "records that could not be read",
    "ignored": "records that say plainly that they are something else",
    "late": "changes that came too late to suspend anyone",
    "size_mismatch": "changes whose images weigh something else than their record says",
    "suspensions": "leases given",
    "extensions": "leases made longer",
}
"""Counters of the capacity job: those of `summary.json` that can be added up."""

ACTION_DELAY: Final = "action_delay_ms"
"""Of the capacity job, a distribution: from the step end of a decision, in event time, to the decision."""

SUSPEND: Final = {
    "ActionsApplied": "leases put into the cache",
    "ActionsRepeated": "actions that came again",
    "ActionsOvertaken": "actions that a newer one had overtaken",
    "ActionsExpired": "actions that came after their end",
    "ActionsMalformed": "messages that are no action",
    "ActionsUnknown": "actions of another version or type",
    "ActionsReturned": "messages that went back to the queue",
    "ApplyDelay": "milliseconds from the decision, in event time, to the entry in the cache",
}
"""Metrics of the suspend actuator, in the namespace `Headroom`."""
