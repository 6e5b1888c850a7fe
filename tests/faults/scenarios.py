"""What is done to the loop, one fault after the other in one stream; each scenario gives a row for each fault."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from jobs.execution import ExecutionMode
from lambdas.suspend.handler import handler  # noqa: F401 - loaded before threads share it
from tests.faults.cluster import Cluster
from tests.faults.loop import VARIABLES, Loop, Row


def duplicates(directory: Path) -> list[Row]:
    """Changes that come twice, the fewer first."""
    rows: list[Row] = []
    for fraction in (0.01, 0.1):
        own = directory / str(fraction)
        own.mkdir()
        with Loop(own, duplicates=fraction) as loop:
            loop.start_job()
            loop.feed()
            loop.begin(f"{fraction:.0%} of the changes come twice")
            loop.wait_for_effects(8)
            rows += loop.end()
    return rows


def the_quicker_half(directory: Path) -> list[Row]:
    """Faults of the queue, the cache and the job in one stream, for a suite that has little time."""
    with Loop(directory, duplicates=0.5) as loop:
        loop.start_job()
        loop.feed()
        loop.begin("50% of the changes come twice")
        loop.wait_for_effects(4)
        _shards_change(loop)
        _sqs_is_down(loop, 3)
        _entries_fail(loop)
        _cache_fails(loop, 3)
        loop.wait_for_checkpoint()
        _job_is_killed(loop)
        return loop.end()


def shards(directory: Path) -> list[Row]:
    """Shards split and merged while the stream goes on, with half of the changes coming twice."""
    with Loop(directory, duplicates=0.5) as loop:
        loop.start_job()
        loop.feed()
        _shards_change(loop)
        return loop.end()


def job_and_queue(directory: Path) -> list[Row]:
    """The job killed and restored, the queue failing in every way, with half of the changes coming twice."""
    with Loop(directory, duplicates=0.5) as loop:
        loop.start_job()
        loop.feed()
        loop.begin("50% of the changes come twice")
        loop.wait_for_effects(4)

        _sqs_is_down(loop, 5)

        loop.begin("SQS accepts batches, and its answers are lost for 4 s")
        loop.sqs.faults.loses_answers = True
        time.sleep(4)
        loop.sqs.faults.loses_answers = False
        loop.wait_for_effects(3)

        _entries_fail(loop)
        loop.wait_for_checkpoint()
        _job_is_killed(loop)

        loop.begin("the job is stopped, and restored from its savepoint")
        loop.stop_job()
        loop.start_job()
        loop.wait_for_effects(4)
        loop.wait_for_checkpoint()

        loop.begin("SQS denies access; the job fails loudly, and is started again")
        loop.sqs.faults.error = (403, "AccessDenied")
        assert loop.job is not None
        assert loop.job.wait(400) == 1
        assert "AccessDenied" in loop.log()
        loop.sqs.faults.error = None
        loop.start_job()
        loop.wait_for_effects(4)
        return loop.end()


def workers_and_task_manager(directory: Path) -> list[Row]:
    """A Python worker and a TaskManager killed, on a cluster of processes of their own."""
    with (
        Cluster(directory / "cluster", ExecutionMode.PROCESS, VARIABLES) as cluster,
        Loop(directory, execution_mode="process", cluster=cluster.address) as loop,
    ):
        loop.start_job()
        loop.feed()
        loop.begin("none, in process mode on a cluster")
        loop.wait_for_effects(3)
        loop.wait_for_checkpoint()

        loop.begin("all Python workers are killed")
        workers = cluster.python_workers()
        assert workers
        for pid in workers:
            _kill(pid)
        loop.wait_for_effects(4)
        loop.wait_for_checkpoint()

        loop.begin("the TaskManager is killed, and another one comes")
        cluster.kill_task_manager()
        loop.wait_for_effects(4)
        return loop.end()


def cache(directory: Path) -> list[Row]:
    """The cache killed, slow, silent and read-only."""
    with Loop(directory) as loop:
        loop.start_job()
        loop.feed()
        loop.begin("none, in thread mode")
        loop.wait_for_effects(3)

        _cache_fails(loop, 6)
        return loop.end()


def _shards_change(loop: Loop) -> None:
    loop.begin("a shard is split in two under load")
    loop.split_shard()
    loop.wait_for_effects(4)

    loop.begin("two shards are merged into one under load")
    loop.merge_shards()
    loop.wait_for_effects(4)


def _sqs_is_down(loop: Loop, for_s: int) -> None:
    loop.begin(f"SQS answers 503 for {for_s} s")
    loop.sqs.faults.error = (503, "ServiceUnavailable")
    time.sleep(for_s)
    loop.sqs.faults.error = None
    loop.wait_for_effects(3)


def _entries_fail(loop: Loop) -> None:
    loop.begin("every second entry of SQS's batches fails at first")
    failed: set[str] = set()

    def fails_once(entry: dict[str, str]) -> str | None:
        name = entry["MessageDeduplicationId"]
        if name in failed or int(name, 16) % 2:
            return None
        failed.add(name)
        return "InternalError"

    loop.sqs.faults.entry_fails = fails_once
    loop.wait_for_effects(6)
    loop.sqs.faults.entry_fails = lambda _: None


def _cache_fails(loop: Loop, for_s: int) -> None:
    loop.begin(f"Valkey is killed, and comes back after {for_s} s")
    loop.cache.terminate()
    loop.proxy.cut()
    time.sleep(for_s)
    loop.start_cache()
    loop.wait_for_effects(3)

    loop.begin(f"Valkey answers 2 s late for {for_s} s")
    loop.proxy.delay_s = 2
    time.sleep(for_s)
    loop.proxy.delay_s = 0
    loop.wait_for_effects(3)

    loop.begin(f"Valkey is read-only for {for_s} s")
    owner = loop.cache.client()
    owner.replicaof("127.0.0.1", 1)
    time.sleep(for_s)
    owner.replicaof("NO", "ONE")
    loop.wait_for_effects(3)


def _job_is_killed(loop: Loop) -> None:
    loop.begin("the job is killed, and restored from its checkpoint")
    loop.kill_job()
    loop.start_job()
    loop.wait_for_effects(4)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
