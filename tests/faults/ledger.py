"""What is done to the usage job, and how its ledger differs from the oracle's after each fault, row by row.

Time in the stream goes on quicker than here, and by the changes alone (a margin of an hour), so that the oracle, which
has no clock, can tell which are late. The oracle is given the records of each shard as they stand in the stream.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import boto3

from connectors.dynamodb.fast_path import peek_time_ms
from jobs.execution import ExecutionMode
from jobs.generate import Profile, SizeRange, records
from jobs.settings.load import parse_settings
from jobs.up.services import free_port
from tests import usage_oracle
from tests.aws_server import aws_server
from tests.faults.cluster import Cluster
from tests.faults.loop import VARIABLES, Fault, Row, descendants
from tests.kinesis_server import serve
from tests.lambdas.tcp_proxy import TcpProxy

_STREAM = "changes"
_BUCKET = "bucket"
_QUICKER = 12  # minutes in the stream to one here
_MINUTE_MS = 60_000
_LENGTH_MS = 3 * 3_600_000
_IS_RUNNING = "the job is running"
_PATIENCE_S = 400.0


@dataclass
class LedgerLoop:
    """A stream, the usage job as a process, and its ledger in a directory or in S3."""

    directory: Path
    in_s3: bool
    execution_mode: str = "thread"
    cluster: str | None = None
    faults: list[Fault] = field(default_factory=list)
    recovered_s: list[float] = field(default_factory=list)
    job: subprocess.Popen[bytes] | None = None
    event_ms: int = 0  # how far the stream is

    def __enter__(self) -> Self:
        with ExitStack() as begun:
            begun.enter_context(patch.dict(os.environ, VARIABLES))
            server, self._kinesis_url = serve()
            begun.callback(server.shutdown)
            self._kinesis = boto3.client("kinesis", endpoint_url=self._kinesis_url)
            self._kinesis.create_stream(StreamName=_STREAM, ShardCount=2)
            self.s3_port = int(begun.enter_context(aws_server()).rpartition(":")[2])
            self.s3 = TcpProxy(self.s3_port)
            begun.callback(self.s3.close)
            self._bucket = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{self.s3_port}")
            place = {"LocationConstraint": VARIABLES["AWS_REGION"]}
            self._bucket.create_bucket(Bucket=_BUCKET, CreateBucketConfiguration=place)
            begun.callback(self.kill_job)
            self._fed = threading.Event()
            self._feeder = threading.Thread(target=self._feed, daemon=True)
            begun.callback(self._fed.set)
            self.settings = self._settings()
            (self.directory / "headroom.toml").write_text(self.settings)
            self._begun = begun.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._begun.close()

    # What is done to it.

    def feed(self) -> None:
        """Begin the stream."""
        self._feeder.start()

    def start_job(self) -> None:
        """Start the job, from its state where there is any."""
        arguments = ["--config", "headroom.toml", "--out", "out", "--state", "state"]
        arguments += ["--execution-mode", self.execution_mode, "--parallelism", "2"]
        if self.cluster:
            arguments += ["--cluster", self.cluster]
        runs = self._log().count(_IS_RUNNING)
        with (self.directory / "job.log").open("ab") as log:
            self.job = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", "run", "usage", *arguments],
                cwd=self.directory,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_until(lambda: self._log().count(_IS_RUNNING) > runs, "running job")

    def kill_job(self) -> None:
        """As by the kernel: nothing is closed or told."""
        if self.job is None or self.job.poll() is not None:
            return
        for pid in [*descendants(self.job.pid), self.job.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.job.wait()

    def stop_job(self) -> None:
        """As by an operator: it leaves a savepoint."""
        assert self.job is not None
        self.job.send_signal(signal.SIGTERM)
        assert self.job.wait(300) == 130, self._log()[-3_000:]

    def begin(self, fault: str) -> None:
        """A fault begins."""
        self.faults.append(Fault(f"ledger: {fault}", self.event_ms))
        self._began_s = time.monotonic()

    def recover(self, files: int = 8) -> None:
        """Wait until the ledger has so many more files of minutes that came after the fault's beginning, and state."""
        began_ms = self.faults[-1].began_ms
        self.wait_until(lambda: any(told > began_ms for told in self._told(1)), "a file of a later minute")
        self.recovered_s.append(time.monotonic() - self._began_s)
        count, state_s = len(self._told()), time.time()
        self.wait_until(lambda: len(self._told()) >= count + files, f"{files} more files")
        checkpoints = self.directory / "state"
        newer = lambda: any(each.stat().st_mtime > state_s for each in checkpoints.glob("*/chk-*/_metadata"))  # noqa: E731
        self.wait_until(newer, "a checkpoint")

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not holds():
            assert self.job is not None
            assert self.job.poll() is None, f"the job ended: {self._log()[-3_000:]}"
            assert time.monotonic() < deadline_s, f"no {what}: {self._log()[-3_000:]}"
            time.sleep(0.1)

    def end(self) -> list[Row]:
        """End the stream, wait until its last minute is in the ledger, and tell what came of each fault."""
        self._fed.set()
        self._feeder.join()
        # Later than all others by more than the longest disorder, so that every minute is over.
        closing = json.loads(next(records(self._profile())))
        closing |= {"eventID": "closing"}
        closing["dynamodb"]["ApproximateCreationDateTime"] = self.event_ms + 10 * _MINUTE_MS
        for number in range(16):
            self._kinesis.put_record(StreamName=_STREAM, Data=json.dumps(closing).encode(), PartitionKey=str(number))
        given = parse_settings(self.settings.encode(), "faults")
        judged = usage_oracle.judge(self._shards(), given)
        open_ms = max(group[3] for group in judged.rows)
        expected = {group: sums for group, sums in judged.rows.items() if group[3] < open_ms}
        assert judged.counts["duplicates"] > 10
        assert any(group[5] is not None for group in expected)
        last_ms = max(group[3] for group in expected)
        self.wait_until(lambda: last_ms in self._told(), "the last minute")
        time.sleep(5)  # for files of that minute that are still written, and for what should not come
        return list(self.rows(expected, self._ledger()))

    # What came of it.

    def rows(
        self, expected: dict[usage_oracle.Group, usage_oracle.Sums], found: dict[usage_oracle.Group, usage_oracle.Sums]
    ) -> Iterator[Row]:
        """What came of each fault, by the ledger's rows of minutes from its beginning to that of the next."""
        spans = zip(self.faults, [*self.faults[1:], None], self.recovered_s, strict=True)
        for fault, following, recovered_s in spans:
            began_ms = fault.began_ms // _MINUTE_MS * _MINUTE_MS if fault is not self.faults[0] else 0
            ends_ms = following.began_ms // _MINUTE_MS * _MINUTE_MS if following else 1 << 60
            wanted = {group: sums for group, sums in expected.items() if began_ms <= group[3] < ends_ms}
            there = {group: sums for group, sums in found.items() if began_ms <= group[3] < ends_ms}
            both = wanted.keys() & there.keys()
            less = sum(any(a < b for a, b in zip(there[group], wanted[group], strict=True)) for group in both)
            more = sum(any(a > b for a, b in zip(there[group], wanted[group], strict=True)) for group in both)
            yield Row(
                fault.name,
                actions=len(wanted),
                lost=len(wanted.keys() - there.keys()) + less,
                duplicate_effects=more,
                wrong=len(there.keys() - wanted.keys()),
                stuck=0,
                recovery_s=recovered_s,
            )

    def _ledger(self) -> dict[usage_oracle.Group, usage_oracle.Sums]:
        directory = self.directory / "ledger"
        if self.in_s3:
            for page in self._bucket.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET):
                for listed in page["Contents"]:
                    path = directory / listed["Key"].removeprefix("ledger/")
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(self._bucket.get_object(Bucket=_BUCKET, Key=listed["Key"])["Body"].read())
        return usage_oracle.read_ledger(directory)

    def _told(self, last: int | None = None) -> list[int]:
        """The minutes of the files that were written, by the job's own word; of the last ones only if asked."""
        path = self.directory / "out" / "files.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        # A line may be half written, or cut by a kill.
        return [minute for line in (lines[-last:] if last else lines) if (minute := _minute_of(line)) is not None]

    def _shards(self) -> dict[str, list[bytes]]:
        found = {}
        for shard in self._kinesis.list_shards(StreamName=_STREAM)["Shards"]:
            iterator = self._kinesis.get_shard_iterator(
                StreamName=_STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            found[shard["ShardId"]] = held = list[bytes]()
            while some := (answer := self._kinesis.get_records(ShardIterator=iterator))["Records"]:
                held += [each["Data"] for each in some]
                iterator = answer["NextShardIterator"]
        return found

    def _log(self) -> str:
        path = self.directory / "job.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Its parts.

    def _settings(self) -> str:
        ledger = f"s3://{_BUCKET}/ledger" if self.in_s3 else str(self.directory / "ledger")
        return (
            f'[kinesis]\nstream = "{_STREAM}"\nendpoint_url = "{self._kinesis_url}"\nmargin = "1h"\n'
            f'initial_position = "trim_horizon"\npoll_interval = "200ms"\n'
            f'[usage]\nledger = "{ledger}"\nfile_span = "1m"\nendpoint_url = "http://127.0.0.1:{self.s3.port}"\n'
            '[tables.conversations]\npartition_key = "pk"\n'
        )

    def _profile(self) -> Profile:
        return Profile(
            seed=9,
            duration_ms=_LENGTH_MS,
            start_ms=time.time_ns() // 1_000_000 - 2 * _LENGTH_MS,
            rate_per_s=10,
            tenants=200,
            item_bytes=(SizeRange(40, 900),),
            duplicates=0.1,
            late=0.01,
            late_by_ms=(70_000, 150_000),
            malformed=0.01,
        )

    def _feed(self) -> None:
        """Put the stream, quicker than it happened; copies into any shard, and some of them much later."""
        random = Random(3)
        began_s, first_ms, until_ms = time.time(), 0, 0
        portion: list[bytes] = []
        earlier: list[bytes] = []
        for record in records(self._profile()):
            at_ms = peek_time_ms(record) or 0
            # Late ones lie behind, and a clock of the malformed ones far ahead.
            if until_ms < at_ms < until_ms + 10 * _MINUTE_MS or not first_ms:
                first_ms = first_ms or at_ms
                self._put(portion, random)
                portion, until_ms = [], at_ms + 200 * _QUICKER
                self.event_ms = max(self.event_ms, at_ms)
                if self._fed.wait(max(0.0, began_s + (at_ms - first_ms) / 1_000 / _QUICKER - time.time())):
                    return
            portion.append(record)
            earlier.append(record)
            if random.random() < 0.02:
                portion.append(random.choice(earlier))

    def _put(self, portion: list[bytes], random: Random) -> None:
        entries = [{"Data": each, "PartitionKey": str(random.random())} for each in portion]
        for start in range(0, len(entries), 500):
            self._kinesis.put_records(StreamName=_STREAM, Records=entries[start : start + 500])


def ledger(directory: Path) -> list[Row]:
    """The usage job killed and stopped, and the place of its ledger away, with copies and late changes throughout."""
    with LedgerLoop(directory, in_s3=True) as loop:
        loop.feed()
        loop.start_job()
        loop.begin("none; copies in all shards, and late changes")
        loop.recover()

        loop.begin("the job is killed, and restored from its checkpoint")
        loop.kill_job()
        loop.start_job()
        loop.recover()

        loop.begin("S3 is away for 20 s")
        loop.s3.to_port = free_port()
        loop.s3.cut()
        time.sleep(20)
        loop.s3.to_port = loop.s3_port
        loop.recover()

        loop.begin("the job is stopped, and restored from its savepoint")
        loop.stop_job()
        loop.start_job()
        loop.recover()
        return loop.end()


def ledger_on_a_cluster(directory: Path) -> list[Row]:
    """Python workers and the TaskManager of a usage job killed, on a cluster of processes of their own."""
    with (
        Cluster(directory / "cluster", ExecutionMode.PROCESS, VARIABLES) as cluster,
        LedgerLoop(directory, in_s3=False, execution_mode="process", cluster=cluster.address) as loop,
    ):
        loop.feed()
        loop.start_job()
        loop.begin("none, in process mode on a cluster")
        loop.recover()

        loop.begin("all Python workers are killed")
        workers = cluster.python_workers()
        assert workers
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        loop.recover()

        loop.begin("the TaskManager is killed, and another one comes")
        cluster.kill_task_manager()
        loop.recover()
        return loop.end()


def _minute_of(line: str) -> int | None:
    try:
        told: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    _, date, hour, name = told["path"].split("/")
    at = f"{date.removeprefix('date=')}T{hour.removeprefix('hour=')}:{name[2:4]}:00+00:00"
    return int(datetime.fromisoformat(at).timestamp()) * 1_000
