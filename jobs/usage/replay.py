"""Replay: the usage job on a recording, from its files to a directory with its ledger. I/O."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from connectors.recordings.files import RecordingFile
from jobs.execution import ExecutionMode
from jobs.recorded.lanes import plan_lanes_of_job
from jobs.recorded.reports import read_report
from jobs.results import Results, ResultsError
from jobs.settings import Settings, UsageSink
from jobs.usage.deduplicate import read_copies_report
from jobs.usage.ledger import Ledger, LedgerError
from jobs.usage.outcomes import OutcomeKind, read_file_report
from jobs.usage.periods import FILE as PERIODS_FILE
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
            all is done, but for periods that were closed, see `jobs.usage.closing`.
        parallelism: How many subtasks read and decode.
        execution_mode: Where Flink runs Python.
        on_progress: Told of what was found so far, several times a second.

    Raises:
        ResultsError: `out` cannot be used, or the ledger with closed periods in it cannot be read.
        JobFailedError: The job failed.
    """
    # PyFlink takes most of a second to load, which a mistake in a path or a setting need not wait for.
    from pyflink.table.expressions import col, concat

    from jobs.runtime import collect_lines, local_environment
    from jobs.usage.job import build, recorded_source

    started_s = monotonic()
    tally = UsageTally()
    with Results(out, LINE_FILES, (LEDGER,)) as results:
        earlier = _earlier_with_closed_periods(out / LEDGER)
        here = {"ledger": str(results.directory(LEDGER)), "sink": UsageSink.PARQUET}
        settings = settings.model_copy(update={"usage": settings.usage.model_copy(update=here)})
        environment = local_environment(parallelism=parallelism, execution_mode=execution_mode)
        source = recorded_source(environment, plan_lanes_of_job(files, parallelism, execution_mode), settings)
        outcomes = build(environment, source, settings)
        lines = outcomes.select(concat(col("kind"), " ", col("line")))
        for batch in collect_lines(environment, lines, "headroom replay"):
            for outcome in batch:
                kind, _, line = outcome.partition(" ")
                _sort_out(OutcomeKind(kind), line, results, tally)
            on_progress(tally)
        if earlier is not None:
            tally.closed_period_corrections = _keep_closed_periods(earlier, results.directory(LEDGER), settings)
        summary = tally.summary(monotonic() - started_s)
        results.publish(summary)
    return tally, summary


def _earlier_with_closed_periods(ledger: Path) -> Ledger | None:
    if not (ledger / PERIODS_FILE).exists():
        return None
    try:
        return Ledger(str(ledger))
    except LedgerError as error:
        raise ResultsError(str(error)) from error


def _keep_closed_periods(earlier: Ledger, fresh: Path, settings: Settings) -> int:
    """Put what an earlier ledger has of closed periods in the place of what the new one has."""
    from jobs.usage.closing import keep_closed_periods

    both = fresh.with_name(f".{fresh.name}")
    both.mkdir()
    corrections = keep_closed_periods(earlier, Ledger(str(fresh)), Ledger(str(both)), settings.usage)
    shutil.rmtree(fresh)
    both.rename(fresh)
    return corrections


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
