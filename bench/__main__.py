"""The driver: makes the recording, runs all competitors in turn, shows and writes what came of it. I/O."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import recording
from bench.competitors import COMPETITORS, Competitor
from bench.crossings import Crossing
from bench.measure import run_measured
from bench.plain_python import crossings
from bench.results import Attempt, Standing, standing
from jobs.generate import Profile

_PROJECT: Final = Path(__file__).resolve().parent.parent
_DIRECTORY: Final = _PROJECT / ".bench"
_QUICK_RECORDS: Final = 200_000
_TIMEOUT_S: Final = 3_600
_LOG_LINES_SHOWN: Final = 5
_CAPTION: Final = (
    "Whole processes, start-up included. ratio: events/s to those of the faster all-JVM job of the same pass. "
    "keys: partition keys over their limit, compared with their windows and steps. See docs/benchmarks.md."
)

_console = Console(stderr=True, highlight=False)


@click.command()
@click.option("--records", type=click.IntRange(1), default=2_000_000, show_default=True, help="Of the recording.")
@click.option("--quick", is_flag=True, help=f"A recording of {_QUICK_RECORDS:,} records: start-up is most of it.")
@click.option(
    "--part",
    "part_records",
    type=click.IntRange(1),
    default=30_000,
    show_default=True,
    help="Records for those that are too slow for all of them.",
)
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="Passes; medians are shown.")
@click.option(
    "--only",
    "names",
    type=click.Choice([competitor.name for competitor in COMPETITORS]),
    multiple=True,
    help="Run these alone.",
)
@click.option("--keep", is_flag=True, help="Leave the recording in .bench for the next time.")
def main(records: int, quick: bool, part_records: int, runs: int, names: tuple[str, ...], keep: bool) -> None:
    """Measure a replay beside other engines on the same recording.

    Writes .bench/result.json. Exit status: 1 when a competitor failed.
    """
    count = _QUICK_RECORDS if quick else records
    wanted = recording.profile(count)
    chosen = [competitor for competitor in COMPETITORS if not names or competitor.name in names]
    _DIRECTORY.mkdir(exist_ok=True)
    whole = recording.path_of(wanted, _DIRECTORY)
    _prepare(wanted, count, whole)
    part = recording.write_part(whole, part_records)
    try:
        sources = {False: (whole, count), True: (part, min(part_records, count))}
        passes = [_run_pass(number, runs, chosen, sources) for number in range(1, runs + 1)]
        expected = {True: frozenset(crossings(part)), False: _found_plainly(passes) or frozenset(crossings(whole))}
    finally:
        part.unlink()
        size_bytes = whole.stat().st_size
        if not keep:
            whole.unlink()
    standings = [(each, standing(each, passes, expected[each.reads_part])) for each in chosen]
    _show(standings, count, size_bytes)
    _write(standings, passes, count, size_bytes)
    failed = any(attempt.found is None for attempted in passes for attempt in attempted)
    sys.exit(1 if failed else 0)


def _prepare(wanted: Profile, count: int, path: Path) -> None:
    if path.exists():
        _console.print(f"{path.name} is there from an earlier time")
    else:
        _console.print(f"making a recording of {count:,} records ...")
        with Progress(console=_console, transient=True) as progress:
            task = progress.add_task("making", total=count)
            recording.make(wanted, path, lambda added: progress.advance(task, added))
    recording.warm(path)


def _run_pass(
    number: int, runs: int, chosen: Sequence[Competitor], sources: dict[bool, tuple[Path, int]]
) -> list[Attempt]:
    attempts = []
    for competitor in chosen:
        path, record_count = sources[competitor.reads_part]
        _console.print(f"pass {number} of {runs}: {competitor.title}, {record_count:,} records ...")
        attempt = _attempt(competitor, path, record_count)
        measured = attempt.measured
        _console.print(
            f"  {measured.wall_s:,.1f} s, {attempt.events_per_s:,.0f} events/s, {measured.peak_bytes / 1e6:,.0f} MB"
            if attempt.found is not None
            else f"  FAILED with exit code {measured.exit_code}:\n{_last_lines(_log_of(competitor))}",
            markup=False,
        )
        attempts.append(attempt)
    return attempts


def _attempt(competitor: Competitor, path: Path, record_count: int) -> Attempt:
    out, stdout, scratch = (_DIRECTORY / f"{competitor.name}{suffix}" for suffix in ("", ".out", ".tmp"))
    scratch.mkdir(exist_ok=True)
    try:
        measured = run_measured(
            competitor.command(path, out),
            cwd=_PROJECT,
            environment={
                "TMPDIR": str(scratch),
                "JDK_JAVA_OPTIONS": f'"-Djava.io.tmpdir={scratch}" {competitor.jvm_options}',
            },
            out=stdout,
            log=_log_of(competitor),
            timeout_s=_TIMEOUT_S,
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    found = frozenset(competitor.read_result(out, stdout)) if measured.exit_code == 0 else None
    return Attempt(competitor, record_count, measured, found)


def _found_plainly(passes: Sequence[Sequence[Attempt]]) -> frozenset[Crossing] | None:
    """What the plain loop found, which is what the others are held against."""
    return next((each.found for each in passes[0] if each.competitor.name == "plain-python"), None)


def _log_of(competitor: Competitor) -> Path:
    return _DIRECTORY / f"{competitor.name}.log"


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])


def _show(standings: Sequence[tuple[Competitor, Standing | None]], count: int, size_bytes: int) -> None:
    table = Table(
        title=f"{count:,} records, {size_bytes / 1e9:,.2f} GB ({size_bytes / count:,.0f} bytes each), {_machine()}",
        caption=_CAPTION,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("")
    for heading in ("s", "events/s", "ratio", "CPU s", "peak MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("keys")
    for competitor, stands in standings:
        if stands is None:
            table.add_row(competitor.title, *[""] * 5, "FAILED")
            continue
        table.add_row(
            competitor.title + (f",\nfirst {stands.records:,} records" if stands.records < count else ""),
            f"{stands.wall_s:,.1f}",
            f"{stands.events_per_s:,.0f}",
            "" if stands.ratio is None else f"{stands.ratio:.2f}",
            f"{stands.cpu_s:,.0f}",
            f"{stands.peak_bytes / 1e6:,.0f}" if stands.peak_bytes else "",
            stands.agreement,
        )
    Console().print(table)


def _write(
    standings: Sequence[tuple[Competitor, Standing | None]],
    passes: Sequence[Sequence[Attempt]],
    count: int,
    size_bytes: int,
) -> None:
    result = {
        "machine": _machine(),
        "records": count,
        "size_bytes": size_bytes,
        "competitors": [_figures(competitor, stands, passes) for competitor, stands in standings],
    }
    path = _DIRECTORY / "result.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    _console.print(f"written to {path.relative_to(_PROJECT)}")


def _figures(competitor: Competitor, stands: Standing | None, passes: Sequence[Sequence[Attempt]]) -> dict[str, Any]:
    attempts = [attempt for attempted in passes for attempt in attempted if attempt.competitor is competitor]
    medians = None if stands is None else {**asdict(stands), "competitor": competitor.title}
    return {
        "name": competitor.name,
        "medians": medians,
        "passes": [asdict(attempt.measured) for attempt in attempts],
    }


def _machine() -> str:
    return f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
