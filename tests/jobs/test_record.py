"""`headroom record` as a user runs it, and as it is killed: against a server with shards that end."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run
from time import monotonic, sleep
from typing import Any

import pyarrow.parquet
import pytest

from connectors.kinesis.client import KinesisError
from connectors.recordings.files import find_recordings
from connectors.recordings.shard_files import POSITION_FILE, RecordingDirectoryError, ShardFiles
from jobs.record import Bounds, Recorded, record
from tests.kinesis_server import serve
from tests.kinesis_streams import REGION, TestStream, shard_id

HEADROOM = Path(sys.executable).parent / "headroom"
LONG_MS = 3_600_000


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def url() -> Iterator[str]:
    server, address = serve()
    yield address
    server.shutdown()
    server.server_close()


def events(first: int, last: int) -> list[dict[str, Any]]:
    return [{"n": number, "at": 1_763_632_800_000 + number} for number in range(first, last)]


def rows(directory: Path) -> list[dict[str, Any]]:
    """All rows of all files, in the order of the files' names; every file is whole."""
    return [row for file in sorted(directory.glob("*.parquet")) for row in pyarrow.parquet.read_table(file).to_pylist()]


def numbers(directory: Path) -> list[int]:
    return [json.loads(row["data"])["n"] for row in rows(directory)]


def record_until(
    stream: TestStream,
    directory: Path,
    records: int,
    on_progress: Callable[[Recorded], None] = lambda _: None,
    **bounds: int,
) -> Recorded:
    """Record until so many records have come in this run."""
    seen: list[int] = [0]
    ends_s = monotonic() + 60

    def is_stopped() -> bool:
        assert monotonic() < ends_s, f"{seen} of {records} records"
        return seen[0] >= records

    def note(recorded: Recorded) -> None:
        seen[0] = recorded.records
        on_progress(recorded)

    unbounded: dict[str, Any] = {"until_ms": None, "ends_ms": None, "rotate_ms": LONG_MS, "rotate_bytes": 1 << 40}
    limits = Bounds(**unbounded | bounds)
    return record(stream.config(out_of_orderness_ms=0), directory, limits, is_stopped=is_stopped, on_progress=note)


def test_each_shard_has_files_of_its_own_with_what_replay_and_others_need(url: str, tmp_path: Path) -> None:
    stream = TestStream(url, shards=3)
    stream.put(events(0, 300))
    recorded = record_until(stream, tmp_path, 300)
    files = sorted(tmp_path.glob("*.parquet"))
    assert (recorded.records, recorded.files, len(files)) == (300, 3, 3)
    for file in files:
        table = pyarrow.parquet.read_table(file)
        assert table.column_names == ["data", "arrival_time_ms", "shard_id", "sequence_number"]
        assert [str(field.type) for field in table.schema] == ["binary", "int64", "string", "string"]
        assert len(set(table["shard_id"].to_pylist())) == 1
        given = list(map(int, table["sequence_number"].to_pylist()))
        assert given == sorted(given)
        metadata = pyarrow.parquet.ParquetFile(file).metadata
        assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert sorted(numbers(tmp_path)) == list(range(300))
    assert len(find_recordings([tmp_path])) == 3


def test_a_recording_goes_on_where_it_ended_through_splits(url: str, tmp_path: Path) -> None:
    stream = TestStream(url, shards=2)
    stream.put(events(0, 100))
    record_until(stream, tmp_path, 100)
    stream.split(0, 1 << 126)
    stream.put(events(100, 200))
    record_until(stream, tmp_path, 100)
    stream.put(events(200, 250))
    record_until(stream, tmp_path, 50)
    assert sorted(numbers(tmp_path)) == list(range(250))


def test_files_are_finished_by_size(url: str, tmp_path: Path) -> None:
    stream = TestStream(url)
    stream.put(events(0, 500))
    rest = [events(500, 1_000)]

    def put_rest_once_a_file_is_finished(recorded: Recorded) -> None:
        if recorded.files and rest:
            stream.put(rest.pop())

    recorded = record_until(stream, tmp_path, 1_000, put_rest_once_a_file_is_finished, rotate_bytes=1)
    assert recorded.files >= 2
    assert numbers(tmp_path) == list(range(1_000))


def test_a_time_to_record_until_ends_it_when_all_shards_are_there(url: str, tmp_path: Path) -> None:
    stream = TestStream(url, shards=2)
    stream.set(arrives_ago_s=60)
    stream.put(events(0, 100))
    bounds = Bounds(until_ms=1, ends_ms=None, rotate_ms=LONG_MS, rotate_bytes=1 << 40)
    recorded = record(stream.config(), tmp_path, bounds, is_stopped=lambda: False, on_progress=lambda _: None)
    assert recorded.records == 100


@pytest.mark.parametrize("stage", ["before the position", "before the names", "after all names but one"])
def test_a_commit_that_is_cut_short_is_finished_or_never_was(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    stream = TestStream(url, shards=2)
    stream.put(events(0, 50))
    record_until(stream, tmp_path, 50)
    stream.put(events(50, 100))

    class KilledError(Exception):
        pass

    replaced, rename = Path.replace, Path.rename
    renamed: list[Path] = []

    def killed_replace(self: Path, target: Path) -> Path:
        if stage == "before the position":
            raise KilledError
        return replaced(self, target)

    def killed_rename(self: Path, target: Path) -> Path:
        if stage == "before the names" or renamed:
            raise KilledError
        renamed.append(target)
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed_replace)
        patched.setattr(Path, "rename", killed_rename)
        patched.setattr(ShardFiles, "close", lambda files: os.close(files._lock))
        with pytest.raises(KilledError):
            record_until(stream, tmp_path, 50)
    stream.put(events(100, 120))
    already = 0 if stage == "before the position" else 50
    record_until(stream, tmp_path, 70 - already)
    assert sorted(numbers(tmp_path)) == list(range(120))
    assert list(tmp_path.glob(".*unfinished")) == []


