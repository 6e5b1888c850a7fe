"""What a person sees of a replay of the capacity job: who would have been suspended. I/O."""

import os
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.capacity.replay import replay
from jobs.capacity.tally import Tally
from jobs.replay_output import ReplayView, print_notes, summary_json
from jobs.settings import Settings
from jobs.settings.durations import format_duration
from jobs.view import PLAIN_TABLE, counted, utc

_MOST_ROWS: Final = 20
_MOST_NEAR_ROWS: Final = 5


def _found(tally: Tally) -> str:
    return f"{tally.counts.events:,} records, {len(tally.suspended):,} keys suspended"


def show_result(tally: Tally, summary: dict[str, Any], settings: Settings, out: Path) -> None:
    """Print who would have been suspended, who came near, what counted for nothing, and where the files are."""
    console = Console()
    console.print()
    _show_suspended(console, tally)
    _show_near(console, tally)
    _show_counts(console, tally, summary, settings)
    console.print(f"Results in {out}{os.sep}", highlight=False, markup=False)


def result_json(tally: Tally, summary: dict[str, Any], out: Path) -> dict[str, Any]:
    """What `--format json` prints: the summary, where the files are, and who would have been suspended."""
    suspended = []
    for (table, partition_key, key_type), history in tally.suspended.items():
        evidence = history.first.evidence
        peak = tally.peaks.get((table, partition_key))
        suspended.append(
            {
                "table": table,
                "partition_key": partition_key,
                "partition_key_type": key_type,
                "first_at_ms": history.first.issued_at_ms,
                "suspensions": history.suspensions,
                "suspended_ms": history.suspended_ms,
                "peak_wcu": peak.consumed_wcu if peak else evidence.consumed_wcu,
                "limit_wcu": evidence.limit_wcu,
            }
        )
    return {**summary_json(tally, summary, out), "suspended": suspended}


def _show_suspended(console: Console, tally: Tally) -> None:
    if not tally.suspended:
        console.print("No partition key went over its limit.")
        return
    count = len(tally.suspended)
    table = Table(title=f"{counted(count, 'partition key')} would have been suspended", **PLAIN_TABLE)
    for heading in ("Table", "Partition key"):
        table.add_column(heading, overflow="fold")
    table.add_column("First at (UTC)", no_wrap=True)
    for heading in ("Leases", "In all", "Peak WCU", "Limit"):
        table.add_column(heading, justify="right", no_wrap=True)
    for (name, partition_key, _), history in list(tally.suspended.items())[:_MOST_ROWS]:
        evidence = history.first.evidence
        peak = tally.peaks.get((name, partition_key))
        table.add_row(
            escape(name),
            escape(partition_key),
            utc(history.first.issued_at_ms),
            f"{history.suspensions:,}",
            format_duration(history.suspended_ms),
            f"{peak.consumed_wcu if peak else evidence.consumed_wcu:,}",
            f"{evidence.limit_wcu:,}",
        )
    console.print(table)
    if count > _MOST_ROWS:
        console.print(f"... and {count - _MOST_ROWS:,} more in actions.jsonl")


def _show_near(console: Console, tally: Tally) -> None:
    near = tally.near()
    if near:
        console.print("Near their limit, not over it:")
    for table, partition_key, peak in near[:_MOST_NEAR_ROWS]:
        share = f"{peak.share:.0%} of {peak.limit_wcu:,} WCU"
        console.print(f"  {table}  {partition_key}  {share}", highlight=False, markup=False)
    if len(near) > _MOST_NEAR_ROWS:
        console.print(f"  ... and {len(near) - _MOST_NEAR_ROWS:,} more in windows.jsonl", highlight=False)


def _show_counts(console: Console, tally: Tally, summary: dict[str, Any], settings: Settings) -> None:
    counts = tally.counts
    speed = f"{summary['wall_s']:,.1f} s, {summary['events_per_s']:,.0f} a second"
    console.print(
        f"{counts.events:,} records of {summary['partition_keys']:,} partition keys in {speed}", highlight=False
    )
    if settings.shadow:
        console.print("Shadow: every decision was made, none would be sent; they are in shadow.jsonl.")
    notes = {
        "malformed, kept with their reasons in malformed.jsonl": counts.malformed,
        "not DynamoDB changes, ignored": counts.ignored,
        f"late by more than {format_duration(settings.window.out_of_orderness_ms)}, kept in late.jsonl": counts.late,
        "whose recorded size is not what their images weigh": counts.size_mismatch,
    }
    print_notes(console, notes, tally.malformed_reasons)
    console.print(
        "Consumption is a lower bound: failed conditional writes, writes that change nothing and index writes "
        "consume capacity too, and no change stream tells of them."
    )


VIEW: Final = ReplayView(replay, _found, result_json, show_result)
"""The view of this job."""
