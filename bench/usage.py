"""The usage ledger measured: building it beside the capacity job, its size, and its meters on a month. I/O.

python -m bench.usage --recording FILE     build the ledger of a recording, beside the capacity job
python -m bench.usage --month              meters over 30 days of 20,000 tenants
python -m bench.usage --month --ledger DIR the same, of a ledger that is made there the first time
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

import click
import numpy as np
import pyarrow
from rich.console import Console

from bench import recording
from bench.headroom_replay import command
from bench.measure import run_measured
from jobs.execution import ExecutionMode
from jobs.usage.ledger import Ledger
from jobs.usage.ledger_file import write_table
from jobs.usage.ledger_paths import file_of
from jobs.usage.ledger_rows import LOWER_BOUNDS, SCHEMA
from jobs.usage.prices import read_prices
from jobs.usage.query import MeterSession
from jobs.usage.shipped import shipped_meters
from jobs.usage.store import LedgerStore

_PROJECT: Final = Path(__file__).resolve().parent.parent
_TENANTS: Final = 20_000
_DAYS: Final = 30
_ROWS_OF_AN_HOUR: Final = 60_000
_MEAN_WRITES: Final = 12
_FIRST: Final = datetime(2026, 11, 1, tzinfo=UTC)
_PRICES: Final = "unit,above,up_to,price,per,currency\nwcu,0,1000,0,1,USD\nwcu,1000,,0.625,1000000,USD\n"
_GIVEN: Final = {"month": "2026-11", "first_date": "2026-11-01", "last_date": "2026-11-30"}

_console = Console(highlight=False)


@click.command()
@click.option("--recording", "path", type=click.Path(path_type=Path, exists=True), help="Use this recording.")
@click.option(
    "--records", type=click.IntRange(1), default=2_000_000, show_default=True, help="Of one made on the spot."
)
@click.option("--mode", type=click.Choice(["thread", "process"]), multiple=True, default=["thread", "process"])
@click.option("--job", type=click.Choice(["capacity", "usage"]), multiple=True, default=["capacity", "usage"])
@click.option(
    "--ledger", type=click.Path(path_type=Path), help="Keep the month's ledger there; one that is there is used."
)
@click.option("--month", is_flag=True, help="Only the meters.")
@click.option("--build", is_flag=True, help="Only the building.")
def main(
    path: Path | None,
    records: int,
    mode: tuple[str, ...],
    job: tuple[str, ...],
    ledger: Path | None,
    month: bool,
    build: bool,
) -> None:
    """Measure the usage ledger. Exit status: 1 when a replay failed."""
    with tempfile.TemporaryDirectory(prefix="headroom-bench-") as scratch:
        if not month:
            _build(path or _made(records, Path(scratch)), mode, job, Path(scratch))
        if not build:
            _meters(ledger or Path(scratch) / "month")


def _made(records: int, directory: Path) -> Path:
    wanted = recording.profile(records)
    path = recording.path_of(wanted, directory)
    _console.print(f"making a recording of {records:,} records ...")
    recording.make(wanted, path, lambda _: None)
    return path


def _build(path: Path, modes: Sequence[str], jobs: Sequence[str], scratch: Path) -> None:
    recording.warm(path)
    for mode in modes:
        for job in jobs:
            out = scratch / f"{job}-{mode}"
            measured = run_measured(
                [*command(path, ExecutionMode(mode), out), "--job", job],
                cwd=_PROJECT,
                environment={},
                out=scratch / "stdout",
                log=scratch / "log",
                timeout_s=3_600,
            )
            if measured.exit_code:
                _console.print((scratch / "log").read_text(errors="replace"), markup=False)
                sys.exit(1)
            summary = json.loads((out / "summary.json").read_text())
            events = summary["events"]
            _console.print(
                f"{job:8} {mode:7} {measured.wall_s:6.1f} s  {events / measured.wall_s:10,.0f} events/s  "
                f"{measured.cpu_s:5.0f} CPU s  {measured.peak_bytes / 1e6:,.0f} MB at most"
            )
            if job == "usage":
                _show_size(path, out / "ledger", summary)
            shutil.rmtree(out)


def _show_size(path: Path, ledger: Path, summary: dict[str, Any]) -> None:
    ledger_bytes = sum(each.stat().st_size for each in ledger.rglob("*.parquet"))
    per_million = 1e6 / summary["changes"]
    _console.print(
        f"  {summary['ledger_rows']:,} rows in {summary['ledger_files']} files; for a million changes "
        f"{ledger_bytes * per_million / 1e6:,.2f} MB, raw {path.stat().st_size * per_million / 1e6:,.0f} MB"
    )


def _meters(directory: Path) -> None:
    if not directory.exists():
        _make_month(directory)
    started_s = monotonic()
    session = MeterSession(Ledger(str(directory)), read_prices(_PRICES, "prices.csv"), [])
    _console.print(f"{'opening':24} {monotonic() - started_s:6.1f} s")
    for name, meter in shipped_meters().items():
        values = meter.values({each.name: _GIVEN[each.name] for each in meter.parameters if each.default is None})
        started_s = monotonic()
        lines = session.run(meter, values).num_rows
        _console.print(f"{name:24} {monotonic() - started_s:6.1f} s  {lines:,} lines")


def _make_month(directory: Path) -> None:
    started_s = monotonic()
    writes = rows = 0
    store = LedgerStore(str(directory))
    for content, path, hour_writes, hour_rows in _hours():
        store.write(path, content)
        writes, rows = writes + hour_writes, rows + hour_rows
    size_bytes = sum(each.stat().st_size for each in directory.rglob("*.parquet"))
    _console.print(
        f"made {rows:,} rows of {writes:,} writes in {monotonic() - started_s:.0f} s, {size_bytes / 1e6:,.0f} MB"
    )


def _hours() -> Iterator[tuple[bytes, str, int, int]]:
    """The files of a month, compacted, one an hour: tenants by a Zipf law, each row a minute of one of them."""
    random = np.random.default_rng(6)
    weights = 1 / np.arange(1, _TENANTS + 1) ** 0.6
    names = pyarrow.array([f"tenant-{number:06}" for number in range(_TENANTS)])
    for hour in range(_DAYS * 24):
        start_ms = int((_FIRST + timedelta(hours=hour)).timestamp() * 1000)
        tenants = np.sort(random.choice(_TENANTS, _ROWS_OF_AN_HOUR, p=weights / weights.sum()))
        minutes = random.integers(0, 60, len(tenants))
        # A key has one row for each minute and event name.
        tenants, minutes = np.divmod(np.unique(tenants * 60 + minutes), 60)
        writes = random.poisson(_MEAN_WRITES, len(tenants)) + 1
        columns = {
            "partition_key": names.take(pyarrow.array(tenants)),
            "partition_key_type": pyarrow.array(["S"] * len(tenants)),
            "window_start_ms": pyarrow.array(start_ms + 60_000 * minutes),
            "event_name": pyarrow.array(["MODIFY"] * len(tenants)),
            "wcu": pyarrow.array(writes + random.poisson(2, len(tenants))),
            "writes": pyarrow.array(writes),
            "bytes_written": pyarrow.array(writes * random.integers(100, 900, len(tenants))),
            "corrects": pyarrow.nulls(len(tenants), pyarrow.int64()),
            "lower_bounds": pyarrow.array([LOWER_BOUNDS] * len(tenants)),
        }
        table = pyarrow.Table.from_arrays(
            [columns[name].cast(SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA
        )
        path = file_of("conversations", "", "S", start_ms, span_ms=3_600_000, buckets=1).path
        yield write_table(table), path, int(writes.sum()), len(tenants)


if __name__ == "__main__":
    main()
