"""How many records a second the Python Kinesis source reads, and which of source and emulator is the limit.

`python -m bench.kinesis_source` fills the tests' Kinesis server with records of 1 KB, and reads them: the bytes of the
answers alone, with boto3, with the source's client, with the source's subtask, and as a Flink job in both execution
modes. The server runs in a process of its own, on the machine's other cores.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from time import perf_counter, process_time, time_ns
from typing import Any, Final

import boto3
from pyflink.table import DataTypes
from pyflink.table.expressions import call_sql, col

from connectors.kinesis.client import KinesisClient
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.positions import OLDEST
from connectors.kinesis.records import Gap, ReadBatch, Row, ShardBatch
from connectors.kinesis.shards import SLOTS
from connectors.kinesis.source import kinesis_table
from connectors.kinesis.state import SlotState
from connectors.kinesis.subtask import POLLS_AT_A_TIME, Subtask
from jobs.execution import ExecutionMode
from jobs.runtime import Recovery, local_environment
from tests.kinesis_streams import REGION, STREAM, server_process

RECORDS: Final = 200_000
RECORD_BYTES: Final = 1_024
SHARDS: Final = 4
AT_ONCE: Final = 10_000
PUT_AT_ONCE: Final = 500


class CountRecords:
    """One row for each batch: how many records it had."""

    def open(self) -> None:
        """Nothing to prepare."""

    def read(self, batch: ShardBatch) -> ReadBatch:
        """The number of records; their time is that of arrival."""
        return ReadBatch([(len(batch.records), batch.low_water_ms)], batch.records[-1].arrival_time_ms)

    def mark(self, low_water_ms: int) -> Row:
        """No records."""
        return (0, low_water_ms)

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[Row]:
        """Nothing is missed here."""
        return ()


class Uncounted:
    """Counts for nobody."""

    def count(self, name: str, number: int = 1) -> None:
        """Forget it."""

    def watch(self, shard_id: str, lag_ms: Callable[[], int]) -> None:
        """Forget it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A way of reading: how long it took, and how much of that this process worked (None where others worked)."""

    way: str
    wall_s: float
    cpu_s: float | None

    def line(self) -> str:
        """A row of a Markdown table."""
        per_core = "" if self.cpu_s is None else f"{RECORDS / self.cpu_s:,.0f}"
        return f"| {self.way} | {RECORDS / self.wall_s:,.0f} | {per_core} |"


def measured(way: str, read: Callable[[], int]) -> Measured:
    """What it takes to read everything in a way."""
    started_s, worked_s = perf_counter(), process_time()
    records = read()
    result = Measured(way, perf_counter() - started_s, process_time() - worked_s)
    if records != RECORDS:
        message = f"{way}: {records} records were read, not {RECORDS}"
        raise RuntimeError(message)
    return result


def fill(url: str) -> None:
    """Write the records."""
    client = boto3.client("kinesis", region_name=REGION, endpoint_url=url)
    client.create_stream(StreamName=STREAM, ShardCount=SHARDS)
    data = os.urandom(RECORD_BYTES)
    for start in range(0, RECORDS, PUT_AT_ONCE):
        records = [{"Data": data, "PartitionKey": str(start + number)} for number in range(PUT_AT_ONCE)]
        client.put_records(StreamName=STREAM, Records=records)


def with_pages(next_page: Callable[[str], tuple[int, str]], iterators: Iterable[str]) -> int:
    """How many records there are behind iterators; a page tells its records and where the next is."""
    total = 0
    for first in iterators:
        iterator = first
        while page := next_page(iterator):
            records, iterator = page
            if not records:
                break
            total += records
    return total


def boto3_client(url: str) -> Any:
    """A client as everybody has it."""
    return boto3.client("kinesis", region_name=REGION, endpoint_url=url)


def iterators(url: str) -> list[str]:
    """An iterator at the beginning of each shard."""
    client = KinesisClient(KinesisConfig(STREAM, REGION, url))
    return [client.iterator(shard.shard_id, OLDEST.iterator_arguments()) for shard in client.shards()]


def read_bytes(url: str) -> int:
    """The answers as bytes that nobody reads: what the server gives."""
    client = boto3_client(url)
    body: dict[str, bytes] = {}

    def keep(response_dict: dict[str, Any], **_: Any) -> None:
        body["last"] = response_dict["body"]
        response_dict["body"] = b"{}"

    client.meta.events.register("before-parse.kinesis.GetRecords", keep)

    def page(iterator: str) -> tuple[int, str]:
        client.get_records(ShardIterator=iterator, Limit=AT_ONCE)
        last = body["last"]
        following = last[last.rindex(b'"NextShardIterator": "') :].split(b'"')[3].decode()
        return last.count(b'"SequenceNumber"'), following

    return with_pages(page, iterators(url))


def read_with_boto3(url: str) -> int:
    """As the manual of boto3 has it."""
    client = boto3_client(url)

    def page(iterator: str) -> tuple[int, str]:
        answer = client.get_records(ShardIterator=iterator, Limit=AT_ONCE)
        return len(answer["Records"]), answer["NextShardIterator"]

    return with_pages(page, iterators(url))


def read_with_client(url: str) -> int:
    """With the source's client, one call after the other."""
    client = KinesisClient(KinesisConfig(STREAM, REGION, url))

    def page(iterator: str) -> tuple[int, str]:
        answer = client.records(iterator, AT_ONCE)
        return len(answer.records), answer.next_iterator or ""

    return with_pages(page, iterators(url))


