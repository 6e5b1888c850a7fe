"""Rules that come by a control stream in the middle of a live run, on the embedded cluster (thread mode, one JVM)."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import boto3
import pytest

from jobs.capacity.live import JOB_NAME, define
from jobs.execution import ExecutionMode
from jobs.generate import Misbehaving, Profile, SizeRange, records
from jobs.runtime import Recovery, RunningJob, local_environment, newest_checkpoint
from jobs.settings import Settings
from jobs.settings.load import parse_settings
from tests.aws_server import aws_server
from tests.flink.job_metrics import published, with_rest
from tests.flink.test_live import lines_of, now_ms, put, wait_until
from tests.kinesis_server import serve

pytestmark = pytest.mark.flink

SETTINGS = """
[window]
size = "4s"
step = "1s"
out_of_orderness = "500ms"
[limits]
default_wcu = 1000
[lease]
steps = ["1s"]
decay = "1s"
[tables.conversations]
partition_key = "pk"
[rules]
stream = "rules"
lowest_warn_wcu = 10
"""
LOWER = "[rules.limits]\ndefault_wcu = {wcu}\n"


@pytest.fixture(scope="module")
def kinesis() -> Iterator[Any]:
    server, address = serve()
    yield boto3.client("kinesis", region_name="eu-west-1", endpoint_url=address)
    server.shutdown()


@pytest.fixture(scope="module")
def sqs() -> Iterator[Any]:
    with aws_server() as endpoint:
        yield boto3.client("sqs", region_name="eu-west-1", endpoint_url=endpoint)


@contextmanager
def running(settings: Settings, directory: Path, restore_from: Path | None = None) -> Iterator[str]:
    """The address of the cluster that runs the job."""
    environment = local_environment(
        parallelism=1,
        execution_mode=ExecutionMode.THREAD,
        recovery=Recovery(directory / "state", interval_ms=1_000, restore_from=restore_from),
    )
    address = with_rest(environment)
    define(environment, settings, directory / "out")
    job = RunningJob(environment, JOB_NAME)
    try:
        yield address
    finally:
        job.cancel()


@contextmanager
def one_key_writes_all_the_time(kinesis: Any, settings: Settings) -> Iterator[None]:
    """About 200 WCU in each window of 4 s, by one key, as time goes by."""
    stop = Event()

    def write() -> None:
        start_ms = now_ms()
        while not stop.wait(max(0, start_ms - now_ms()) / 1000):
            put(kinesis, settings, list(records(_one_second(start_ms))))
            start_ms += 1_000

    thread = Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _one_second(start_ms: int) -> Profile:
    wild = (Misbehaving("runaway", 0, 1_000, 50.0, (SizeRange(200, 900),)),)
    return Profile(
        seed=5,
        duration_ms=1_000,
        start_ms=start_ms,
        rate_per_s=5,
        tenants=400,
        zipf=0,
        misbehaving=wild,
        item_bytes=(SizeRange(40, 900),),
        duplicates=0.0,
        disorder_ms=0,
        late=0,
        malformed=0,
    )


def test_a_version_on_the_control_stream_changes_decisions_and_a_broken_one_nothing(
    kinesis: Any, sqs: Any, tmp_path: Path
) -> None:
    for name, shards in (("changes", 2), ("rules", 1)):
        kinesis.create_stream(StreamName=name, ShardCount=shards)
    queue = sqs.create_queue(QueueName="actions.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    ends = (
        f'[kinesis]\nstream = "changes"\nregion = "eu-west-1"\nendpoint_url = "{kinesis.meta.endpoint_url}"\n'
        f'initial_position = "trim_horizon"\npoll_interval = "200ms"\nmargin = "100ms"\n'
        f'[sqs]\nqueue_url = "{queue}"\nregion = "eu-west-1"\nendpoint_url = "{sqs.meta.endpoint_url}"\n'
    )
    settings = parse_settings((SETTINGS.replace("1000", "100") + ends).encode(), "test settings")

    def tell(text: str) -> None:
        kinesis.put_record(StreamName="rules", PartitionKey="rules", Data=text.encode())

    def rules() -> list[str]:
        return [line["evidence"]["rule"] for line in lines_of(tmp_path / "out", "actions.jsonl")]

    def names(rule: str, since: int = 0) -> Callable[[], bool]:
        return lambda: rule in rules()[since:]

    with one_key_writes_all_the_time(kinesis, settings):
        with running(settings, tmp_path) as address:
            wait_until(names("default@0"), "nothing was decided by the settings")
            tell("[[rules]]\nversion = 2\n" + LOWER.format(wcu=50))
            wait_until(names("default@2"), "nothing was decided by version 2")
            wait_until(lambda: published(address).get("rules_applied") == 1, "version 2 was not counted")
            tell("[[rules]]\nversion = 3\n" + LOWER.format(wcu=-1))
            wait_until(lambda: published(address).get("rules_refused") == 1, "version 3 was not refused")
            since = len(rules())
            wait_until(names("default@2", since), "nothing was decided after the broken version")
            assert published(address)["rules_applied"] == 1
            applied_at_ms = now_ms()
            wait_until(lambda: _checkpointed_since(tmp_path / "state", applied_at_ms), "no checkpoint")
        seen = rules()
        assert seen == ["default@0"] * seen.count("default@0") + ["default@2"] * seen.count("default@2")
        # What it goes on from has read the stream of rules to its end: they are in its state, or nowhere.
        with running(settings, tmp_path, restore_from=newest_checkpoint(tmp_path / "state")) as address:
            wait_until(lambda: len(rules()) > len(seen) + 2, "nothing was decided after the restart")
            assert set(rules()[len(seen) :]) == {"default@2"}
            assert published(address).get("rules_applied", 0) == 0
            tell("[[rules]]\nversion = 4\n" + LOWER.format(wcu=40))
            wait_until(names("default@4"), "nothing was decided by version 4")
    # Whoever sent rules reads what became of them.
    told = lines_of(tmp_path / "out", "rules.jsonl")
    assert [(line["outcome"], line.get("version")) for line in told] == [
        ("applied", 2),
        ("refused", None),
        ("applied", 4),
    ]
    assert "default_wcu: -1 is not allowed" in told[1]["reason"]
    for line in lines_of(tmp_path / "out", "actions.jsonl"):
        assert (
            json.dumps(line["evidence"]["limit_wcu"])
            == {"0": "100", "2": "50", "4": "40"}[line["evidence"]["rule"].rpartition("@")[2]]
        )


def _checkpointed_since(directory: Path, at_ms: int) -> bool:
    newest = newest_checkpoint(directory)
    return newest is not None and (newest / "_metadata").stat().st_mtime_ns // 1_000_000 > at_ms
