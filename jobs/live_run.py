"""A live run on this machine: from the first checkpoint to a signal to stop. I/O."""

import json
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from jobs.execution import ExecutionMode
from jobs.settings import Settings

_LOOK_EVERY_S: Final = 0.5


def run(
    job: str,
    settings: Settings,
    keep_in: Path,
    checkpoints: Path,
    *,
    restore_from: Path | None,
    leave_savepoint: bool,
    cluster: str | None,
    parallelism: int,
    execution_mode: ExecutionMode,
    stop: threading.Event,
    duration_s: float | None,
    on_state: Callable[[str, dict[str, Any] | None], None],
) -> None:
    """Run the job until told to stop.

    Args:
        job: capacity, spot or usage.
        settings: All settings.
        keep_in: The directory for what is found.
        checkpoints: The directory for checkpoints, which stay there.
        restore_from: A checkpoint or savepoint to go on from.
        leave_savepoint: Leave a savepoint beside the checkpoints, with all that was read up to the end.
        cluster: Host and port of a Flink cluster on this machine; None for one inside this process.
        parallelism: How many subtasks the windows have.
        execution_mode: Where Flink runs Python.
        stop: Ends the run when it is set.
        duration_s: How long it runs otherwise, from when all of the job is running.
        on_state: Told twice a second of the job's state, by Flink's word for it, and of what the run found so far.

    Raises:
        JobFailedError: The job failed too often.
    """
    live = import_module(f"jobs.{job}.live")
    from jobs.runtime import Recovery, RunningJob, local_environment

    # On a cluster the job's processes have other working directories.
    keep_in = keep_in.resolve()
    recovery = Recovery(checkpoints, restore_from=restore_from)
    environment = local_environment(
        parallelism=parallelism,
        execution_mode=execution_mode,
        recovery=recovery,
        cluster=cluster,
        slots=settings.kinesis.subtasks,
    )
    live.define(environment, settings, keep_in)
    running = RunningJob(environment, live.JOB_NAME)
    ends_s = None
    while not stop.wait(_LOOK_EVERY_S) and (ends_s is None or time.monotonic() < ends_s):
        if running.has_ended():
            raise running.failure()
        state = running.status()
        if state == "RUNNING" and ends_s is None and duration_s is not None:
            ends_s = time.monotonic() + duration_s
        on_state(state, read_status(keep_in))
    if leave_savepoint and running.status() == "RUNNING":
        running.savepoint(checkpoints)
    else:
        running.cancel()


def read_status(directory: Path) -> dict[str, Any] | None:
    """What a run says of itself in its directory; None before it says anything."""
    try:
        status: dict[str, Any] = json.loads((directory / "status.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return status
