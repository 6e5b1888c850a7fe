"""What a replay put into the ledger, added up from its outcomes. Pure."""

from typing import Any

from jobs.recorded.distinct import DistinctDigests
from jobs.recorded.malformed_reasons import MalformedReasons
from jobs.recorded.reports import Counts, Report
from jobs.usage.deduplicate import CopiesReport
from jobs.usage.outcomes import FileReport


class UsageTally:
    """Counts of records, of duplicates and of what is in the ledger."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.malformed_reasons = MalformedReasons()
        self.duplicates = 0
        self.conflicts = 0
        self.files = 0
        self.rows = 0
        self.corrections = 0
        self.wcu = 0
        self.writes = 0
        self.bytes_written = 0
        self.closed_period_corrections = 0
        self._partition_keys = DistinctDigests()

    def add_report(self, report: Report) -> None:
        """Count what one chunk held."""
        self.counts.add(report.counts)
        self.malformed_reasons.add(report.malformed)
        self._partition_keys.add(report.keys)

    def add_copies(self, report: CopiesReport) -> None:
        """Count copies of events."""
        self.duplicates += report.duplicates
        self.conflicts += len(report.conflicts)

    def add_file(self, report: FileReport) -> None:
        """Count what a file of the ledger holds."""
        self.files += 1
        self.rows += report.rows
        self.corrections += report.corrections
        self.wcu += report.wcu
        self.writes += report.writes
        self.bytes_written += report.bytes_written

    def summary(self, wall_s: float) -> dict[str, Any]:
        """The fields of `summary.json`: those of the capacity job's, and what the ledger holds."""
        counts = self.counts
        return {
            "events": counts.events,
            "changes": counts.changes,
            "malformed": counts.malformed,
            "ignored": counts.ignored,
            "late": counts.late,
            "duplicates_seen_if_known": self.duplicates,
            "conflicts": self.conflicts,
            "without_event_id": counts.without_event_id,
            "size_mismatch": counts.size_mismatch,
            "partition_keys": self._partition_keys.count(),
            "ledger_files": self.files,
            "ledger_rows": self.rows,
            "correction_rows": self.corrections,
            "closed_period_corrections": self.closed_period_corrections,
            "wcu": self.wcu,
            "writes": self.writes,
            "bytes_written": self.bytes_written,
            "first_event_ms": counts.first_event_ms,
            "last_event_ms": counts.last_event_ms,
            "wall_s": round(wall_s, 3),
            "events_per_s": round(counts.events / wall_s, 1),
        }
