"""What a person sees of a replay of the Spot job: which instances would be replaced, and what became of pools. I/O."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.replay_output import ReplayView, print_notes, summary_json
from jobs.settings import Settings
from jobs.spot.market import Market
from jobs.spot.replay import replay
from jobs.spot.tally import Tally
from jobs.view import PLAIN_TABLE

_MOST_ROWS: Final = 20


def _found(tally: Tally) -> str:
    return f"{_many(tally.counts.events, 'event')}, {_many(len(tally.replacements), 'replacement')}"


def show_result(tally: Tally, summary: dict[str, Any], settings: Settings, out: Path) -> None:
    """Print what would be replaced, what became of the pools, what counted for nothing, and where the files are."""
    console = Console()
    console.print()
    _show_replacements(console, tally)
    _show_pools(console, tally)
    _show_counts(console, tally, summary, settings)
    console.print(f"Results in {out}{os.sep}", highlight=False, markup=False)


def _show_replacements(console: Console, tally: Tally) -> None:
    if not tally.replacements:
        console.print("No Spot Instance was interrupted.")
        return
    count = len(tally.replacements)
    title = f"{_many(count, 'Spot Instance')} would have been replaced"
    table = Table(title=title, **PLAIN_TABLE)
    for heading in ("Instance", "At (UTC)", "Told by", "Region"):
        table.add_column(heading, no_wrap=True)
    for action in sorted(tally.replacements, key=lambda each: (each.issued_at_ms, each.instance_id))[:_MOST_ROWS]:
        told_by = "a warning" if action.evidence.announced else "its end"
        table.add_row(action.instance_id, _utc(action.issued_at_ms), told_by, action.region)
    console.print(table)
    if count > _MOST_ROWS:
        console.print(f"... and {count - _MOST_ROWS:,} more in actions.jsonl")


def _show_pools(console: Console, tally: Tally) -> None:
    if not tally.pools:
        return
    table = Table(title="Spot pools that were suspected", **PLAIN_TABLE)
    for heading in ("Instance type", "Zone", "Suspected", "Fell back", "In the end", "Since (UTC)"):
        table.add_column(heading, no_wrap=True)
    gravest_first = sorted(tally.pools.items(), key=lambda each: (-each[1].fell_back, -each[1].suspected, str(each[0])))
    for pool, course in gravest_first[:_MOST_ROWS]:
        table.add_row(
            escape(pool.instance_type),
            escape(pool.zone),
            f"{course.suspected:,}",
            f"{course.fell_back:,}",
            "used again" if course.market is Market.ARMED else course.market.value,
            _utc(course.since_ms)[:-3],
        )
    console.print(table)
    if len(tally.pools) > _MOST_ROWS:
        console.print(f"... and {len(tally.pools) - _MOST_ROWS:,} more in pools.jsonl")


def _show_counts(console: Console, tally: Tally, summary: dict[str, Any], settings: Settings) -> None:
    counts = tally.counts
    console.print(
        f"{_many(counts.events, 'event')} about {_many(counts.instances, 'instance')} in {summary['wall_s']:,.1f} s",
        highlight=False,
    )
    if settings.shadow:
        console.print("Shadow: every decision was made, none would be sent; they are in shadow.jsonl.")
    notes = {
        "malformed, kept with their reasons in malformed.jsonl": counts.malformed,
        "not ours, ignored": counts.ignored,
        "told more than once": counts.duplicates,
        "at risk, of which no scan tells where they run: they move no pool": counts.without_facts,
    }
    print_notes(console, notes, tally.malformed_reasons)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


VIEW: Final = ReplayView(replay, _found, summary_json, show_result)
"""The view of this job."""
