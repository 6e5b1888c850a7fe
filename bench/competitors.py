"""Who runs: for each competitor its command, and where its result is read."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import headroom_replay
from bench.crossings import Crossing, read_lines
from jobs.execution import ExecutionMode

# As jobs/runtime.py has them for a replay.
_QUICK_START: Final = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)


@dataclass(frozen=True, slots=True)
class Competitor:
    """One way to find who went over the limit.

    Attributes:
        name: In file names and options.
        title: In the table.
        command: The command line for a recording and a directory to write to.
        read_result: What it found, from that directory, or from the file that has its stdout.
        reads_part: Whether it is too slow for all of the recording.
        is_all_jvm: Whether the others are compared with it.
        jvm_options: For its JVM, beside those that it has anyway.
    """

    name: str
    title: str
    command: Callable[[Path, Path], list[str]]
    read_result: Callable[[Path, Path], set[Crossing]] = field(default=lambda _, stdout: read_lines(stdout))
    reads_part: bool = False
    is_all_jvm: bool = False
    jvm_options: str = ""


def _headroom(mode: ExecutionMode) -> Competitor:
    return Competitor(
        name=f"headroom-{mode}",
        title=f"headroom, {mode} mode",
        command=lambda recording, out: headroom_replay.command(recording, mode, out),
        read_result=lambda out, _: headroom_replay.read_result(out),
    )


def _module(module: str) -> Callable[[Path, Path], list[str]]:
    return lambda recording, _: [sys.executable, "-m", module, str(recording)]


COMPETITORS: Final = (
    _headroom(ExecutionMode.PROCESS),
    _headroom(ExecutionMode.THREAD),
    Competitor(
        name="flink-json",
        title="Flink SQL, all JVM",
        command=_module("bench.jvm_sql"),
        is_all_jvm=True,
    ),
    Competitor(
        name="flink-json-quick-start",
        title="Flink SQL, all JVM, quick start",
        command=_module("bench.jvm_sql"),
        is_all_jvm=True,
        jvm_options=_QUICK_START,
    ),
    Competitor(
        name="datastream",
        title="PyFlink DataStream",
        command=_module("bench.datastream"),
        reads_part=True,
        jvm_options=_QUICK_START,
    ),
    Competitor(
        name="bytewax",
        title="Bytewax windows",
        command=_module("bench.bytewax_windows"),
    ),
    Competitor(
        name="plain-python",
        title="plain Python loop",
        command=_module("bench.plain_python"),
    ),
)
