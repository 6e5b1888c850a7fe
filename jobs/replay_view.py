"""What a person sees of a replay: progress while it runs, and afterwards who would have been suspended. I/O."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from connectors.recordings.files import RecordingFile
from jobs.capacity.tally import Tally
from jobs.settings import Settings
from jobs.settings.durations import format_duration

_TABLE_STYLE: Final[dict[str, Any]] = {
    "title_justify": "left",
    "title_style": "bold",
    "box": None,
    "padding": (0, 2, 0, 0),
}
_MOST_ROWS: Final = 20
_MOST_NEAR_ROWS: Final = 5
_LINE_EVERY_S: Final = 5.0


class ReplayProgress:
    """Tells how far a replay is, on stderr: a bar on a terminal, elsewhere a line now and then, nothing when quiet."""

    def __init__(self, files: Sequence[RecordingFile], *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._total_bytes = max(1, sum(file.content_bytes for file in files))
        self._told_s = monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[found]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting Flink", total=None, found="")

    def __enter__(self) -> Self:
        """Begin to tell."""
        self._bar.start()
        if not self._console.is_terminal:
            self._console.print("starting Flink ...")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and leave nothing of the bar."""
        self._bar.stop()

    def update(self, tally: Tally) -> None:
        """Show what was found so far."""
        counts = tally.counts
        found = f"{counts.events:,} records, {len(tally.suspended):,} keys suspended"
        read_bytes = min(counts.read_bytes, self._total_bytes)
        self._bar.update(
            self._task, description="replaying", total=self._total_bytes, completed=read_bytes, found=found
        )
        if not self._console.is_terminal and monotonic() - self._told_s > _LINE_EVERY_S:
            self._told_s = monotonic()
            self._console.print(f"{read_bytes / self._total_bytes:4.0%}  {found}", highlight=False)


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
    return {**summary, "results": str(out), "suspended": suspended}


def _show_suspended(console: Console, tally: Tally) -> None:
    if not tally.suspended:
        console.print("No partition key went over its limit.")
        return
    count = len(tally.suspended)
    table = Table(title=f"{_counted(count, 'partition key')} would have been suspended", **_TABLE_STYLE)
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
            _utc(history.first.issued_at_ms),
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
    for text, count in notes.items():
        if count:
            console.print(f"  {count:,} {text}", highlight=False)
    console.print(
        "Consumption is a lower bound: failed conditional writes, writes that change nothing and index writes "
        "consume capacity too, and no change stream tells of them."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%m-%d %H:%M:%S")
