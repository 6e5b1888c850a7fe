"""The command `headroom replay`."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Any

import click

from connectors.recordings.files import RecordingError
from jobs.capacity.result_files import REPORT_FILE
from jobs.capacity.rules import RulesError, read_rules
from jobs.execution import ExecutionMode, JobFailedError
from jobs.options import EXIT_FAILED, config_option, open_recordings, open_settings, paths_argument, refuse
from jobs.replay_output import Output, ReplayView
from jobs.results import ResultsError
from jobs.settings import Settings


class Job(StrEnum):
    """The jobs that can be replayed."""

    CAPACITY = "capacity"
    USAGE = "usage"
    SPOT = "spot"


def _view_of(job: Job) -> ReplayView[Any]:
    # Imported here: nothing of one job is loaded for another.
    match job:
        case Job.CAPACITY:
            from jobs.capacity import replay_view as capacity

            return capacity.VIEW
        case Job.USAGE:
            from jobs.usage import replay_view as usage

            return usage.VIEW
        case Job.SPOT:
            from jobs.spot import replay_view as spot

            return spot.VIEW


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
    "--rules",
    "rules_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Versions of the rules (limits, shadow, lease) that take effect in the middle of the recording.",
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
@click.option(
    "--html", is_flag=True, help="Write the page that `headroom report` writes, too: DIR/report.html (capacity only)."
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What is printed: what was found in words, or one JSON object with the counts.",
)
@click.option("--quiet", is_flag=True, help="Print nothing but errors, and with --format json nothing but that.")
def replay(
    paths: tuple[Path, ...],
    config_file: Path | None,
    rules_file: Path | None,
    job: str,
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
    With --job usage DIR gets, beside malformed.jsonl and summary.json:
      ledger/          Parquet: what each partition key consumed in each minute, each eventID counted once
      conflicts.jsonl  changes with the eventID of another that says something else

    \b
    With --job spot DIR gets, beside malformed.jsonl and summary.json:
      actions.jsonl    instances to replace, pools to give up and to use again, each with its evidence
      pools.jsonl      every change of the market of every pool, with all that counted

    \b
    Examples:
      headroom replay tests/recordings/conversations.jsonl.gz --config examples/conversations.toml
      headroom replay monday/ tuesday/ --config headroom.toml --out both-days
      headroom replay day.jsonl.gz --job usage --config headroom.toml --out usage
      headroom replay tests/recordings/spot-day.jsonl.gz --job spot --out spot
      headroom replay day.jsonl.gz --rules rules.toml
      headroom replay day.jsonl.gz --html
      headroom replay day.jsonl.gz --quiet --format json | jq .suspensions

    \b
    Exit status: 0 when DIR holds the result, malformed records or not; 1 when the job failed and 2 when the command,
    a setting or a path is wrong, DIR being left as it was.
    """  # noqa: D301 - click looks for the character that the escape stands for
    if html and job != Job.CAPACITY:
        refuse([f"--html: there is no page of --job {job}"])
    settings = _with_rules(open_settings(config_file), rules_file)
    files = open_recordings(paths)
    try:
        _view_of(Job(job)).run(
            files,
            settings,
            out,
            Output(as_json=output_format == "json", quiet=quiet),
            parallelism=parallelism,
            execution_mode=ExecutionMode(execution_mode),
        )
    except ResultsError as error:
        refuse([str(error)])
    except (JobFailedError, RecordingError, OSError) as error:
        refuse([str(error)], EXIT_FAILED)
    if html:
        from jobs.report.command import write_report

        page = write_report(out, out / REPORT_FILE)
        if output_format == "text" and not quiet:
            click.echo(f"Report in {page}")


def _with_rules(settings: Settings, rules_file: Path | None) -> Settings:
    """The settings with their file of rules, or with this one; exits where it has mistakes."""
    if rules_file is not None:
        rules = settings.rules.model_copy(update={"file": str(rules_file), "stream": None})
        settings = settings.model_copy(update={"rules": rules})
    try:
        read_rules(settings)
    except RulesError as error:
        refuse(error.problems)
    return settings
