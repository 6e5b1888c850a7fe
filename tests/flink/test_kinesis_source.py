"""The Python source in real jobs that are killed, restored and rescaled while the stream is split and merged."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.flink.kinesis_job import KEYS
from tests.kinesis_streams import TestStream, server_process

pytestmark = pytest.mark.flink

START_MS = 1_763_632_800_000
PATIENCE_S = 90


def events(first: int, last: int) -> list[dict[str, Any]]:
    return [{"n": number, "at": START_MS + 10 * number} for number in range(first, last)]


def sums(out: Path) -> dict[int, tuple[int, int]]:
    """The last that each key's state said of itself."""
    lines = out.read_text().splitlines() if out.exists() else []
    return {int(key): (int(count), int(total)) for key, count, total, _ in map(str.split, lines)}


def expected(last: int) -> dict[int, tuple[int, int]]:
    """The same, where each event below the last is counted once."""
    return {key: (len(range(key, last, KEYS)), sum(range(key, last, KEYS))) for key in range(KEYS)}


def wait_for(is_so: Callable[[], object], what: Callable[[], object]) -> None:
    ends_s = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < ends_s, what()
        sleep(0.1)


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and they in turn."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def python_workers(pid: int) -> list[int]:
    def command(each: int) -> str:
        try:
            return Path(f"/proc/{each}/cmdline").read_text()
        except OSError:
            return ""

    return [each for each in descendants(pid) if "beam_boot" in command(each) or "beam_sdk_worker" in command(each)]


class Job:
    """A job in a process of its own."""

    def __init__(self, process: "Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        assert process.stdin is not None
        self._said, self._told = process.stdout, process.stdin
        self.expect("running")

    def expect(self, beginning: str) -> str:
        while line := self._said.readline():
            if line.startswith(beginning):
                return line.strip()
        message = f"the job ended before it said {beginning}"
        raise AssertionError(message)

    def stop(self, directory: Path) -> Path:
        self._told.write(f"savepoint {directory}\n")
        self._told.flush()
        return Path(urlsplit(self.expect("file:")).path)


@contextmanager
def job(directory: Path, url: str, mode: str, restore_from: Path | None = None, subtasks: int = 1) -> Iterator[Job]:
    arguments = {"url": url, "mode": mode, "out": str(directory / "out"), "checkpoints": str(directory / "checkpoints")}
    arguments["restore_from"] = str(restore_from) if restore_from else ""
    command = [sys.executable, "-m", "tests.flink.kinesis_job", json.dumps(arguments | {"subtasks": subtasks})]
    with (directory / "log").open("a") as log:
        process = Popen(command, stdin=PIPE, stdout=PIPE, stderr=log, text=True, start_new_session=True)
        try:
            yield Job(process)
        finally:
            for pid in (*descendants(process.pid), process.pid):
                kill(pid)
            process.wait()


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def newest_checkpoint(directory: Path) -> Path:
    completed = list((directory / "checkpoints").glob("*/chk-*/_metadata"))
    return max(completed, key=lambda metadata: metadata.stat().st_mtime_ns).parent


def test_state_counts_each_record_once_whatever_is_killed_split_merged_or_rescaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    out = tmp_path / "out"

    def settles_at(last: int) -> None:
        wait_for(lambda: sums(out) == expected(last), lambda: (sums(out), expected(last), tail(tmp_path)))

    with server_process() as url:
        stream = TestStream(url, shards=2)
        stream.set(most_records=150)
        stream.put(events(0, 1_000))
        with job(tmp_path, url, "process") as killed:
            settles_at(1_000)
            stream.split(0, 1 << 126)
            stream.put(events(1_000, 2_000))
            workers = python_workers(killed.process.pid)
            assert workers
            for worker in workers:
                kill(worker)
            stream.put(events(2_000, 3_000))
            settles_at(3_000)
            stream.merge(2, 3)
            stream.put(events(3_000, 4_000))
        # The whole process is gone, in the middle of that.
        with job(tmp_path, url, "process", newest_checkpoint(tmp_path)) as restored:
            stream.put(events(4_000, 5_000))
            settles_at(5_000)
            stream.merge(4, 1)
            stream.put(events(5_000, 6_000))
            savepoint = restored.stop(tmp_path / "savepoints")
        stream.put(events(6_000, 7_000))
        with job(tmp_path, url, "thread", savepoint, subtasks=2):
            stream.split(5)
            stream.put(events(7_000, 8_000))
            settles_at(8_000)
    kinds = {line.split()[3] for line in out.read_text().splitlines()}
    assert kinds == {"event"}, "some were late"


def tail(directory: Path) -> str:
    return (directory / "log").read_text()[-3_000:]
