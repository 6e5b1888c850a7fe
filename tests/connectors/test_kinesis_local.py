"""The source on a second emulator, npm's kinesis-local, which ends closed shards: where Node and the package are there.

`npm install kinesis-local@0.6.2` puts it where it is looked for.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import monotonic, sleep
from typing import Any

import pytest

from tests.connectors.kinesis_reading import Reading, assert_rows_keep_promises
from tests.kinesis_streams import TestStream

PACKAGE = Path(os.environ.get("KINESIS_LOCAL", "node_modules/kinesis-local"))
START_MS = 1_763_632_800_000

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGE / "main.js").exists(),
    reason="needs Node and the npm package kinesis-local, in node_modules or where KINESIS_LOCAL says",
)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    port = free_port()
    durations = ("CREATE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS")
    environment = {f"{name}_DURATION": "50ms" for name in durations}
    environment |= {"KINESIS_MOCK_PLAIN_PORT": str(port), "KINESIS_MOCK_TLS_PORT": str(free_port())}
    # It looks for its certificate in the directory that it is started from.
    with Popen(
        ["node", "main.js"],  # noqa: S607 - whichever Node is installed
        cwd=PACKAGE,
        env=os.environ | environment,
        stdout=DEVNULL,
        stderr=DEVNULL,
    ) as process:
        ends_s = monotonic() + 60
        while not is_open(port):
            assert monotonic() < ends_s
            sleep(0.1)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def is_open(port: int) -> bool:
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


def active(stream: TestStream) -> TestStream:
    """The stream, once it takes orders again."""
    ends_s = monotonic() + 30
    while stream.client.describe_stream_summary(StreamName=stream.name)["StreamDescriptionSummary"]["StreamStatus"] != (
        "ACTIVE"
    ):
        assert monotonic() < ends_s
        sleep(0.05)
    return stream


def events(first: int, number: int) -> list[dict[str, Any]]:
    return [{"n": each, "at": START_MS + each * 10} for each in range(first, first + number)]


def test_a_split_and_a_merge_lose_nothing_and_children_come_after_their_parents(url: str) -> None:
    stream = active(TestStream(url))
    stream.put_into("lower", events(0, 200))
    with Reading(stream.config(margin_ms=600_000)) as reading:
        reading.until_read(50)
        stream.split(0)
        active(stream).put_into("lower", events(200, 100))
        stream.put_into("upper", events(300, 100))
        reading.until_read(400)
        stream.merge(1, 2)
        active(stream).put_into("upper", events(400, 100))
        reading.until_read(500)
        reading.until(lambda: reading.counted.numbers["finished_shards"] == 3)
    assert reading.events[:200] == list(range(200))
    assert sorted(reading.events[200:400]) == list(range(200, 400))
    assert reading.events[400:] == list(range(400, 500))
    assert reading.late == []
    assert_rows_keep_promises(reading.rows)
