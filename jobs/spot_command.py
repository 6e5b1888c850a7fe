"""The commands `headroom spot ...`."""

import pkgutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from connectors.prices import Prices, PricesError, read_prices
from connectors.recordings.files import RecordingFile
from jobs.options import EXIT_FAILED, open_recordings, paths_argument, refuse
from jobs.replay_progress import ReplayProgress
from jobs.spot.lives import LifeBook, Lives
from jobs.spot.recorded import read_recorded
from jobs.spot.savings import savings
from jobs.spot.savings_page import savings_page
from jobs.spot.savings_text import show_savings, to_json

ACTUATOR_COMMANDS = {"plan": "lambdas.spot_command:plan", "apply": "lambdas.spot_command:apply"}

_WIDTH = 120


class _SpotGroup(click.Group):
    """Also the commands of the actuators, which are found by their names: no job imports an actuator."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return sorted({*super().list_commands(ctx), *ACTUATOR_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, loaded when it is asked for; None if there is none."""
        if cmd_name in ACTUATOR_COMMANDS:
            command: click.Command = pkgutil.resolve_name(ACTUATOR_COMMANDS[cmd_name])
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=_SpotGroup)
def spot() -> None:
    """Move groups to Spot Instances, and tell what they save."""


@spot.command()
@paths_argument
@click.option(
    "--prices",
    "prices_file",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="On-Demand, Spot and covered prices; docs/spot.md has the format.",
)
@click.option(
    "--from",
    "start",
    metavar="TIME",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]),
    help="Begin of the report, UTC; without it the first event.",
)
@click.option(
    "--to",
    "end",
    metavar="TIME",
    type=click.DateTime(["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d"]),
    help="End of the report, UTC; without it the last event.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "html"]), default="table", show_default=True, help="Form."
)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write here, not to standard output.")
def report(
    paths: tuple[Path, ...],
    prices_file: Path,
    start: datetime | None,
    end: datetime | None,
    form: str,
    out: Path | None,
) -> None:
    """Tell what instance hours cost, what they would have cost On-Demand, and what interruptions cost.

    Each PATH is a file or a directory of files with recorded events and facts, in any form that `headroom replay --job
    spot` reads. Hours come from state changes of instances and from scans; an instance that no scan saw is not counted.

    \b
    Examples:
      headroom spot report tests/recordings/spot-day.jsonl.gz --prices examples/spot-prices.json
      headroom spot report march/ --prices prices.json --format html --out march.html

    \b
    Exit status: 0 done, malformed records or not; 1 a file cannot be read or written; 2 the command, a path or the
    price file is wrong.
    """  # noqa: D301 - click looks for the character that the escape stands for
    prices = _open_prices(prices_file)
    start_ms, end_ms = _ms(start), _ms(end)
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        refuse(["--from is not before --to"])
    files = open_recordings(paths)
    try:
        told = savings(_read_lives(files, start_ms, end_ms), prices)
        with nullcontext(sys.stdout) if out is None else out.open("w", encoding="utf-8") as opened:
            if form == "table":
                show_savings(told, Console(file=opened, width=None if out is None else _WIDTH))
            else:
                opened.write(to_json(told) + "\n" if form == "json" else savings_page(told))
    except OSError as error:
        refuse([f"{error.filename}: {error.strerror or error}"], EXIT_FAILED)
    if out is not None:
        click.echo(f"Report in {out}", err=True)


def _open_prices(path: Path) -> Prices:
    try:
        return read_prices(path.read_bytes())
    except OSError as error:
        refuse([f"{path}: {error.strerror or error}"])
    except PricesError as error:
        refuse([f"{path}: {error}"])


def _read_lives(files: Sequence[RecordingFile], start_ms: int | None, end_ms: int | None) -> Lives:
    book = LifeBook()
    read_bytes = malformed = count = 0
    with ReplayProgress(files, doing="reading", first="reading") as progress:
        for file in files:
            for chunk in read_recorded(file):
                read_bytes += chunk.read_bytes
                malformed += len(chunk.malformed)
                count += len(chunk.told)
                for outcome in chunk.told:
                    book.add(outcome)
                progress.update(read_bytes, f"{count:,} events")
    if malformed:
        click.echo(f"headroom: {malformed:,} malformed records left out; `headroom replay` tells why", err=True)
    return book.lives(start_ms, end_ms)


def _ms(at: datetime | None) -> int | None:
    """Milliseconds of the epoch; a time without an offset is UTC."""
    if at is None:
        return None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
