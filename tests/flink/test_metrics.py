"""Every documented metric exists in a running job, and none besides: read back by Flink's REST API, as numbers."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.capacity import live as capacity
from jobs.execution import ExecutionMode
from jobs.generate import records
from jobs.metric_names import ACTION_DELAY, CAPACITY, LAG, RULES, SPOT_DECIDED, SPOT_READ
from jobs.runtime import Recovery, RunningJob, local_environment
from jobs.settings import Settings
from jobs.spot import live as spot
from tests.flink.job_metrics import documented, names_of, published, with_rest
from tests.flink.test_live import (  # noqa: F401 - two are fixtures
    kinesis,
    lines_of,
    now_ms,
    profile,
    put,
    settings_for,
    sqs,
    wait_until,
)
from tests.oracle import judge

pytestmark = pytest.mark.flink

WARNED = "i-0123456789abcdef0"


@contextmanager
def running(job: Any, settings: Settings, directory: Path) -> Iterator[str]:
    """The address of a cluster that runs a job."""
    environment = local_environment(
        parallelism=1, execution_mode=ExecutionMode.THREAD, recovery=Recovery(directory / "state")
    )
    address = with_rest(environment)
    job.define(environment, settings, directory / "out")
    run = RunningJob(environment, job.JOB_NAME)
    try:
        yield address
    finally:
        run.cancel()


def test_a_running_capacity_job_has_every_metric_that_is_documented(
    kinesis: Any,  # noqa: F811
    sqs: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings = settings_for(kinesis, sqs, '[rules]\nstream = "rules-of-metrics"\n')
    kinesis.create_stream(StreamName="rules-of-metrics", ShardCount=1)
    content = list(records(profile(now_ms() - 30_000)))
    put(kinesis, settings, content)
    decided = len(judge([content], settings).actions)
    assert decided > 0
    wanted = {"events": len(content), "kinesis.records": len(content), "suspensions": decided, "outbox.sent": decided}
    with running(capacity, settings, tmp_path) as address:
        wait_until(
            lambda: {name: published(address).get(name) for name in wanted} == wanted, f"the counts are not {wanted}"
        )
        found = published(address)
    assert names_of(found) == documented("The capacity job") | documented("Sources and queues")
    assert documented("The capacity job") == {*CAPACITY, *RULES, ACTION_DELAY, LAG}
    assert found["events"] == found["changes"] + found["malformed"] + found["ignored"]
    assert found["malformed"] == len(lines_of(tmp_path / "out", "malformed.jsonl")) > 0
    assert found[LAG] > 0
    assert found[ACTION_DELAY] > 0
    assert any(re.fullmatch(r"kinesis\.shard\..+\.millisBehindLatest", name) for name in found)


def test_a_running_spot_job_has_every_metric_that_is_documented(
    kinesis: Any,  # noqa: F811
    sqs: Any,  # noqa: F811
    tmp_path: Path,
) -> None:
    settings = settings_for(kinesis, sqs)
    put(kinesis, settings, [_warning(), b"no event", json.dumps({"source": "aws.s3"}).encode()])
    with running(spot, settings, tmp_path) as address:
        wait_until(lambda: published(address).get("outbox.sent") == 1, "nothing was sent")
        wait_until(lambda: published(address)["events"] == 3, "not all was counted")
        found = published(address)
    assert names_of(found) == documented("The Spot job") | documented("Sources and queues")
    assert documented("The Spot job") == {*SPOT_READ, *SPOT_DECIDED, ACTION_DELAY, LAG}
    counted = {name: found[name] for name in (*SPOT_READ, *SPOT_DECIDED) if found[name]}
    assert counted.pop("malformed") + counted.pop("ignored", 0) == 2
    assert counted.pop("pool_changes", 0) <= 1
    assert counted == {"events": 3, "interruption_warning": 1, "replacements": 1}


def _warning() -> bytes:
    event = {
        "version": "0",
        "id": "warning",
        "detail-type": "EC2 Spot Instance Interruption Warning",
        "source": "aws.ec2",
        "account": "123456789012",
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": "eu-west-1",
        "resources": [],
        "detail": {"instance-id": WARNED, "instance-action": "terminate"},
    }
    return json.dumps(event).encode()
