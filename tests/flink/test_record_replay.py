"""A recording that `headroom record` made says in a replay what the same records say as lines."""

from pathlib import Path

import pytest

from connectors.recordings.files import find_recordings
from jobs.capacity.replay import replay
from jobs.execution import ExecutionMode
from jobs.record import Bounds, record
from tests.flink.streams import assert_result_is, dealt, judge, settings, stream, write
from tests.kinesis_server import serve
from tests.kinesis_streams import KEY_IN, TestStream

pytestmark = pytest.mark.flink


def test_a_recording_of_a_stream_gives_the_same_bytes_as_its_records_in_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    shards = dealt(stream(), 2)
    recorded, lines = tmp_path / "recorded", tmp_path / "lines"
    lines.mkdir()
    for number, content in enumerate(shards):
        write(lines / f"{number}.jsonl", [row for row in content if row])
    record_all(shards, recorded)
    assert len(find_recordings([recorded])) == 2
    for directory in (recorded, lines):
        replay(
            find_recordings([directory]),
            settings(),
            directory.with_suffix(".out"),
            parallelism=2,
            execution_mode=ExecutionMode.THREAD,
            on_progress=lambda _: None,
        )
    assert_result_is(judge(shards, settings()), tmp_path / "recorded.out")
    for name in ("actions.jsonl", "windows.jsonl"):
        of_both = [(tmp_path / out / name).read_bytes() for out in ("recorded.out", "lines.out")]
        assert of_both[0] == of_both[1]
        assert of_both[0]


def record_all(shards: list[list[bytes]], directory: Path) -> None:
    """Write each list into a shard of its own, and record both; no thread of the server is left."""
    server, url = serve()
    try:
        kinesis = TestStream(url, shards=2)
        for key, content in zip(KEY_IN.values(), shards, strict=True):
            kinesis.put_data((data, key) for data in content)
        total = sum(map(len, shards))
        seen = [0]

        def note(records: int) -> None:
            seen[0] = records

        record(
            kinesis.config(out_of_orderness_ms=0),
            directory,
            Bounds(until_ms=None, ends_ms=None, rotate_ms=3_600_000, rotate_bytes=1 << 40),
            is_stopped=lambda: seen[0] >= total,
            on_progress=lambda recorded: note(recorded.records),
        )
    finally:
        server.shutdown()
        server.server_close()
