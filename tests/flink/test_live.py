"""The live graph on Flink's embedded cluster, between a Kinesis server and moto's SQS (thread mode, one JVM)."""

import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from jobs.capacity.live import JOB_NAME, define, missing_settings
from jobs.execution import ExecutionMode
from jobs.generate import Misbehaving, Profile, SizeRange, records
from jobs.runtime import Recovery, RunningJob, local_environment
from jobs.settings import Settings
from jobs.settings.load import parse_settings
from tests.aws_server import aws_server
from tests.flink.streams import told
from tests.kinesis_server import serve
from tests.oracle import judge

pytestmark = pytest.mark.flink

numbers = itertools.count()
SETTINGS = """
[window]
size = "10s"
step = "1s"
[limits]
default_wcu = 60
[lease]
steps = ["10m"]
[tables.conversations]
partition_key = "pk"
"""


@pytest.fixture(scope="module")
def kinesis() -> Iterator[Any]:
    server, address = serve()
    yield boto3.client("kinesis", region_name="eu-west-1", endpoint_url=address)
    server.shutdown()


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    with aws_server() as endpoint:
        yield boto3.client("sqs", region_name="eu-west-1", endpoint_url=endpoint)


def profile(start_ms: int, duplicates: float = 0.0) -> Profile:
    wild = tuple(
        Misbehaving(f"runaway-{at_ms}", at_ms, 4_000, 30.0, (SizeRange(200, 2_000),))
        for at_ms in range(500, 14_000, 1_500)
    )
    return Profile(
        seed=5,
        duration_ms=20_000,
        start_ms=start_ms,
        rate_per_s=60,
        tenants=400,
        zipf=0,
        misbehaving=wild,
        item_bytes=(SizeRange(40, 900),),
        duplicates=duplicates,
        disorder_ms=1_500,
        late=0,
        malformed=0.01,
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def settings_for(kinesis: Any, sqs: Any, more: str = "", subtasks: int = 1) -> Settings:
    """Settings with a stream and a queue of their own."""
    name = f"stream-{next(numbers)}"
    kinesis.create_stream(StreamName=name, ShardCount=2)
    queue = sqs.create_queue(QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    ends = (
        f'[kinesis]\nstream = "{name}"\nregion = "eu-west-1"\nendpoint_url = "{kinesis.meta.endpoint_url}"\n'
        f'initial_position = "trim_horizon"\npoll_interval = "200ms"\nsubtasks = {subtasks}\n'
        f'[sqs]\nqueue_url = "{queue}"\nregion = "eu-west-1"\nendpoint_url = "{sqs.meta.endpoint_url}"\n'
    )
    return parse_settings((more + SETTINGS + ends).encode(), "test settings")


def put(kinesis: Any, settings: Settings, content: Sequence[bytes]) -> None:
    # What comes twice comes in the same shard, as from a producer that tries again.
    entries = [{"Data": each, "PartitionKey": str(zlib.crc32(each))} for each in content]
    for start in range(0, len(entries), 500):
        kinesis.put_records(StreamName=settings.kinesis.stream, Records=entries[start : start + 500])


@contextmanager
def running(settings: Settings, directory: Path) -> Iterator[Path]:
    """The directory of what a job keeps, while it runs."""
    environment = local_environment(
        parallelism=1,
        execution_mode=ExecutionMode.THREAD,
        recovery=Recovery(directory / "state", interval_ms=2_000),
        slots=settings.kinesis.subtasks,
    )
    define(environment, settings, directory / "out")
    job = RunningJob(environment, JOB_NAME)
    try:
        yield directory / "out"
    finally:
        job.cancel()


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.1)


def lines_of(out: Path, name: str) -> list[dict[str, Any]]:
    return told(out, name) if (out / name).exists() else []


def received(sqs: Any, settings: Settings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = sqs.receive_message(
            QueueUrl=settings.sqs.queue_url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        if "Messages" not in answer:
            return found
        found += answer["Messages"]


@pytest.mark.parametrize(("duplicates", "subtasks"), [(0.01, 1), (0.5, 2)])
def test_what_is_sent_is_what_the_oracle_says_however_much_comes_twice_and_however_many_read(
    duplicates: float, subtasks: int, kinesis: Any, sqs: Any, tmp_path: Path
) -> None:
    settings = settings_for(kinesis, sqs, subtasks=subtasks)
    start_ms = now_ms() - 30_000
    content = list(records(profile(start_ms, duplicates)))
    expected = judge([list(dict.fromkeys(content))], settings).actions
    assert len(expected) >= 8
    put(kinesis, settings, content)
    with running(settings, tmp_path) as out:
        wait_until(lambda: len(lines_of(out, "delivery.jsonl")) >= len(expected), "not all was sent")
        wait_until(lambda: (out / "status.json").exists(), "no status")
    messages = received(sqs, settings)
    assert {message["Body"] for message in messages} == {json.dumps(action) for action in expected}
    for message in messages:
        action = json.loads(message["Body"])
        assert message["Attributes"]["MessageDeduplicationId"] == action["action_id"]
        assert message["Attributes"]["MessageGroupId"] == f"{action['table']}:{action['partition_key']}"
    assert lines_of(out, "late.jsonl") == []
    assert len(lines_of(out, "malformed.jsonl")) > 0
    assert all("shard" in line["position"] for line in lines_of(out, "malformed.jsonl"))
    # In an idle machine it is a twentieth of a second; a busy one may take its time.
    delays_ms = [line["sent_at_ms"] - line["decided_at_ms"] for line in lines_of(out, "delivery.jsonl")]
    assert sorted(delays_ms)[len(delays_ms) // 2] < 2_000


def test_in_shadow_everything_is_decided_and_nothing_is_sent(kinesis: Any, sqs: Any, tmp_path: Path) -> None:
    settings = settings_for(kinesis, sqs, "shadow = true\n")
    content = list(records(profile(now_ms() - 30_000)))
    expected = judge([content], settings).actions
    put(kinesis, settings, content)
    with running(settings, tmp_path) as out:
        wait_until(lambda: len(lines_of(out, "shadow.jsonl")) >= len(expected), "not all was decided")
    assert sorted(line["action_id"] for line in lines_of(out, "shadow.jsonl")) == sorted(
        action["action_id"] for action in expected
    )
    assert received(sqs, settings) == []


def test_a_job_that_catches_up_suspends_nobody_for_what_is_long_over(kinesis: Any, sqs: Any, tmp_path: Path) -> None:
    settings = settings_for(kinesis, sqs)
    stale = list(records(profile(now_ms() - 3_600_000)))
    put(kinesis, settings, stale)
    fresh = list(records(profile(now_ms() - 30_000)))
    put(kinesis, settings, fresh)
    expected_stale = {action["action_id"] for action in judge([stale], settings).actions}
    expected = {action["action_id"] for action in judge([stale + fresh], settings).actions}
    with running(settings, tmp_path) as out:
        wait_until(lambda: len(lines_of(out, "delivery.jsonl")) >= len(expected - expected_stale), "not all was sent")
    undelivered = lines_of(out, "undelivered.jsonl")
    assert {line["deduplication_id"] for line in undelivered} == expected_stale
    assert {line["outcome"] for line in undelivered} == {"expired"}
    sent = {json.loads(message["Body"])["action_id"] for message in received(sqs, settings)}
    assert sent == expected - expected_stale


def test_a_live_run_says_what_it_cannot_do_without() -> None:
    assert [each.partition(":")[0] for each in missing_settings(Settings())] == ["kinesis.stream", "sqs.queue_url"]
    assert [each.partition(":")[0] for each in missing_settings(Settings(shadow=True))] == ["kinesis.stream"]
