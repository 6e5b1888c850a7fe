"""A storm of interruption warnings through the live job: how long until the action can be received. I/O.

The stream and the queue are moto's, the job is `headroom run spot` in a process of its own: its Kinesis source, its
graph, its outbox. Each warning comes with a rebalance recommendation and a second delivery, as storms do.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import boto3

from jobs.execution import ExecutionMode
from tests.aws_server import aws_server

WARNINGS: Final = 200
STORM_S: Final = 10.0

_REGION: Final = "eu-west-1"
_ACCOUNT: Final = "123456789012"
_PATIENCE_S: Final = 120.0
_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",  # what moto takes, and no secret
    "AWS_REGION": _REGION,
    "AWS_DEFAULT_REGION": _REGION,
}


def measure() -> Mapping[str, Mapping[str, str | int | float]]:
    """Seconds from PutRecord to receipt, in both execution modes; and that each instance got one action."""
    return {f"{mode.value} mode": _storm(mode) for mode in (ExecutionMode.THREAD, ExecutionMode.PROCESS)}


def _storm(mode: ExecutionMode) -> dict[str, str | int | float]:
    os.environ |= _CREDENTIALS
    with aws_server() as endpoint:
        kinesis, sqs = (boto3.client(name, endpoint_url=endpoint, region_name=_REGION) for name in ("kinesis", "sqs"))
        stream = f"events-{mode}"
        kinesis.create_stream(StreamName=stream, ShardCount=1)
        queue = sqs.create_queue(QueueName=f"spot-{mode}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        with (
            tempfile.TemporaryDirectory(prefix="headroom-storm-") as directory,
            _job(Path(directory), endpoint, stream, queue, mode),
        ):
            _wait_until_it_reads(kinesis, stream, Path(directory))
            return _ride(kinesis, sqs, stream, queue)


@contextmanager
def _job(directory: Path, endpoint: str, stream: str, queue: str, mode: ExecutionMode) -> Iterator[None]:
    (directory / "spot.toml").write_text(
        f'[kinesis]\nstream = "{stream}"\nendpoint_url = "{endpoint}"\ninitial_position = "trim_horizon"\n'
        f'[sqs]\nqueue_url = "{queue}"\nendpoint_url = "{endpoint}"\n'
    )
    command = [str(Path(sys.executable).parent / "headroom"), "run", "spot", "--config", "spot.toml", "--out", "out"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - the project's own command
            [*command, "--execution-mode", mode.value], cwd=directory, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_PATIENCE_S)


def _wait_until_it_reads(kinesis: Any, stream: str, directory: Path) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    status = directory / "out" / "status.json"
    while not (status.exists() and json.loads(status.read_text())["records"]):
        _put(kinesis, stream, "EC2 Instance State-change Notification", 0, {"state": "running"})
        time.sleep(1)
        if time.monotonic() > until_s:
            raise TimeoutError((directory / "log").read_text(errors="replace"))


def _ride(kinesis: Any, sqs: Any, stream: str, queue: str) -> dict[str, str | int | float]:
    put_s: dict[str, float] = {}
    received_s: dict[str, list[float]] = {}
    done = threading.Event()
    receiver = threading.Thread(target=_receive, args=(sqs, queue, received_s, done))
    receiver.start()
    began_s = time.monotonic()
    for number in range(1, WARNINGS + 1):
        time.sleep(max(0.0, began_s + number * STORM_S / WARNINGS - time.monotonic()))
        put_s[_instance(number)] = time.monotonic()
        _put(kinesis, stream, "EC2 Spot Instance Interruption Warning", number, {"instance-action": "terminate"})
        _put(kinesis, stream, "EC2 Instance Rebalance Recommendation", number, {})
        _put(kinesis, stream, "EC2 Spot Instance Interruption Warning", number, {"instance-action": "terminate"})
    lasted_s = time.monotonic() - began_s
    until_s = time.monotonic() + _PATIENCE_S
    while len(received_s) < WARNINGS and time.monotonic() < until_s:
        time.sleep(0.1)
    time.sleep(3)  # for any action too many
    done.set()
    receiver.join()
    waits_s = sorted(times[0] - put_s[instance_id] for instance_id, times in received_s.items())
    hundredths = quantiles(waits_s, n=100, method="inclusive")
    return {
        "warnings": WARNINGS,
        "in s": round(lasted_s, 1),
        "actions": sum(map(len, received_s.values())),
        "instances": len(received_s),
        "p50 s": round(hundredths[49], 3),
        "p99 s": round(hundredths[98], 3),
        "max s": round(waits_s[-1], 3),
    }


def _receive(sqs: Any, queue: str, received_s: dict[str, list[float]], done: threading.Event) -> None:
    while not done.is_set():
        answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0)
        now_s = time.monotonic()
        for message in answer.get("Messages", []):
            received_s.setdefault(json.loads(message["Body"])["instance_id"], []).append(now_s)
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        if not answer.get("Messages"):
            time.sleep(0.02)


def _instance(number: int) -> str:
    return f"i-{number:017x}"


def _put(kinesis: Any, stream: str, detail_type: str, number: int, detail: dict[str, str]) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    event = {
        "version": "0",
        "id": f"{detail_type}-{number}",
        "detail-type": detail_type,
        "source": "aws.ec2",
        "account": _ACCOUNT,
        "time": now,
        "region": _REGION,
        "resources": [],
        "detail": {"instance-id": _instance(number), **detail},
    }
    kinesis.put_record(StreamName=stream, Data=json.dumps(event).encode(), PartitionKey=str(number))
