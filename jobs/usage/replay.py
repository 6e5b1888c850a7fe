"""Replay: the usage job on a recording, from its files to a directory with its ledger. I/O."""

from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from connectors.recordings.files import RecordingFile
from jobs.execution import ExecutionMode
from jobs.recorded.lanes import plan_lanes
from jobs.recorded.reports import read_report
from jobs.results import Results
from jobs.settings import Settings, UsageSink
from jobs.usage.deduplicate import read_copies_report
from jobs.usage.outcomes import OutcomeKind, read_file_report
from jobs.usage.tally import UsageTally

LINE_FILES: Final = ("malformed.jsonl", "conflicts.jsonl")
LEDGER: Final = "ledger"


def replay(
    files: Sequence[RecordingFile],
    settings: Settings,
    out: Path,
    *,
    parallelism: int,
    execution_mode: ExecutionMode,
    on_progress: Callable[[UsageTally], None],
) -> tuple[UsageTally, dict[str, Any]]:
    """What was found, and the summary of it as written.

    Args:
        files: The recording.
        settings: All settings, of which `usage.ledger` and `usage.sink` are left out of account.
        out: The directory for the results, the ledger among them; an earlier result in it is replaced as a whole when
            all is done.
        parallelism: How many subtasks read and decode.
        execution_mode: Where Flink runs Python.
        on_progress: Told of what was found so far, several times a second.

    Raises:
        ResultsError: `out` cannot be used.
        JobFailedError: The job failed.
    """
    # PyFlink takes most of a second to load, which a mistake in a path or a setting need not wait for.
    from pyflink.table.expressions import col, concat

    from jobs.runtime import collect_lines, local_environment
    from jobs.usage.job import build, recorded_source

    started_s = monotonic()
    tally = UsageTally()
    with Results(out, LINE_FILES, (LEDGER,)) as results:
        here = {"ledger": str(results.directory(LEDGER)), "sink": UsageSink.PARQUET}
        settings = settings.model_copy(update={"usage": settings.usage.model_copy(update=here)})
        environment = local_environment(parallelism=parallelism, execution_mode=execution_mode)
        source = recorded_source(environment, plan_lanes(files, parallelism), settings)
        outcomes = build(environment, source, settings)
        lines = outcomes.select(concat(col("kind"), " ", col("line")))
        for batch in collect_lines(environment, lines, "headroom replay"):
            for outcome in batch:
                kind, _, line = outcome.partition(" ")
                _sort_out(OutcomeKind(kind), line, results, tally)
            on_progress(tally)
        summary = tally.summary(monotonic() - started_s)
        results.publish(summary)
    return tally, summary


def _sort_out(kind: OutcomeKind, line: str, results: Results, tally: UsageTally) -> None:
    match kind:
        case OutcomeKind.FILE:
            tally.add_file(read_file_report(line))
        case OutcomeKind.COPIES:
            copies = read_copies_report(line)
            tally.add_copies(copies)
            for conflict in copies.conflicts:
                order = (conflict["at_ms"], conflict["event_id"])
                results.add("conflicts.jsonl", order, msgspec.json.encode(conflict).decode())
        case OutcomeKind.REPORT:
            report = read_report(line)
            tally.add_report(report)
            for malformed in report.malformed:
                place = malformed["position"]
                order = (place["file"], place.get("byte", place.get("row", 0)))
                results.add("malformed.jsonl", order, msgspec.json.encode(malformed).decode())
