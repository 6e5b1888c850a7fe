"""The command `headroom replay`."""

import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import click

from connectors.recordings.files import RecordingError, RecordingFile
from jobs.execution import ExecutionMode, JobFailedError
from jobs.options import EXIT_FAILED, config_option, open_recordings, open_settings, paths_argument, refuse
from jobs.results import ResultsError
from jobs.settings import Settings


class Job(StrEnum):
    """The jobs that can be replayed."""

    CAPACITY = "capacity"
    USAGE = "usage"
    SPOT = "spot"


class Replay(Protocol):
    """Replays a recording with one job, telling how far it is, and prints what came of it."""

    def __call__(
        self,
        files: Sequence[RecordingFile],
        settings: Settings,
        out: Path,
        *,
        parallelism: int,
        execution_mode: ExecutionMode,
    ) -> None:
        """Leave the result in `out`.

        Raises:
            ResultsError: `out` cannot be used.
            JobFailedError: The job failed.
        """


def _replay_of(job: Job) -> Replay:
    # Imported here: nothing of one job is loaded for another.
    match job:
        case Job.CAPACITY:
            from jobs.capacity.replay_view import replay_and_show
        case Job.USAGE:
            from jobs.usage.replay_view import replay_and_show
        case Job.SPOT:
            from jobs.spot.replay_view import replay_and_show
    return replay_and_show


@click.command()
@paths_argument
@config_option
@click.option(
    "--job",
    type=click.Choice([job.value for job in Job]),
    default=Job.CAPACITY.value,
    show_default=True,
    help="capacity: who would have been suspended; usage: the ledger of what everybody consumed; "
    "spot: which Spot Instances would have been replaced.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("headroom-out"),
    show_default=True,
    help="Directory for the results; it may hold an earlier result, which is replaced when all is done.",
)
@click.option(
    "--parallelism",
    type=click.IntRange(1, 128),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="the number of cores",
    help="How many subtasks read and decode. The results are the same.",
)
@click.option(
    "--execution-mode",
    type=click.Choice([mode.value for mode in ExecutionMode]),
    default=ExecutionMode.PROCESS.value,
    show_default=True,
    help="Where Flink runs Python: in threads of its JVM, or in a process for each subtask. The results are the same.",
)
def replay(
    paths: tuple[Path, ...], config_file: Path | None, job: str, out: Path, parallelism: int, execution_mode: str
) -> None:
    """Tell which partition keys a recorded change stream would have had suspended, when and why.

    Each PATH is a file or a directory of files: change records one per line or without a delimiter, in a Lambda,
    Kinesis or Firehose envelope, or as Parquet; compressed with gzip or not. All files together are one stream.

    \b
    DIR gets:
      actions.jsonl    the suspensions, as they would be sent (with shadow = true: shadow.jsonl)
      windows.jsonl    every step of every window in which a key was near its limit or over it
      malformed.jsonl  records that could not be read, with the reason
      late.jsonl       changes that came too late to count
      summary.json     the counts

    \b
    With --job usage DIR gets, beside malformed.jsonl and summary.json:
      ledger/          Parquet: what each partition key consumed in each minute, each eventID counted once
      conflicts.jsonl  changes with the eventID of another that says something else

    \b
    Examples:
      headroom replay tests/recordings/conversations.jsonl.gz --config examples/conversations.toml
      headroom replay monday/ tuesday/ --config headroom.toml --out both-days
      headroom replay day.jsonl.gz --job usage --config headroom.toml --out usage

    \b
    Exit status: 0 when DIR holds the result, malformed records or not; 1 when the job failed and 2 when the command,
    a setting or a path is wrong, DIR being left as it was.
    """  # noqa: D301 - click looks for the character that the escape stands for
    settings = open_settings(config_file)
    files = open_recordings(paths)
    try:
        _replay_of(Job(job))(
            files, settings, out, parallelism=parallelism, execution_mode=ExecutionMode(execution_mode)
        )
    except ResultsError as error:
        refuse([str(error)])
    except (JobFailedError, RecordingError, OSError) as error:
        refuse([str(error)], EXIT_FAILED)
