"""The live usage job on Flink's embedded cluster, reading a Kinesis server, held against the batch oracle.

Time goes on by the changes alone here (a margin of an hour), so that the oracle can tell which are late.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import boto3
import pytest

from connectors.dynamodb.fast_path import peek_time_ms
from jobs.execution import ExecutionMode
from jobs.metric_names import LAG, LEDGER, OUTBOX, USAGE
from jobs.runtime import Environment, Recovery, RunningJob, local_environment, newest_checkpoint
from jobs.settings import Settings
from jobs.usage.live import JOB_NAME, define, missing_settings
from jobs.usage.store import LedgerStore
from tests import usage_oracle
from tests.aws_server import aws_server
from tests.flink.job_metrics import documented, names_of, published, with_rest
from tests.flink.streams import settings, stream, told
from tests.kinesis_server import serve

pytestmark = pytest.mark.flink

numbers = itertools.count()


@pytest.fixture(scope="module")
def kinesis() -> Iterator[Any]:
    server, address = serve()
    yield boto3.client("kinesis", region_name="eu-west-1", endpoint_url=address)
    server.shutdown()


@pytest.fixture(scope="module")
def aws(credentials: None) -> Iterator[str]:
    """The address of S3 and Firehose."""
    with aws_server() as url:
        yield url


def at(address: str) -> str:
    return f'region = "eu-west-1"\nendpoint_url = "{address}"\n'


def settings_for(kinesis: Any, usage: str) -> Settings:
    """Settings with a stream of their own."""
    name = f"stream-{next(numbers)}"
    kinesis.create_stream(StreamName=name, ShardCount=2)
    return settings(
        f'[kinesis]\nstream = "{name}"\nregion = "eu-west-1"\nendpoint_url = "{kinesis.meta.endpoint_url}"\n'
        f'initial_position = "trim_horizon"\npoll_interval = "50ms"\nmargin = "1h"\n[usage]\n{usage}\n'
    )


def stream_with_copies(seed: int) -> list[bytes]:
    """A stream with late changes and malformed records, and with copies near and far, some of them contradicting."""
    random, given = Random(seed), stream()
    sound = [each for each in given if each.startswith(b'{"awsRegion"') and each.endswith(b"}")]
    for record in random.sample(sound, 300):
        given.insert(random.randrange(given.index(record), len(given)), record)
    for record in random.sample(sound[100:-1000], 60):
        given.remove(record)
        given.insert(random.randrange(given.index(sound[-1000]), len(given)), record)
    for place in random.sample(range(len(sound) - 1), 20):
        record, near = sound[place], sound[place + 1]
        contradicting = json.loads(near) | {"eventID": json.loads(record)["eventID"]}
        given.insert(given.index(record) + 1, json.dumps(contradicting).encode())
    return given


def closing(records: list[bytes]) -> bytes:
    """A change so much later than all others that every minute of theirs is over."""
    fields = json.loads(records[0])
    fields["dynamodb"]["ApproximateCreationDateTime"] = time_of(records[0]) + 3_000_000
    fields["dynamodb"].pop("ApproximateCreationDateTimePrecision", None)
    return json.dumps(fields | {"eventID": "closing"}).encode()


def time_of(record: bytes) -> int:
    at_ms = peek_time_ms(record)
    assert at_ms is not None
    return at_ms


def put(kinesis: Any, given: Settings, records: list[bytes], seed: int = 0) -> None:
    """Deal records to the shards at random, copies too."""
    random = Random(seed)
    entries = [{"Data": each, "PartitionKey": str(random.random())} for each in records]
    for start in range(0, len(entries), 500):
        kinesis.put_records(StreamName=given.kinesis.stream, Records=entries[start : start + 500])


def put_everywhere(kinesis: Any, given: Settings, record: bytes) -> None:
    """Put a record into each shard, into some of them several times."""
    for number in range(16):
        kinesis.put_record(StreamName=given.kinesis.stream, Data=record, PartitionKey=str(number))


def shards(kinesis: Any, given: Settings) -> dict[str, list[bytes]]:
    """The records of each shard, in order."""
    found = {}
    for shard in kinesis.list_shards(StreamName=given.kinesis.stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=given.kinesis.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        records: list[bytes] = []
        while some := (answer := kinesis.get_records(ShardIterator=iterator))["Records"]:
            records += [each["Data"] for each in some]
            iterator = answer["NextShardIterator"]
        found[shard["ShardId"]] = records
    return found


def expected(kinesis: Any, given: Settings) -> usage_oracle.Judged:
    """What the oracle says, but for the minutes that are not over."""
    judged = usage_oracle.judge(shards(kinesis, given), given)
    ends_ms = max(group[3] for group in judged.rows)
    return judged._replace(rows={group: sums for group, sums in judged.rows.items() if group[3] < ends_ms})


@contextmanager
def running(
    given: Settings,
    directory: Path,
    *,
    leave_savepoint: bool = False,
    prepare: Callable[[Environment], None] = lambda _: None,
) -> Iterator[RunningJob]:
    """A job, from its state where there is any; at the end it is thrown away, or leaves a savepoint."""
    recovery = Recovery(directory / "state", interval_ms=300, restore_from=newest_checkpoint(directory / "state"))
    environment = local_environment(parallelism=2, execution_mode=ExecutionMode.THREAD, recovery=recovery)
    prepare(environment)
    define(environment, given, directory / "out")
    job = RunningJob(environment, JOB_NAME)
    try:
        yield job
        if leave_savepoint:
            job.savepoint(directory / "state")
            return
    except BaseException:
        if not job.has_ended():
            job.cancel()
        raise
    job.cancel()


def wait_until(holds: Callable[[], bool], what: str, job: RunningJob) -> None:
    deadline_s = time.monotonic() + 120
    while not holds():
        assert not job.has_ended(), job.failure()
        assert time.monotonic() < deadline_s, what
        time.sleep(0.1)


def rows_told(directory: Path) -> int:
    path = directory / "out" / "files.jsonl"
    return sum(line["rows"] for line in told(directory / "out", "files.jsonl")) if path.exists() else 0


def test_after_kills_and_a_savepoint_the_ledger_is_what_the_oracle_says(kinesis: Any, tmp_path: Path) -> None:
    given = settings_for(kinesis, f'ledger = "{tmp_path / "ledger"}"\nfile_span = "1m"\n')
    records = stream_with_copies(1)
    ledger = tmp_path / "ledger"
    pieces = [records[at : at + 1 + len(records) // 5] for at in range(0, len(records), 1 + len(records) // 5)]
    for number, piece in enumerate(pieces):
        with running(given, tmp_path, leave_savepoint=number == 2) as job:
            files = len(list(ledger.rglob("*.parquet")))
            put(kinesis, given, piece, seed=number)
            wait_until(lambda before=files: len(list(ledger.rglob("*.parquet"))) > before + 3, "more files", job)  # type: ignore[misc]
    with running(given, tmp_path) as job:
        put_everywhere(kinesis, given, closing(records))
        wanted = expected(kinesis, given)
        wait_until(lambda: usage_oracle.read_ledger(ledger).keys() >= wanted.rows.keys(), "all rows", job)
    assert usage_oracle.read_ledger(ledger) == wanted.rows
    assert wanted.counts["duplicates"] > 250
    assert wanted.counts["conflicts"] > 10
    assert sum(group[5] is not None for group in wanted.rows) > 10
    assert len(told(tmp_path / "out", "conflicts.jsonl")) >= wanted.counts["conflicts"]
    assert len(told(tmp_path / "out", "malformed.jsonl")) > 10
    assert {"shard", "sequence_number"} == set(told(tmp_path / "out", "malformed.jsonl")[0]["position"])


def test_a_ledger_in_s3_is_the_same_and_every_documented_metric_is_there(
    kinesis: Any, aws: str, tmp_path: Path
) -> None:
    s3 = boto3.client("s3", endpoint_url=aws)
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    given = settings_for(kinesis, 'ledger = "s3://bucket/a/ledger"\nfile_span = "5m"\n' + at(aws))
    records = stream_with_copies(2)
    put(kinesis, given, records)
    put_everywhere(kinesis, given, closing(records))
    wanted = expected(kinesis, given)
    addresses: list[str] = []
    with running(given, tmp_path, prepare=lambda environment: addresses.append(with_rest(environment))) as job:
        wait_until(lambda: rows_told(tmp_path) >= len(wanted.rows), "all rows", job)
        rows = len(wanted.rows)
        wait_until(lambda: published(addresses[0]).get("ledger_rows") == rows, f"{rows} ledger_rows", job)
        metrics = published(addresses[0])
    assert documented("The usage job") == set(LEDGER)
    assert names_of(metrics) == {*USAGE, LAG, *documented("Sources and queues")} - set(OUTBOX)
    sums = [sum(each) for each in zip(*wanted.rows.values(), strict=True)]
    assert [metrics[name] for name in ("wcu", "writes", "bytes_written")] == sums
    assert metrics["correction_rows"] == sum(group[5] is not None for group in wanted.rows)
    assert metrics["events"] == metrics["changes"] + metrics["malformed"] + metrics["ignored"]
    assert metrics["ledger_files"] == len(told(tmp_path / "out", "files.jsonl"))
    # Those of minutes that are not over are still to come.
    assert all(0 < metrics[name] <= wanted.counts[name] for name in ("duplicates", "conflicts"))
    store = LedgerStore("s3://bucket/a/ledger", "eu-west-1", aws)
    for path in store.paths():
        (tmp_path / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / path).write_bytes(store.read(path))
    assert usage_oracle.read_ledger(tmp_path / "copy") == wanted.rows


def test_firehose_gets_the_same_rows(kinesis: Any, aws: str, tmp_path: Path) -> None:
    s3, firehose = (boto3.client(name, endpoint_url=aws) for name in ("s3", "firehose"))
    s3.create_bucket(Bucket="sent", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    to = {"RoleARN": "arn:aws:iam::123456789012:role/delivery", "BucketARN": "arn:aws:s3:::sent"}
    firehose.create_delivery_stream(DeliveryStreamName="rows", ExtendedS3DestinationConfiguration=to)
    given = settings_for(kinesis, 'sink = "firehose"\ndelivery_stream = "rows"\n' + at(aws))
    records = stream_with_copies(3)
    put(kinesis, given, records)
    put_everywhere(kinesis, given, closing(records))
    wanted = expected(kinesis, given)
    with running(given, tmp_path) as job:
        wait_until(lambda: rows_told(tmp_path) >= len(wanted.rows), "all rows", job)
    found: dict[usage_oracle.Group, usage_oracle.Sums] = {}
    for listed in s3.list_objects_v2(Bucket="sent")["Contents"]:
        for line in s3.get_object(Bucket="sent", Key=listed["Key"])["Body"].read().splitlines():
            row = json.loads(line)
            columns = ("table", "partition_key", "partition_key_type", "window_start_ms", "event_name", "corrects")
            group = tuple(row[column] for column in columns)
            assert group not in found
            found[group] = row["wcu"], row["writes"], row["bytes_written"]
    assert found == wanted.rows


def test_a_live_run_says_what_it_cannot_do_without() -> None:
    assert [each.partition(":")[0] for each in missing_settings(Settings())] == ["kinesis.stream"]
