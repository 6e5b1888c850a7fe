"""The command `headroom replay`."""

import json
import os
import sys
from pathlib import Path

import click

from connectors.recordings.files import RecordingError
from jobs.capacity.replay import replay as run_replay
from jobs.capacity.results import REPORT_FILE, ResultsError
from jobs.execution import ExecutionMode, JobFailedError
from jobs.options import EXIT_FAILED, config_option, open_recordings, open_settings, paths_argument, refuse
from jobs.replay_view import ReplayProgress, result_json, show_result
from jobs.report.command import write_report


@click.command()
@paths_argument
@config_option
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
@click.option("--html", is_flag=True, help="Write the page that `headroom report` writes, too: DIR/report.html.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What is printed: who would have been suspended, as a table or as one JSON object with the counts.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors, and with --format json nothing but that.")
def replay(
    paths: tuple[Path, ...],
    config_file: Path | None,
    out: Path,
    parallelism: int,
    execution_mode: str,
    html: bool,
    output_format: str,
    quiet: bool,
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
      summary.json     the counts, and the files that were read
      settings.toml    the settings that held

    \b
    Examples:
      headroom replay tests/recordings/conversations.jsonl.gz --config examples/conversations.toml
      headroom replay monday/ tuesday/ --config headroom.toml --out both-days
      headroom replay day.jsonl.gz --html
      headroom replay day.jsonl.gz --quiet --format json | jq .suspensions

    \b
    Exit status: 0 when DIR holds the result, malformed records or not; 1 when the job failed and 2 when the command,
    a setting or a path is wrong, DIR being left as it was.
    """  # noqa: D301 - click looks for the character that the escape stands for
    settings = open_settings(config_file)
    files = open_recordings(paths)
    try:
        with ReplayProgress(files, quiet=quiet) as progress:
            tally, summary = run_replay(
                files,
                settings,
                out,
                parallelism=parallelism,
                execution_mode=ExecutionMode(execution_mode),
                on_progress=progress.update,
            )
    except ResultsError as error:
        refuse([str(error)])
    except (JobFailedError, RecordingError, OSError) as error:
        refuse([str(error)], EXIT_FAILED)
    if output_format == "json":
        sys.stdout.buffer.write((json.dumps(result_json(tally, summary, out), ensure_ascii=False) + "\n").encode())
    elif not quiet:
        show_result(tally, summary, settings, out)
    if html:
        page = write_report(out, out / REPORT_FILE)
        if output_format == "text" and not quiet:
            click.echo(f"Report in {page}")
