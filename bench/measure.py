"""A command run to its end: how long it took, and what its processes together held and used. I/O."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Final, NamedTuple

_SAMPLED_EVERY_S: Final = 0.1
_PATIENCE_S: Final = 10
_PROCESSES: Final = Path("/proc")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took, from its start to its end.

    Attributes:
        cpu_s: Processor time of all its processes, up to the last sample.
        peak_bytes: The most that its processes held together, resident pages, sampled ten times a second.
        exit_code: Negative where a signal ended it.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    exit_code: int


class _Process(NamedTuple):
    pid: int
    session: int
    ticks: int
    pages: int


def run_measured(
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    out: Path,
    log: Path,
    timeout_s: float,
) -> Measured:
    """Run a command, its stdout going to `out` and its stderr to `log`; what it leaves running is ended."""
    with out.open("wb") as stdout, log.open("wb") as stderr:
        started_s = monotonic()
        process = subprocess.Popen(  # noqa: S603 - the commands are this package's own
            command,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        usage = _Usage(process.pid)
        try:
            while (exit_code := _waited(process)) is None:
                usage.sample()
                if monotonic() - started_s > timeout_s:
                    process.kill()
            wall_s = monotonic() - started_s
        finally:
            process.kill()  # does nothing to one that has ended
            _end_session(process.pid)
            process.wait()
    return Measured(wall_s, usage.cpu_s, usage.peak_bytes, exit_code)


def _waited(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(_SAMPLED_EVERY_S)
    except subprocess.TimeoutExpired:
        return None


class _Usage:
    """What the processes of a session used so far."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._ticks: dict[int, int] = {}
        self.peak_bytes = 0

    @property
    def cpu_s(self) -> float:
        return sum(self._ticks.values()) / _TICKS_PER_S

    def sample(self) -> None:
        processes = list(_in_session(self._session))
        self._ticks.update((process.pid, process.ticks) for process in processes)
        self.peak_bytes = max(self.peak_bytes, _PAGE_BYTES * sum(process.pages for process in processes))


def _in_session(session: int) -> Iterator[_Process]:
    """The processes of a session; those that these started are in it too, unless they left it."""
    for entry in _PROCESSES.glob("[0-9]*"):
        process = _read_process(entry / "stat")
        if process is not None and process.session == session:
            yield process


def _read_process(stat: Path) -> _Process | None:
    # The name of the program, in parentheses, may hold anything; all after it are numbers, the third field first.
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return None  # it has just ended
    if fields[0] == "Z":
        return None  # it has ended, and nobody has asked for its exit code
    return _Process(
        pid=int(stat.parent.name),
        session=int(fields[3]),
        ticks=int(fields[11]) + int(fields[12]),
        pages=int(fields[21]),
    )


def _end_session(session: int) -> None:
    """End what is left of a session. A JVM whose Python has gone ends by itself, and puts its files away."""
    patience_until_s = monotonic() + _PATIENCE_S
    while any(_in_session(session)) and monotonic() < patience_until_s:
        sleep(_SAMPLED_EVERY_S)
    for process in _in_session(session):
        try:
            os.kill(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
