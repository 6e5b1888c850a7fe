"""Streams of the test server, as tests write to them and meddle with them."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from sys import executable
from typing import Any
from urllib.request import Request, urlopen

import boto3

from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.positions import OLDEST
from connectors.kinesis.records import Gap, ReadBatch, Row, ShardBatch

REGION = "eu-west-1"
STREAM = "changes"
MIDDLE_KEY = 1 << 127
KEY_IN = {"lower": "6", "upper": "1"}  # by their MD5


class TestStream:
    """A stream on the test server."""

    __test__ = False

    def __init__(self, url: str, shards: int = 1, name: str = STREAM) -> None:
        self.url = url
        self.name = name
        self.client = boto3.client("kinesis", region_name=REGION, endpoint_url=url)
        self.client.create_stream(StreamName=name, ShardCount=shards)

    def config(self, **changes: Any) -> KinesisConfig:
        """How the source reads it, faster than by default."""
        quick: dict[str, Any] = {"start": OLDEST, "poll_interval_ms": 20, "discovery_interval_ms": 200}
        return KinesisConfig(self.name, REGION, self.url, **quick | changes)

    def put(self, events: Iterable[dict[str, Any]], keys: int = 1_000) -> None:
        """Write events, over so many partition keys by their number."""
        self.put_data((json.dumps(event).encode(), str(number % keys)) for number, event in enumerate(events))

    def put_into(self, hash_side: str, events: Iterable[dict[str, Any]]) -> None:
        """Write events into the lower or the upper half of the hash keys."""
        self.put_data((json.dumps(event).encode(), KEY_IN[hash_side]) for event in events)

    def put_data(self, data: Iterable[tuple[bytes, str]]) -> None:
        """Write records, each with its partition key."""
        records = [{"Data": each, "PartitionKey": key} for each, key in data]
        for start in range(0, len(records), 500):
            self.client.put_records(StreamName=self.name, Records=records[start : start + 500])

    def split(self, shard: int, at: int = MIDDLE_KEY) -> None:
        """Split a shard."""
        self.client.split_shard(StreamName=self.name, ShardToSplit=shard_id(shard), NewStartingHashKey=str(at))

    def merge(self, lower: int, upper: int) -> None:
        """Merge two shards."""
        self.client.merge_shards(
            StreamName=self.name, ShardToMerge=shard_id(lower), AdjacentShardToMerge=shard_id(upper)
        )

    def fail(self, operation: str, code: str, times: int = 1, status: int = 400) -> None:
        """Have the next calls of an operation fail."""
        order(self.url, "Fail", {"operation": operation, "code": code, "times": times, "status": status})

    def set(self, **settings: float) -> None:
        """Change how long iterators live, how long ago records arrive, how many are given at once."""
        order(self.url, "Set", settings)

    def trim(self, shard: int, records: int) -> None:
        """Drop the oldest records of a shard."""
        order(self.url, "Trim", {"stream": self.name, "shard": shard_id(shard), "records": records})


def order(url: str, what: str, request: dict[str, Any]) -> Any:
    """Tell the server something that AWS knows nothing of."""
    headers = {"X-Amz-Target": f"Test.{what}"}
    with urlopen(Request(url, json.dumps(request).encode(), headers)) as answer:  # noqa: S310 - our own server
        return json.load(answer)


def shard_id(number: int) -> str:
    return f"shardId-{number:012d}"


@contextmanager
def server_process() -> Iterator[str]:
    """The address of a server in a process of its own: beside PyFlink no thread may run while a job is built."""
    with Popen([executable, "-m", "tests.kinesis_server"], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


class ReadEvents:
    """What tests make of records: a row for each event `{"n": number, "at": milliseconds}`, late ones marked."""

    def __init__(self, out_of_orderness_ms: int = 2_000) -> None:
        self._out_of_orderness_ms = out_of_orderness_ms

    def open(self) -> None:
        """Nothing to prepare."""

    def read(self, batch: ShardBatch) -> ReadBatch:
        """A row for each event: number, time, low-water mark, and what it is."""
        progress_ms = batch.progress_ms
        rows: list[Row] = []
        for record in batch.records:
            event = json.loads(record.data)
            progress_ms = max(progress_ms, event["at"])
            is_late = event["at"] < max(progress_ms - self._out_of_orderness_ms, batch.late_before_ms)
            rows.append((event["n"], event["at"], batch.low_water_ms, "late" if is_late else "event"))
        return ReadBatch(rows, progress_ms)

    def mark(self, low_water_ms: int) -> Row:
        """A row that only tells the time."""
        return (-1, low_water_ms, low_water_ms, "mark")

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[Row]:
        """A row for the records lost."""
        return [(-1, gap.after_ms, low_water_ms, f"gap {gap.shard_id}")]
