"""What a person sees of the loop: who is hot, who is suspended and for how long, how fast and how far behind. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.settings.durations import format_duration

_MOST_ROWS: Final = 8
_BAR_CHARACTERS: Final = 24


@dataclass(frozen=True, slots=True)
class Suspension:
    """An entry in the cache; `left_ms` is what is left of it."""

    table: str
    partition_key: str
    left_ms: int
    lease_ms: int
    consumed_wcu: int
    limit_wcu: int


def screen(seen: dict[str, Any], suspensions: Sequence[Suspension], doing: str) -> RenderableType:
    """All of it.

    Args:
        seen: As `summary` gives it.
        suspensions: Who is suspended now.
        doing: What is being started; empty when all is running.
    """
    return Panel(
        Group(_headline(seen, doing), Text(), _hottest(seen["hottest"]), Text(), _suspended(suspensions)),
        title="headroom up",
        subtitle="Ctrl-C ends everything",
        title_align="left",
        subtitle_align="left",
        padding=(1, 2),
    )


def summary(
    status: dict[str, Any] | None, rate_per_s: float | None, suspended: int, running_s: float
) -> dict[str, Any]:
    """How the loop stands, from what its job says; zeros and None before it says anything."""
    status = status or {}
    decided = status.get("decided", {})
    return {
        "running_s": round(running_s, 1),
        "records": status.get("records", 0),
        "rate_per_s": None if rate_per_s is None else round(rate_per_s, 1),
        "malformed": status.get("malformed", 0),
        "late": status.get("late", 0),
        "duplicates": status.get("duplicates", 0),
        "lag_ms": status.get("lag_ms"),
        "suspensions": decided.get("suspended", 0),
        "extensions": decided.get("extended", 0),
        "suspended_now": suspended,
        "hottest": status.get("hottest", [])[:_MOST_ROWS],
    }


def _headline(seen: dict[str, Any], doing: str) -> RenderableType:
    if doing:
        return Text(f"{doing} ...", style="bold yellow")
    rate = "-" if seen["rate_per_s"] is None else f"{seen['rate_per_s']:,.0f}/s"
    lag = "-" if seen["lag_ms"] is None else f"{seen['lag_ms'] / 1_000:.1f} s"
    parts = [
        f"running {format_duration(int(seen['running_s']) * 1_000)}",
        f"{seen['records']:,} changes",
        rate,
        f"newest {lag} ago",
        f"{seen['malformed']:,} malformed",
        f"{seen['late']:,} late",
        f"{seen['duplicates']:,} twice",
    ]
    return Text("  ·  ".join(parts))


def _hottest(lines: Sequence[dict[str, Any]]) -> RenderableType:
    table = Table(title="Hottest keys in the window", title_justify="left", title_style="bold", box=None, expand=True)
    for heading, justify in (("Table", "left"), ("Partition key", "left"), ("WCU", "right"), ("Limit", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # one of rich's words
    table.add_column("", width=_BAR_CHARACTERS)
    for line in lines[:_MOST_ROWS]:
        share = min(1.0, line["consumed_wcu"] / line["limit_wcu"])
        style = "red" if line["level"] == "over" else "yellow" if share >= 0.8 else "green"
        table.add_row(
            escape(line["table"]),
            escape(line["partition_key"]),
            f"{line['consumed_wcu']:,}",
            f"{line['limit_wcu']:,}",
            ProgressBar(total=1.0, completed=share, width=_BAR_CHARACTERS, complete_style=style, finished_style=style),
        )
    if not lines:
        table.add_row("-", "", "", "", "")
    return table


def _suspended(suspensions: Sequence[Suspension]) -> RenderableType:
    table = Table(title="Suspended now", title_justify="left", title_style="bold", box=None, expand=True)
    for heading, justify in (("Table", "left"), ("Partition key", "left"), ("Over by", "right"), ("Ends in", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # as above
    table.add_column("", width=_BAR_CHARACTERS)
    for each in suspensions[:_MOST_ROWS]:
        table.add_row(
            escape(each.table),
            escape(each.partition_key),
            f"{each.consumed_wcu - each.limit_wcu:,}",
            f"{each.left_ms / 1_000:.0f} s",
            ProgressBar(total=each.lease_ms, completed=each.left_ms, width=_BAR_CHARACTERS, complete_style="red"),
        )
    if not suspensions:
        table.add_row("nobody", "", "", "", "")
    if len(suspensions) > _MOST_ROWS:
        table.add_row(f"... and {len(suspensions) - _MOST_ROWS:,} more", "", "", "", "")
    return table
