"""Where a live run of the usage job tells what it finds: Flink metrics always, and files or else lines of the log. I/O.

A directory gets, a line for each:

    files.jsonl      file of the ledger as it was written, or what was sent to Firehose, and what its rows add up to
    malformed.jsonl  record that could not be read, with the reason
    conflicts.jsonl  copy of a change that says something else than the first, which counts

and `status.json`, which is replaced every second. After a failure lines since the last checkpoint are there twice.
Nothing that is in the ledger depends on what is kept here.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from pyflink.common import Row
from pyflink.datastream import ProcessFunction, RuntimeContext
from pyflink.metrics import Counter

from connectors.published_metrics import PUBLISHED
from jobs.capacity.keep import DirectoryLines, Lines, LoggedLines
from jobs.metric_names import LAG, READ, USAGE
from jobs.recorded.reports import read_report
from jobs.usage.deduplicate import read_copies_report
from jobs.usage.outcomes import OutcomeKind, read_file_report
from jobs.usage.standing import Standing


class Keep(ProcessFunction):
    """Keeps the outcomes of a live run.

    Args:
        directory: Where; None for the log.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare metrics and files."""
        metrics = runtime_context.get_metrics_group().add_group(PUBLISHED)
        self._counters: dict[str, Counter] = {name: metrics.counter(name) for name in USAGE}
        standing = self._standing = Standing()
        metrics.gauge(LAG, lambda: standing.lag_ms(_now_ms()) or 0)
        self._lines: Lines = DirectoryLines(self._directory) if self._directory else LoggedLines()

    def close(self) -> None:
        """Close the files."""
        if hasattr(self, "_lines"):
            self._lines.close()

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Nothing; one outcome is kept."""
        kind, line = value
        match kind:
            case OutcomeKind.REPORT:
                self._report(line)
            case OutcomeKind.COPIES:
                self._copies(line)
            case OutcomeKind.FILE:
                self._file(line)
        self._lines.status(self._standing)
        return iter(())

    def _report(self, line: str) -> None:
        report = read_report(line)
        self._standing.add_report(report)
        for name in (*READ, "without_event_id"):
            self._count(name, getattr(report.counts, name))
        self._lines.add("malformed", report.malformed)

    def _copies(self, line: str) -> None:
        report = read_copies_report(line)
        self._standing.add_copies(report)
        self._count("duplicates", report.duplicates)
        self._count("conflicts", len(report.conflicts))
        self._lines.add("conflicts", report.conflicts)

    def _file(self, line: str) -> None:
        report = read_file_report(line)
        self._standing.add_file(report)
        self._count("ledger_files", 1)
        self._count("ledger_rows", report.rows)
        self._count("correction_rows", report.corrections)
        self._count("wcu", report.wcu)
        self._count("writes", report.writes)
        self._count("bytes_written", report.bytes_written)
        if self._directory is not None:  # a log has no use for what went well
            self._lines.add_text("files", line)

    def _count(self, name: str, number: int) -> None:
        if number:
            self._counters[name].inc(number)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
