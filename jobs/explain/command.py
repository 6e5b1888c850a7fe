"""The command `headroom explain`."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from connectors.recordings.files import RecordingFile
from jobs.capacity.kept import KeptResult, KeptResultError, open_result
from jobs.consumption.recorded import ReadProgress, read_consumption
from jobs.consumption.series import Consumption
from jobs.explain.changes import find_changes
from jobs.explain.evidence import explanation, look, others_near, step_end_of_interest
from jobs.explain.subject import SubjectError, find_subject
from jobs.explain.text import lines
from jobs.generate.notation import instant_ms
from jobs.options import EXIT_FAILED, cache_option, recording_option, refuse
from jobs.report.decisions import told_decisions
from jobs.view import open_console


@click.command()
@click.argument("what", metavar="ACTION_ID|PARTITION_KEY")
@click.option(
    "--result", "directory", metavar="DIR", type=click.Path(path_type=Path), default=Path("headroom-out"),
    show_default=True, help="What `headroom replay` wrote.",
)  # fmt: skip
@click.option("--at", metavar="TIME", help="2026-11-20T10:03:10Z, or 10:03:10 on the day the recording begins; UTC.")
@click.option("--table", metavar="NAME", help="The table of the partition key, where it is in several.")
@click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="In plain words, or all figures as one JSON object.",
)  # fmt: skip
@recording_option
@cache_option
def explain(
    what: str,
    directory: Path,
    at: str | None,
    table: str | None,
    output_format: str,
    recording: tuple[Path, ...],
    use_cache: bool,
) -> None:
    """Tell the evidence behind a decision of a replay, or why a partition key was not suspended.

    Of an action's identifier the first six characters are enough. A partition key means its first suspension, with
    --at the one that ran at that time, or the window as it stood then.

    \b
    Examples:
      headroom explain 816a55da2274
      headroom explain tenant-000221 --at 10:07:10
      headroom explain tenant-000005 --result both-days --format json

    \b
    Exit status: 0 done; 1 the recording cannot be read; 2 nothing or several things are meant, DIR holds no result, or
    the recording is missing or has changed.
    """  # noqa: D301 - click looks for the character that the escape stands for
    try:
        result = open_result(directory)
        files = result.recording(recording)
        consumption = read_consumption(files, result.settings, use_cache=use_cache)
        at_ms = None if at is None else _instant_ms(at, consumption)
        told = _told(what, table, at_ms, result, files, consumption)
    except (KeptResultError, SubjectError) as error:
        refuse([str(error)])
    except OSError as error:
        refuse([f"{error.filename}: {error.strerror}"], EXIT_FAILED)
    if output_format == "json":
        sys.stdout.buffer.write((json.dumps(told, indent=2, ensure_ascii=False) + "\n").encode())
        return
    console = open_console()
    for line in lines(told, result.settings, at_ms):
        heading = bool(line) and not line.startswith(" ")
        console.print(line, style="bold" if heading else None, markup=False, highlight=False, soft_wrap=True)


def _told(
    what: str,
    table: str | None,
    at_ms: int | None,
    result: KeptResult,
    files: list[RecordingFile],
    consumption: Consumption,
) -> dict[str, Any]:
    subject = find_subject(what, table, at_ms, told_decisions(result.actions), consumption.keys)
    step_end_ms = step_end_of_interest(subject, at_ms, consumption, result.settings.window)
    looked = look(subject, step_end_ms, consumption, result)
    stretch_ms = (looked.window_start_ms, looked.step_end_ms)
    with ReadProgress(files) as progress:
        found = find_changes(
            files, subject.key, stretch_ms, result.settings, result.lines("late.jsonl"), progress.update
        )
    return explanation(subject, looked, found, others_near(subject, step_end_ms, consumption, result))


def _instant_ms(text: str, consumption: Consumption) -> int:
    """A time; a time of day is meant on the day on which the recording begins."""
    day = datetime.fromtimestamp((consumption.counts.first_event_ms or 0) / 1000, UTC).date()
    with suppress(ValueError):
        return instant_ms(text)
    try:
        return instant_ms(f"{day}T{text}")
    except ValueError:
        refuse([f"--at: {text!r} is not a time; write it like 2026-11-20T10:03:10Z or 10:03:10"])
