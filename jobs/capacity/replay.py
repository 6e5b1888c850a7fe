"""Replay: the capacity job on a recording, from its files to a directory of results. I/O."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from connectors.actions import decode
from connectors.recordings.files import RecordingFile
from jobs.capacity.outcomes import SHADOWS, OutcomeKind
from jobs.capacity.result_files import LINE_FILES, REPORT_FILE, SETTINGS_FILE
from jobs.capacity.rules import uses_rules
from jobs.capacity.tally import Tally
from jobs.execution import ExecutionMode
from jobs.recorded.lanes import plan_lanes_of_job
from jobs.recorded.reports import read_report
from jobs.results import Results
from jobs.settings import Settings
from jobs.settings.render import to_toml


def replay(
    files: Sequence[RecordingFile],
    settings: Settings,
    out: Path,
    *,
    parallelism: int,
    execution_mode: ExecutionMode,
    on_progress: Callable[[Tally], None],
) -> tuple[Tally, dict[str, Any]]:
    """What was found, and the summary of it as written.

    Args:
        files: The recording.
        settings: All settings.
        out: The directory for the results; an earlier result in it is replaced when all is done.
        parallelism: How many subtasks read and decode.
        execution_mode: Where Flink runs Python.
        on_progress: Told of what was found so far, several times a second.

    Raises:
        ResultsError: `out` cannot be used.
        JobFailedError: The job failed.
    """
    # PyFlink takes most of a second to load, which a mistake in a path or a setting need not wait for.
    from pyflink.table.expressions import col, concat

    from jobs.capacity.job import build
    from jobs.capacity.recorded_stream import recorded_stream
    from jobs.runtime import collect_lines, local_environment

    started_s = monotonic()
    tally = Tally()
    with Results(out, LINE_FILES, others=[REPORT_FILE]) as results:
        environment = local_environment(parallelism=parallelism, execution_mode=execution_mode)
        decoded = recorded_stream(environment, plan_lanes_of_job(files, parallelism, execution_mode), settings)
        outcomes = build(environment, decoded, settings)
        lines = outcomes.select(concat(col("kind"), " ", col("line")))
        for batch in collect_lines(environment, lines, "headroom replay"):
            for outcome in batch:
                kind, _, line = outcome.partition(" ")
                _sort_out(OutcomeKind(kind), line, results, tally, settings)
            on_progress(tally)
        for number, text in enumerate(to_toml(settings).splitlines()):
            results.add(SETTINGS_FILE, (number,), text)
        summary = tally.summary(monotonic() - started_s)
        summary["recording"] = [
            {"file": str(Path(file.path).absolute()), "size_bytes": file.size_bytes} for file in files
        ]
        results.publish(summary)
    return tally, summary


def _sort_out(kind: OutcomeKind, line: str, results: Results, tally: Tally, settings: Settings) -> None:
    match kind:
        case OutcomeKind.REPORT:
            report = read_report(line)
            tally.add_report(report)
            _keep(results, "malformed.jsonl", report.malformed)
            _keep(results, "late.jsonl", report.late)
        case OutcomeKind.WINDOW:
            fields = msgspec.json.decode(line)
            tally.add_window(fields)
            order = (fields["step_end_ms"], fields["table"], fields["partition_key"], fields["window_start_ms"])
            results.add("windows.jsonl", order, line)
        case _:
            action = decode(line.encode())
            tally.add_action(kind, action)
            order = (action.issued_at_ms, action.table, action.partition_key, action.partition_key_type)
            is_shadow = kind in SHADOWS or (settings.shadow and not uses_rules(settings))
            results.add("shadow.jsonl" if is_shadow else "actions.jsonl", order, line)


def _keep(results: Results, file: str, lines: Sequence[dict[str, Any]]) -> None:
    for line in lines:
        place = line["position"]
        order = (place["file"], place.get("byte", place.get("row", 0)))
        results.add(file, order, msgspec.json.encode(line).decode())
