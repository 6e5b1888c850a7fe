"""The driver: runs the measurements, shows their figures, and writes them to `.bench/spot.json`. I/O."""

import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from bench.spot import apply_kills, kills, scan_calls, storm, week

Figures = Mapping[str, Mapping[str, str | int | float]]
"""Figures by the name of a row and of a column."""

MEASUREMENTS: Final[dict[str, tuple[str, Callable[[], Figures]]]] = {
    "storm": ("200 interruption warnings in 10 s, from PutRecord to the message in the queue", storm.measure),
    "scan": ("AWS API calls of a scan of 140 groups and 1,400 instances", scan_calls.measure),
    "kills": ("the swap killed, refused and throttled at each of its calls", kills.measure),
    "apply": ("headroom spot apply killed from outside at random moments", apply_kills.measure),
    "week": ("a simulated week of 140 groups (ten minutes to an hour)", week.measure),
}

_WRITTEN: Final = Path(__file__).resolve().parents[2] / ".bench" / "spot.json"


@click.command()
@click.option("--only", "names", type=click.Choice(list(MEASUREMENTS)), multiple=True, help="Run these alone.")
def main(names: tuple[str, ...]) -> None:
    """Measure the Spot job and its actuators on this machine, against emulators."""
    console = Console(highlight=False)
    found: dict[str, Figures] = {}
    for name, (title, measure) in MEASUREMENTS.items():
        if not names or name in names:
            console.print(f"{name}: {title} ...")
            found[name] = measure()
            console.print(_table(found[name]))
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"
    _WRITTEN.parent.mkdir(exist_ok=True)
    _WRITTEN.write_text(json.dumps({"machine": machine, **found}, indent=2) + "\n")
    console.print(f"{machine}; written to {_WRITTEN.parent.name}/{_WRITTEN.name}")


def _table(figures: Figures) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    columns = list(dict.fromkeys(column for row in figures.values() for column in row))
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in figures.items():
        table.add_row(name, *[_shown(row.get(column, "")) for column in columns])
    return table


def _shown(figure: str | int | float) -> str:
    return f"{figure:,}" if isinstance(figure, int) else f"{figure:,.2f}" if isinstance(figure, float) else figure


if __name__ == "__main__":
    main()
