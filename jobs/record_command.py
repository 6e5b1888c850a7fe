"""The command `headroom record`."""

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time_ns
from typing import Any, Final

import click
from rich.console import Console

from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.positions import Position, parse_start
from jobs.generate import notation
from jobs.options import EXIT_FAILED, Notation, refuse

_INTERRUPTED: Final = 130
_TOLD_EVERY_S: Final = 10.0
_EXAMPLES: Final = """
\b
Examples:
  headroom record table-changes monday --duration 1h
  headroom record table-changes everything --from trim_horizon --until 2026-11-20T12:00:00Z
  headroom record table-changes local --endpoint-url http://localhost:4568 --region eu-west-1
  headroom replay monday --config headroom.toml

\b
Exit status: 0 when the bound is reached; 1 when the stream cannot be read or a file not be written; 2 when the
command is wrong; 130 when it was interrupted. What has a name in DIR is whole each time.
"""


def _start(text: str) -> Position:
    position = parse_start(text, _now_ms())
    if position is None:
        message = f"{text!r} is neither latest, trim_horizon nor a time such as 2026-11-20T10:00:00Z"
        raise ValueError(message)
    return position


_DURATION: Final = Notation("duration", notation.duration_ms)


@click.command("record", epilog=_EXAMPLES)
@click.argument("stream")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--region", help="AWS Region of the stream.  [default: that of the environment, as for the AWS CLI]")
@click.option("--endpoint-url", metavar="URL", help="Endpoint in place of AWS's own, for an emulator.")
@click.option(
    "--from",
    "start",
    metavar="START",
    type=Notation("start", _start),
    help="Where a new recording begins: latest, trim_horizon (the oldest that the stream holds) or a time of arrival. "
    "One that DIR holds goes on where it ended.  [default: latest]",
)
@click.option(
    "--until",
    "until_ms",
    metavar="TIME",
    type=Notation("time", notation.instant_ms),
    help="End when all that arrived before this time is recorded; a little that arrived later may be, too.",
)
@click.option("--duration", "duration_ms", type=_DURATION, help="End after so long, such as 10m.")
@click.option(
    "--rotate-every",
    "rotate_ms",
    type=_DURATION,
    default="5m",
    show_default=True,
    help="Finish the files that are being written so often.",
)
@click.option(
    "--rotate-size",
    "rotate_mb",
    type=click.IntRange(1, 100_000),
    default=128,
    show_default=True,
    help="Finish them when they hold so many MB of records, before compression.",
)
def record(
    *,
    stream: str,
    directory: Path,
    region: str | None,
    endpoint_url: str | None,
    start: Position | None,
    until_ms: int | None,
    duration_ms: int | None,
    rotate_ms: int,
    rotate_mb: int,
) -> None:
    """Record the Kinesis data stream STREAM into Parquet files in DIR, for `headroom replay`.

    Each shard gets a file of its own, with the columns data, arrival_time_ms, shard_id and sequence_number. A file gets
    its name when it is whole; until then it is hidden. Ctrl-C finishes the files. The same command then goes on where
    the recording ended: no record is missed or there twice, even when the process was killed.
    """
    # pyarrow and boto3 take a while to load, which a mistake in the command need not wait for.
    from connectors.kinesis.client import KinesisError
    from connectors.recordings.shard_files import RecordingDirectoryError
    from jobs.record import Bounds, Recorded
    from jobs.record import record as record_stream

    logging.getLogger("connectors.kinesis").addHandler(_Told())
    now_ms = _now_ms()
    config = KinesisConfig(stream, region, endpoint_url, start or _start("latest"), out_of_orderness_ms=0)
    ends_ms = None if duration_ms is None else now_ms + duration_ms
    bounds = Bounds(until_ms, ends_ms, max(1, rotate_ms), rotate_mb * 1_000_000)
    told = _Telling(stream, directory)
    try:
        with _stopping() as stop, told:
            recorded: Recorded = record_stream(
                config, directory, bounds, is_stopped=stop.is_asked_for, on_progress=told.update
            )
    except RecordingDirectoryError as error:
        refuse([str(error)])
    except (KinesisError, OSError) as error:
        refuse([str(error)], EXIT_FAILED)
    click.echo(
        f"{directory}: {recorded.records:,} records, {recorded.size_bytes / 1e6:,.1f} MB, {recorded.files} files"
    )
    if recorded.gaps:
        click.echo(f"headroom: {recorded.gaps} shards had lost records to the stream's retention", err=True)
    if stop.is_asked_for():
        click.echo("headroom: interrupted; the same command goes on from here", err=True)
        raise SystemExit(_INTERRUPTED)


class _Stop:
    def __init__(self) -> None:
        self._asked = False

    def ask(self, *_: object) -> None:
        """The first time finish what is in hand; the second time do not wait for that."""
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True

    def is_asked_for(self) -> bool:
        return self._asked


@contextmanager
def _stopping() -> Iterator[_Stop]:
    stop = _Stop()
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Told(logging.Handler):
    """Says on stderr what the source logs."""

    def emit(self, entry: logging.LogRecord) -> None:
        click.echo(f"headroom: {entry.getMessage()}", err=True)


class _Telling:
    """A line on a terminal that tells how far recording is; elsewhere a line every ten seconds."""

    def __init__(self, stream: str, directory: Path) -> None:
        self._to = f"recording {stream} into {directory}"
        self._console = Console(stderr=True)
        self._status = self._console.status(f"{self._to}: looking for its shards")
        self._told_s = monotonic()

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._status.start()

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def update(self, recorded: Any) -> None:
        lag = "" if recorded.lag_ms is None else f", {recorded.lag_ms / 1000:,.1f} s behind"
        text = (
            f"{self._to}: {recorded.records:,} records, {recorded.size_bytes / 1e6:,.1f} MB, "
            f"{recorded.files} files, {recorded.shards} shards{lag}"
        )
        if self._console.is_terminal:
            self._status.update(text)
        elif monotonic() > self._told_s + _TOLD_EVERY_S:
            self._told_s = monotonic()
            click.echo(f"{datetime.now(UTC):%H:%M:%S} {text}", err=True)


def _now_ms() -> int:
    return time_ns() // 1_000_000