def test_a_named_file_that_was_taken_away_stays_away(url: str, tmp_path: Path) -> None:
    stream = TestStream(url)
    stream.put(events(0, 50))
    record_until(stream, tmp_path, 50)
    for file in tmp_path.glob("*.parquet"):
        file.unlink()
    stream.put(events(50, 60))
    record_until(stream, tmp_path, 10)
    assert numbers(tmp_path) == list(range(50, 60))


def test_what_was_read_before_an_error_is_kept(url: str, tmp_path: Path) -> None:
    stream = TestStream(url)
    stream.put(events(0, 50))

    def deny_after_all(recorded: Recorded) -> None:
        if recorded.records == 50:
            stream.fail("GetRecords", "AccessDeniedException", times=1)

    bounds = Bounds(until_ms=None, ends_ms=None, rotate_ms=LONG_MS, rotate_bytes=1 << 40)
    with pytest.raises(KinesisError, match="access denied"):
        record(stream.config(), tmp_path, bounds, is_stopped=lambda: False, on_progress=deny_after_all)
    assert numbers(tmp_path) == list(range(50))


def test_a_directory_that_is_something_else_is_refused(url: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(RecordingDirectoryError, match=r"letter\.txt"):
        ShardFiles(tmp_path / "mine", "stream a")
    of_a = ShardFiles(tmp_path / "a", "stream a")
    of_a.commit({})
    of_a.close()
    with pytest.raises(RecordingDirectoryError, match="stream a, not of stream b"):
        ShardFiles(tmp_path / "a", "stream b")
    held = ShardFiles(tmp_path / "c", "stream c")
    with pytest.raises(RecordingDirectoryError, match="another recording"):
        ShardFiles(tmp_path / "c", "stream c")
    held.close()
    (tmp_path / "a" / POSITION_FILE).write_text("{")
    with pytest.raises(RecordingDirectoryError, match="not a position file"):
        ShardFiles(tmp_path / "a", "stream a")


def headroom(*arguments: str | Path, **environment: str) -> Any:
    return run([HEADROOM, *arguments], capture_output=True, text=True, check=False, stdin=DEVNULL, env=environment)


def test_the_command_records_for_a_while_and_says_what_it_has(url: str, tmp_path: Path) -> None:
    stream = TestStream(url, shards=2)
    stream.put(events(0, 100))
    arguments: list[str | Path] = ["record", stream.name, tmp_path / "day", "--endpoint-url", url, "--region", REGION]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    finished = headroom(*arguments, "--from", "trim_horizon", "--duration", "3s", **keys)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "100 records" in finished.stdout
    assert sorted(numbers(tmp_path / "day")) == list(range(100))


def test_ctrl_c_finishes_the_files(url: str, tmp_path: Path) -> None:
    stream = TestStream(url, shards=2)
    stream.put(events(0, 100))
    command: list[str | Path] = [HEADROOM, "record", stream.name, tmp_path, "--endpoint-url", url, "--region", REGION]
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with Popen([*command, "--from", "trim_horizon"], stdout=PIPE, stderr=PIPE, text=True, env=keys) as process:
        ends_s = monotonic() + 30
        while not list(tmp_path.glob(".*unfinished")):
            assert monotonic() < ends_s
            sleep(0.05)
        sleep(0.5)
        process.send_signal(signal.SIGINT)
        said, complained = process.communicate(timeout=30)
    assert process.returncode == 130, complained
    assert "goes on from here" in complained
    assert "Traceback" not in complained
    assert "100 records" in said
    assert sorted(numbers(tmp_path)) == list(range(100))


def test_mistakes_are_told_in_a_sentence(url: str, tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    at = ["--endpoint-url", url, "--region", REGION]
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "a.txt").write_text("")
    home = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    cases: list[tuple[list[str | Path], dict[str, str], int, str]] = [
        ([*at, "nothing", tmp_path / "a"], keys, 1, "stream nothing: no such stream"),
        ([*at, "nothing", tmp_path / "b"], home, 1, "no AWS credentials were found"),
        (["nothing", tmp_path / "c"], keys | home, 1, "no AWS Region is set"),
        ([*at, "nothing", tmp_path / "taken"], keys, 2, "a.txt"),
        ([*at, "nothing", tmp_path / "d", "--from", "yesterday"], keys, 2, "neither latest"),
        (["--endpoint-url", "nowhere", "--region", REGION, "nothing", tmp_path / "e"], keys, 1, "endpoint"),
    ]
    for arguments, environment, code, said in cases:
        finished = headroom("record", *arguments, **environment)
        assert (finished.returncode, "Traceback" in finished.stderr) == (code, False), finished.stderr
        assert said in finished.stderr


def test_positions_are_by_shard(url: str, tmp_path: Path) -> None:
    stream = TestStream(url)
    stream.put(events(0, 10))
    record_until(stream, tmp_path, 10)
    assert shard_id(0) in (tmp_path / POSITION_FILE).read_text()
