"""What a person sees of a replay of the usage job: what is in the ledger. I/O."""

import os
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from jobs.replay_output import ReplayView, print_notes, summary_json
from jobs.settings import Settings
from jobs.settings.durations import format_duration
from jobs.usage.replay import LEDGER, replay
from jobs.usage.tally import UsageTally


def _found(tally: UsageTally) -> str:
    return f"{tally.counts.events:,} records, {tally.rows:,} ledger rows"


def _show_result(tally: UsageTally, summary: dict[str, Any], settings: Settings, out: Path) -> None:
    console = Console(highlight=False)
    counts = tally.counts
    console.print()
    console.print(f"{tally.wcu:,} WCU in {tally.writes:,} writes, {tally.bytes_written:,} bytes written")
    console.print(
        f"{tally.rows:,} ledger rows of {summary['partition_keys']:,} partition keys, from {counts.events:,} records "
        f"in {summary['wall_s']:,.1f} s, {summary['events_per_s']:,.0f} a second"
    )
    usage = settings.usage
    lateness = format_duration(settings.window.out_of_orderness_ms)
    notes = {
        f"duplicates within {format_duration(usage.horizon_ms)}, each counted once": tally.duplicates,
        "of them saying something else than the first, kept in conflicts.jsonl": tally.conflicts,
        "without an eventID, which may be duplicates": counts.without_event_id,
        f"late by more than {lateness}, in correction rows": counts.late,
        "correction rows of closed periods, billed later": tally.closed_period_corrections,
        "malformed, kept with their reasons in malformed.jsonl": counts.malformed,
        "not DynamoDB changes, ignored": counts.ignored,
        "whose recorded size is not what their images weigh": counts.size_mismatch,
    }
    print_notes(console, notes, tally.malformed_reasons)
    console.print(
        "WCU and writes are lower bounds: failed conditional writes, writes that change nothing and index writes "
        "consume capacity too, and no change stream tells of them."
    )
    console.print(f"Results in {out}{os.sep}, the ledger in {out / LEDGER}{os.sep}", markup=False)


VIEW: Final = ReplayView(replay, _found, summary_json, _show_result)
"""The view of this job."""
