"""The command `headroom run`."""

import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from jobs.execution import ExecutionMode, JobFailedError
from jobs.live_run import run as run_live
from jobs.options import EXIT_FAILED, config_option, open_settings, refuse
from jobs.settings.durations import format_duration

_TELL_EVERY_S: Final = 5.0


@click.group()
def run() -> None:
    """Run a job on live streams, on this machine."""


def _live_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of every live run."""
    options = (
        config_option,
        click.option(
            "--out",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            default=Path("headroom-live"),
            show_default=True,
            help="Directory for what is found; files in it are added to.",
        ),
        click.option(
            "--state",
            metavar="DIR",
            type=click.Path(path_type=Path, file_okay=False),
            help="Directory for checkpoints. A run goes on from the newest one in it, and leaves one when it ends.",
        ),
        click.option(
            "--restore",
            metavar="PATH",
            type=click.Path(path_type=Path, exists=True),
            help="A checkpoint or savepoint to go on from, in place of the newest one in --state.",
        ),
        click.option(
            "--cluster",
            metavar="HOST:PORT",
            help="The REST address of a Flink cluster on this machine to run on, in place of one inside this process.",
        ),
        click.option(
            "--parallelism", type=click.IntRange(1, 128), default=1, show_default=True, help="Of the windows."
        ),
        click.option(
            "--execution-mode",
            type=click.Choice([mode.value for mode in ExecutionMode]),
            default=ExecutionMode.THREAD.value,
            show_default=True,
            help="Where Flink runs Python: in threads of its JVM, which is quickest, or in processes of their own.",
        ),
        click.option(
            "--duration", "duration_s", metavar="SECONDS", type=click.FloatRange(min=0), help="End after so long."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@run.command()
@_live_options
def capacity(**options: Any) -> None:
    """Suspend partition keys that are over their limit, from a Kinesis stream to an SQS queue.

    The settings name the stream (kinesis.stream) and the queue (sqs.queue_url); credentials are those of any AWS
    client. It runs until it is interrupted.

    \b
    DIR gets:
      actions.jsonl      suspensions as they are sent (with shadow = true: shadow.jsonl)
      delivery.jsonl     when each was decided, and when the queue accepted it
      undelivered.jsonl  those that the queue refused, or that were past their end before they could be sent
      malformed.jsonl    records that could not be read, with the reason
      late.jsonl         changes that came too late to count
      rules.jsonl        what became of rules that came while it runs: applied, or refused and why
      status.json        the counts, the hottest keys and how far behind the run is, every second

    \b
    Examples:
      headroom run capacity --config headroom.toml
      headroom run capacity --config headroom.toml --state headroom-state --out today

    \b
    Exit status: 0 after --duration, 1 when the job failed too often, 2 for a mistake in the command or a setting,
    130 when it was interrupted.
    """  # noqa: D301 - click looks for the character that the escape stands for
    _run("capacity", **options)


@run.command()
@_live_options
def spot(**options: Any) -> None:
    """Replace Spot Instances that are interrupted, and give up Spot pools, from a Kinesis stream to an SQS queue.

    The settings name the stream (kinesis.stream) that an EventBridge rule writes events of EC2, Auto Scaling and
    Health to, and the scans their facts, and the queue (sqs.queue_url) that the actuators read. A file of settings is
    for one job. It runs until it is interrupted.

    \b
    DIR gets:
      actions.jsonl      actions as they are sent (with shadow = true: shadow.jsonl)
      delivery.jsonl     when each was decided, and when the queue accepted it
      undelivered.jsonl  those that the queue refused, or that were void before they could be sent
      pools.jsonl        every change of the market of every pool, with its evidence
      malformed.jsonl    records that could not be read, with the reason
      status.json        the counts and how far behind the run is, every second

    \b
    Examples:
      headroom run spot --config spot.toml
      headroom run spot --config spot.toml --state spot-state --out today

    \b
    Exit status: 0 after --duration, 1 when the job failed too often, 2 for a mistake in the command or a setting,
    130 when it was interrupted.
    """  # noqa: D301 - click looks for the character that the escape stands for
    _run("spot", **options)


@run.command()
@_live_options
def usage(**options: Any) -> None:
    """Keep the usage ledger of a Kinesis stream of changes, as files or through Data Firehose.

    The settings name the stream (kinesis.stream) and where the ledger is kept (usage.ledger: a directory, or
    s3://bucket/prefix). A file appears when its span of time is over and is never changed after that; a change that is
    late becomes a correction row in a later one. Go on with the --state of the run before: a run that begins anew
    counts anew. It runs until it is interrupted.

    \b
    DIR gets:
      files.jsonl      each file of the ledger as it was written, and what its rows add up to
      malformed.jsonl  records that could not be read, with the reason
      conflicts.jsonl  copies of changes that say something else than the first, which counts
      status.json      the counts and how far behind the run is, every second

    \b
    Examples:
      headroom run usage --config headroom.toml --state usage-state
      headroom run usage --config headroom.toml --state usage-state --out today

    \b
    Exit status: 0 after --duration, 1 when the job failed too often, 2 for a mistake in the command or a setting,
    130 when it was interrupted.
    """  # noqa: D301 - click looks for the character that the escape stands for
    _run("usage", **options)


def _run(
    job: str,
    *,
    config_file: Path | None,
    out: Path,
    state: Path | None,
    restore: Path | None,
    cluster: str | None,
    parallelism: int,
    execution_mode: str,
    duration_s: float | None,
) -> None:
    from connectors.kinesis.client import KinesisError

    live = import_module(f"jobs.{job}.live")
    settings = open_settings(config_file)
    if missing := live.missing_settings(settings):
        refuse(missing)
    stop, interrupted = threading.Event(), threading.Event()

    def interrupt(*_: object) -> None:
        interrupted.set()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    with ExitStack() as cleanups:
        checkpoints = state or Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="headroom-state-")))
        try:
            run_live(
                job,
                settings,
                out,
                checkpoints,
                restore_from=restore or _newest(state),
                leave_savepoint=state is not None,
                cluster=cluster,
                parallelism=parallelism,
                execution_mode=ExecutionMode(execution_mode),
                stop=stop,
                duration_s=duration_s,
                on_state=_Told(),
            )
        except KinesisError as error:
            refuse([str(error)])
        except (JobFailedError, OSError) as error:
            if not interrupted.is_set():
                refuse([str(error)], EXIT_FAILED)
            # Whoever stops a service stops all of its processes at once: then there is nobody left to take a savepoint.
            click.echo(f"headroom: no savepoint, the newest checkpoint holds: {error}", err=True)
    if interrupted.is_set():
        raise KeyboardInterrupt


def _newest(state: Path | None) -> Path | None:
    if state is None:
        return None
    from jobs.runtime import newest_checkpoint

    newest = newest_checkpoint(state)
    if newest is not None:
        click.echo(f"going on from {newest}", err=True)
    return newest


class _Told:
    """Tells on stderr how a run goes: changes of its state at once, the counts now and then."""

    def __init__(self) -> None:
        self._state = ""
        self._told_s = time.monotonic()
        self._records = 0
        self._rules: dict[str, Any] = {}
        click.echo("starting Flink ...", err=True)

    def __call__(self, state: str, status: dict[str, Any] | None) -> None:
        if state != self._state:
            self._state = state
            click.echo(f"the job is {state.lower()}", err=True)
        passed_s = time.monotonic() - self._told_s
        if status is None:
            return
        self._tell_rules(status.get("rules", {}))
        if passed_s < _TELL_EVERY_S:
            return
        rate = max(0, status["records"] - self._records) / passed_s  # the counts begin again when the job restarts
        self._told_s, self._records = time.monotonic(), status["records"]
        lag = "-" if status["lag_ms"] is None else format_duration(status["lag_ms"])
        did = "written" if "written" in status else "decided"
        done = ", ".join(f"{count:,} {name}" for name, count in status[did].items() if count) or "nothing"
        click.echo(
            f"{status['records']:,} records ({rate:,.0f}/s), {status['malformed']:,} malformed, "
            f"{did}: {done}, newest {lag} ago",
            err=True,
        )
        sys.stderr.flush()

    def _tell_rules(self, rules: dict[str, Any]) -> None:
        """Whoever has just changed a file of rules waits for what becomes of it."""
        before, self._rules = self._rules, rules
        if rules.get("version", 0) > before.get("version", 0):
            click.echo(f"rules: version {rules['version']} has come", err=True)
        if rules.get("refused", 0) > before.get("refused", 0):
            click.echo(f"rules refused, which changes nothing: {rules.get('reason', 'see rules.jsonl')}", err=True)
