"""The command `headroom explain`."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from connectors.recordings.files import RecordingFile
from jobs.capacity.kept import KeptResult, KeptResultError, is_of_live_run, open_live, open_result
from jobs.consumption.recorded import ReadProgress, read_consumption
from jobs.consumption.series import Consumption
from jobs.explain.changes import find_changes
from jobs.explain.decided import look_at_decision, others_decided
from jobs.explain.evidence import explanation, look, others_near, step_end_of_interest
from jobs.explain.subject import SubjectError, find_subject
from jobs.explain.text import lines
from jobs.generate.notation import instant_ms
from jobs.options import EXIT_FAILED, cache_option, open_settings, recording_option, refuse
from jobs.report.decisions import told_decisions
from jobs.view import open_console


@click.command()
@click.argument("what", metavar="ACTION_ID|PARTITION_KEY")
@click.option(
    "--result", "directory", metavar="DIR", type=click.Path(path_type=Path), default=Path("headroom-out"),
    show_default=True, help="What `headroom replay` wrote, or the --out of `headroom run capacity`.",
)  # fmt: skip
@click.option("--at", metavar="TIME", help="2026-11-20T10:03:10Z, or 10:03:10 on the day the recording begins; UTC.")
@click.option("--table", metavar="NAME", help="The table of the partition key, where it is in several.")
@click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="In plain words, or all figures as one JSON object.",
)  # fmt: skip
@click.option(
    "--config", "config_file", metavar="FILE", type=click.Path(path_type=Path),
    help="The settings of a live run, which does not keep them in DIR.",
)  # fmt: skip
@recording_option
@cache_option
def explain(
    what: str,
    directory: Path,
    at: str | None,
    table: str | None,
    output_format: str,
    config_file: Path | None,
    recording: tuple[Path, ...],
    use_cache: bool,
) -> None:
    """Tell the evidence behind a decision, or why a partition key was not suspended.

    Of an action's identifier the first six characters are enough. A partition key means its first suspension, with
    --at the one that ran at that time, or the window as it stood then.

    A live run keeps its decisions and not what was written: for all of the evidence name a recording of the time, as
    `headroom record` makes one.

    \b
    Examples:
      headroom explain 816a55da2274
      headroom explain tenant-000221 --at 10:07:10
      headroom explain tenant-000005 --result both-days --format json
      headroom explain 816a55da2274 --result headroom-live --config headroom.toml --recording monday

    \b
    Exit status: 0 done; 1 the recording cannot be read; 2 nothing or several things are meant, DIR holds no result, or
    the recording is missing or has changed.
    """  # noqa: D301 - click looks for the character that the escape stands for
    try:
        if is_of_live_run(directory):
            result = open_live(directory, open_settings(config_file))
        else:
            result = open_result(directory)
        if result.is_live and not recording:
            at_ms = (
                None
                if at is None
                else _instant_ms(at, min((each["issued_at_ms"] for each in result.actions), default=0))
            )
            told = _told_by_decisions(what, table, at_ms, result)
        else:
            files = result.recording(recording)
            consumption = read_consumption(files, result.settings, use_cache=use_cache)
            at_ms = None if at is None else _instant_ms(at, consumption.counts.first_event_ms or 0)
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
    others = others_near(subject, step_end_ms, consumption, result)
    return explanation(subject, looked, found, others, result.rules_problem)


def _told_by_decisions(what: str, table: str | None, at_ms: int | None, result: KeptResult) -> dict[str, Any]:
    decisions = told_decisions(result.actions)
    keys = {
        (each.action["table"], each.action["partition_key"], each.action["partition_key_type"]) for each in decisions
    }
    subject = find_subject(what, table, at_ms, decisions, sorted(keys), recorded=False)
    if subject.decision is None:
        message = (
            f"{what!r}: no lease of it ran at that time; what it wrote a live run does not keep: name a recording "
        )
        message += "of the time with --recording"
        raise SubjectError(message)
    return explanation(subject, look_at_decision(subject.decision), (), others_decided(subject, decisions))


def _instant_ms(text: str, first_ms: int) -> int:
    """A time; a time of day is meant on the day on which the recording, or the run, begins."""
    day = datetime.fromtimestamp(first_ms / 1000, UTC).date()
    with suppress(ValueError):
        return instant_ms(text)
    try:
        return instant_ms(f"{day}T{text}")
    except ValueError:
        refuse([f"--at: {text!r} is not a time; write it like 2026-11-20T10:03:10Z or 10:03:10"])
