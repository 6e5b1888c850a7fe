"""The parts of the loop as processes, and what can be seen of them from outside. I/O."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from jobs.execution import ExecutionMode
from jobs.live_run import read_status
from jobs.up.view import Suspension

if TYPE_CHECKING:
    import redis  # takes a third of a second, which a first sight need not wait for

_END_WITHIN_S: Final = 10.0
_HANDLER: Final = "lambdas.suspend.handler:handler"
_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
}
# What would lead to a real account, or to another emulator.
_FOREIGN: Final = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "HEADROOM_CACHE_IAM_USER")

SETTINGS: Final = """
[window]
step = "1s"
[limits]
default_wcu = 1500
warn_ratio = 0.05
[lease]
steps = ["15s", "30s", "1m"]
[tables.conversations]
partition_key = "pk"
"""
"""What holds without a settings file: small numbers, so that there is something to see within half a minute."""


class StackError(Exception):
    """A part that does not run; the message says which, and what it said last."""


class Stack:
    """Services, job, actuator and traffic. All end when this process ends, in whatever way.

    Args:
        settings: TOML without a stream and a queue.
        rate_per_s: Changes a second of the well-behaved tenants; None for no traffic.
        execution_mode: Where Flink runs Python.
    """

    def __init__(self, settings: str, rate_per_s: float | None, execution_mode: ExecutionMode) -> None:
        self._settings = settings
        self._rate_per_s = rate_per_s
        self._execution_mode = execution_mode
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._directory = tempfile.TemporaryDirectory(prefix="headroom-up-", ignore_cleanup_errors=True)
        self.out = Path(self._directory.name) / "out"
        self._cache: redis.Redis | None = None
        self.services: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """The stack, nothing of it running."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End all parts, those that write first."""
        for name in ("traffic", "job", "actuator", "services"):
            if name in self._parts:
                self._parts[name].terminate()
        ends_s = time.monotonic() + _END_WITHIN_S
        for part in self._parts.values():
            try:
                part.wait(max(0.0, ends_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait()
        self._directory.cleanup()

    def start(self) -> Iterator[str]:
        """Start all parts, and tell of each before it is begun.

        Raises:
            StackError: One did not start.
        """
        yield "Kinesis and SQS (moto) and Valkey"
        services = self._run("services", "jobs.up.services")
        assert services.stdout is not None  # noqa: S101 - it was asked for
        line = services.stdout.readline()
        if not line:
            self.require_running()
            raise StackError(self._last_words("services"))
        import redis

        self.services = told = json.loads(line)
        self._cache = redis.Redis(port=told["cache_port"], socket_timeout=1, socket_connect_timeout=1)
        yield "the job on Flink"
        config = Path(self._directory.name) / "headroom.toml"
        ends = (
            f'[kinesis]\nstream = "{told["stream"]}"\nendpoint_url = "{told["kinesis_url"]}"\n'
            f'initial_position = "trim_horizon"\n'
            f'[sqs]\nqueue_url = "{told["queue_url"]}"\nendpoint_url = "{told["sqs_url"]}"\n'
        )
        config.write_text(f"{self._settings}\n{ends}", encoding="utf-8")
        arguments = ["run", "capacity", "--config", str(config), "--out", str(self.out)]
        self._run("job", "jobs.cli", *arguments, "--execution-mode", self._execution_mode.value)
        yield "the actuator and the product"
        cache = {"HEADROOM_CACHE_URL": f"redis://127.0.0.1:{told['cache_port']}", "AWS_ENDPOINT_URL": told["sqs_url"]}
        self._run("actuator", "lambdas.local_trigger", told["queue_url"], _HANDLER, more=cache)
        if self._rate_per_s is None:
            return
        arguments = ["--endpoint", told["kinesis_url"], "--stream", told["stream"]]
        arguments += ["--cache-port", str(told["cache_port"]), "--rate", str(self._rate_per_s)]
        self._run("traffic", "jobs.up.traffic", *arguments)

    def require_running(self) -> None:
        """Make sure that all parts run.

        Raises:
            StackError: One has ended.
        """
        for name, part in self._parts.items():
            if part.poll() is not None:
                raise StackError(self._last_words(name))

    def status(self) -> dict[str, Any] | None:
        """What the job says of itself; None before it says anything."""
        return read_status(self.out)

    def suspensions(self) -> list[Suspension]:
        """Who is suspended now, those for longest first; nobody where the cache does not answer."""
        if self._cache is None:
            return []
        import redis

        try:
            return sorted(self._read_suspensions(self._cache), key=lambda each: -each.left_ms)
        except redis.RedisError:
            return []

    @staticmethod
    def _read_suspensions(cache: "redis.Redis") -> Iterator[Suspension]:
        for entry in cache.scan_iter("headroom:suspended:*"):
            value, left_ms = cache.get(entry), cache.pttl(entry)
            if isinstance(value, bytes) and isinstance(left_ms, int) and left_ms > 0:
                action = json.loads(value)
                evidence = action["evidence"]
                yield Suspension(
                    action["table"],
                    action["partition_key"],
                    left_ms,
                    action["lease_ms"],
                    evidence["consumed_wcu"],
                    evidence["limit_wcu"],
                )

    def _run(self, name: str, module: str, *arguments: str, more: Mapping[str, str] | None = None) -> Any:
        environment = {key: value for key, value in os.environ.items() if key not in _FOREIGN}
        # Powertools would write a line of metrics for each batch.
        environment |= {**_CREDENTIALS, "POWERTOOLS_METRICS_DISABLED": "true", **(more or {})}
        with _log(self._directory.name, name) as log:
            part = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", "jobs.up.attached", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if name == "services" else log,
                stderr=log,
                env=environment,
                # The terminal's Ctrl-C is for this process alone, which ends the others in their order.
                start_new_session=True,
            )
        self._parts[name] = part
        return part

    def _last_words(self, name: str) -> str:
        text = (Path(self._directory.name) / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return f"{name} ended: {lines[-1] if lines else 'it said nothing'}"


@contextmanager
def _log(directory: str, name: str) -> Iterator[Any]:
    with (Path(directory) / f"{name}.log").open("wb") as file:
        yield file
