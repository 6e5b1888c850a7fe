"""Names of the metrics that jobs and lambdas publish, and what each counts. Pure.

docs/operations.md lists them, the dashboard shows them; tests compare.
"""

from typing import Final

READ: Final = {
    "events": "records read, of whatever outcome",
    "changes": "records that say what a write cost",
    "malformed": "records that could not be read",
    "ignored": "records that say plainly that they are something else",
    "late": "changes that came too late to suspend anyone",
    "duplicates": "changes that came again while they could be in time",
    "size_mismatch": "changes whose images weigh something else than their record says",
}
"""Counters of what the capacity job and the usage job read."""

DECIDED: Final = {
    "suspensions": "leases given",
    "extensions": "leases made longer",
}
"""Counters of what it decided."""

CAPACITY: Final = READ | DECIDED
"""All counters of the capacity job: the counts of `summary.json`, but for `partition_keys`, which a job that never ends
would have to remember without end."""

LEDGER: Final = {
    "without_event_id": "changes that cannot be told from copies of others, for they have no eventID",
    "conflicts": "copies that say something else than the change that counts",
    "ledger_files": "files of the ledger written, or batches of rows sent to Firehose",
    "ledger_rows": "rows in them",
    "correction_rows": "rows that correct an earlier minute, among these",
    "wcu": "write capacity units that the rows add up to",
    "writes": "writes that the rows add up to",
    "bytes_written": "bytes written that the rows add up to",
}
"""Counters of what the usage job put into the ledger; after a failure what is written again counts again."""

USAGE: Final = READ | LEDGER
"""All counters of the usage job."""

ACTION_DELAY: Final = "action_delay_ms"
"""Of a job, a gauge: the longest time of the last minute from a decision, in event time, to its having been made."""

LAG: Final = "lag_ms"
"""Of a job, a gauge: how far the newest change or event is behind now."""

RULES: Final = {
    "rules_applied": "versions of the rules that took effect",
    "rules_refused": "files of rules that had mistakes in them, and changed nothing",
}
"""Counters of the capacity job where its rules change while it runs."""

OUTBOX_WAITING: Final = "waiting"

OUTBOX: Final = {
    "sent": "actions that the queue accepted",
    "expired": "actions that were past their end before they could be sent",
    "refused": "actions that the queue refused for good",
    "outages": "attempts to send that the queue gave no answer to",
    OUTBOX_WAITING: "actions that wait to be sent",
}
"""Metrics of a job's way to its queue: counters, and `OUTBOX_WAITING`, a gauge."""

SOURCE_LAG: Final = "millisBehindLatest"
"""Of a job's source, a gauge for each shard: how far reading is behind its end."""

SPOT_READ: Final = {
    "events": "records read, of whatever outcome",
    "malformed": "records that could not be read",
    "ignored": "records that say plainly that they are something else",
    "interruption_warning": "warnings that an instance is interrupted in two minutes",
    "rebalance_recommendation": "warnings that an instance is likely to be",
    "state_change": "changes of an instance's state",
    "spot_request_fulfillment": "requests for Spot instances that were met",
    "group_activity": "launches and terminations of Auto Scaling",
    "lifecycle_action": "instances that wait at a lifecycle hook",
    "scheduled_change": "maintenance that AWS announced",
    "notification_test": "tries of a notification, which are about nothing",
    "instances_described": "facts: instances as a scan found them",
    "placement_scores": "facts: how likely EC2 thinks a launch is",
    "pools_health": "facts: pools as a person sees them",
    "launch_refused": "facts: a launch that EC2 had no capacity for",
    "pools_released": "facts: pools that a person released",
}
"""Counters of what the Spot job read."""

SPOT_DECIDED: Final = {
    "replacements": "orders to replace an instance",
    "replacements_unannounced": "those of them that no warning came before",
    "fall_backs": "orders to leave a pool",
    "returns": "orders to return to a pool",
    "pool_changes": "changes of a pool's market",
}
"""Counters of what it decided."""

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

SPOT_ACTUATORS: Final = {
    "CallsLaunch": "twins asked for",
    "CallsRaiseMaxSize": "groups whose largest size was raised for a twin",
    "CallsAttach": "twins attached",
    "CallsEndOriginal": "originals ended",
    "CallsLowerDesired": "groups whose desired size was lowered",
    "CallsRestoreMaxSize": "groups whose largest size was put back",
    "CallsRemoveTwin": "twins taken out of their group",
    "CallsEndTwin": "twins ended",
    "CallsFailed": "calls to AWS that failed or were refused",
    "LaunchesRefused": "launches that were refused, mostly for want of capacity",
    "SwapsDone": "swaps after which the twin serves",
    "SwapsUndone": "swaps that were undone, the original serving",
    "SwapsKept": "swaps whose group needed both by then",
    "ScanGroups": "groups that a scan looked at",
    "ScanInstances": "instances that it saw",
    "ScanSwaps": "swaps that it asked for",
    "ScanWoken": "groups whose message was lost, and that it woke",
    "OrphansLeft": "instances without an owner that were left for now",
    "OrphansAdopted": "those that a group took",
    "OrphansEnded": "those that were ended",
    "OrphansFailed": "those with which neither was possible",
    "MarketsChanged": "pools that were left or returned to",
    "InstancesNotManaged": "orders about instances that are none of ours",
    "ActionsSkipped": "orders that there was nothing to do for any more",
    "RunsFailed": "runs on a schedule that stopped at a call which failed",
    "MessagesReturned": "messages that went back to their queue",
    "MessagesRefused": "messages that can never succeed, put aside with the reason",
}
"""Metrics of the Spot actuators, in the namespace `Headroom`."""