def read_with_subtask(url: str) -> int:
    """With all that the source does but Flink."""
    config = KinesisConfig(STREAM, REGION, url)
    client = KinesisClient(config, POLLS_AT_A_TIME)
    subtask = Subtask(config, CountRecords(), client, Uncounted(), lambda: time_ns() // 1_000_000)
    total = 0
    for slot in range(SLOTS):
        subtask.give(slot, SlotState())
    while total < RECORDS:
        for slot in range(SLOTS):
            total += sum(row[0] for row in subtask.turn(slot))
    subtask.close()
    return total


def read_with_flink(url: str, mode: ExecutionMode) -> Measured:
    """As a Flink job, from the time at which its first row came out of Python to that of its last.

    The start of Flink is not counted, nor is the way of a row to this process: that waits for a checkpoint.
    """
    state = Path(tempfile.mkdtemp(prefix="headroom-bench-"))
    environment = local_environment(parallelism=1, execution_mode=mode, recovery=Recovery(state))
    columns = {"records": DataTypes.BIGINT(), "low_water_ms": DataTypes.BIGINT()}
    config = KinesisConfig(STREAM, REGION, url)
    rows = kinesis_table(environment.streams, environment.tables, config, CountRecords(), columns)
    # CURRENT_ROW_TIMESTAMP is asked for each row, where the row leaves the Python operator.
    stamped = rows.where(col("records") > 0).select(
        col("records"), call_sql("CAST(CAST(CURRENT_ROW_TIMESTAMP() AS TIMESTAMP(3)) AS STRING)").alias("left_at")
    )
    batches: list[tuple[datetime, int]] = []
    # One by one: the stream never ends, and whoever waits for several rows of it at once waits for ever.
    with environment.tables.to_data_stream(stamped).execute_and_collect("bench") as rows_read:
        for row in rows_read:
            batches.append((datetime.fromisoformat(row[1]), row[0]))
            if sum(records for _, records in batches) == RECORDS:
                break
    (first_at, first), (last_at, _) = min(batches), max(batches)
    wall_s = (last_at - first_at).total_seconds() * RECORDS / (RECORDS - first)
    return Measured(f"a Flink job, {mode.value} mode", wall_s, None)


def main() -> None:
    """Measure all ways, the Flink jobs in processes of their own: one has one JVM."""
    if len(sys.argv) > 1:
        sys.stdout.write(read_with_flink(sys.argv[1], ExecutionMode(sys.argv[2])).line() + "\n")
        sys.stdout.flush()
        os._exit(0)
    with server_process() as url:
        sys.stderr.write(f"filling {SHARDS} shards with {RECORDS:,} records of {RECORD_BYTES} bytes\n")
        fill(url)
        ways = {
            "the bytes of the answers alone": read_bytes,
            f"boto3 {boto3.__version__}": read_with_boto3,
            "the source's client": read_with_client,
            "the source's subtask": read_with_subtask,
        }
        sys.stdout.write("| read with | records/s | records per second of processor time |\n|---|---|---|\n")
        for way, read in ways.items():
            sys.stdout.write(measured(way, partial(read, url)).line() + "\n")
            sys.stdout.flush()
        for mode in ExecutionMode:
            subprocess.run([sys.executable, "-m", "bench.kinesis_source", url, mode.value], check=True)  # noqa: S603


if __name__ == "__main__":
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "bench")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "bench")
    main()
