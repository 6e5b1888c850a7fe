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
"""Of the capacity job, a distribution: from a decision, in event time, to its having been made."""

LAG: Final = "lag_ms"
"""Of both jobs, a gauge: how far the newest change is behind now."""

RULES: Final = {
    "rules_applied": "versions of the rules that took effect",
    "rules_refused": "files of rules that had mistakes in them, and changed nothing",
}
"""Counters of the capacity job where its rules change while it runs."""

OUTBOX: Final = {
    "sent": "actions that the queue accepted",
    "expired": "actions that were past their end before they could be sent",
    "refused": "actions that the queue refused for good",
    "outages": "attempts to send that the queue gave no answer to",
    "waiting": "actions that wait to be sent",
}
"""Metrics of the capacity job's way to its queue."""

SOURCE_LAG: Final = "millisBehindLatest"
"""Of a job's source, a gauge for each shard: how far reading is behind its end."""

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
