"""How a live run of the usage job stands: what it read, what is in the ledger, how far behind it is. Pure."""

from dataclasses import asdict
from typing import Any

from jobs.recorded.reports import Report
from jobs.usage.deduplicate import CopiesReport
from jobs.usage.outcomes import FileReport
from jobs.usage.tally import UsageTally


class Standing:
    """Added up from outcomes as they come."""

    def __init__(self) -> None:
        self._tally = UsageTally()
        self._newest_file: str | None = None

    def add_report(self, report: Report) -> None:
        """Count what one batch held."""
        self._tally.add_report(report)

    def add_copies(self, report: CopiesReport) -> None:
        """Count copies of events."""
        self._tally.add_copies(report)

    def add_file(self, report: FileReport) -> None:
        """Count what a file of the ledger holds."""
        self._tally.add_file(report)
        self._newest_file = report.path

    def lag_ms(self, now_ms: int) -> int | None:
        """How far the newest change is behind a time; None before the first one."""
        newest_ms = self._tally.counts.last_event_ms
        return None if newest_ms is None else max(0, now_ms - newest_ms)

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """How it stands at a time; what is `written` is so since the run began or was restored."""
        tally = self._tally
        return {
            "at_ms": now_ms,
            "records": tally.counts.events,
            **asdict(tally.counts),
            "duplicates": tally.duplicates,
            "conflicts": tally.conflicts,
            "lag_ms": self.lag_ms(now_ms),
            "written": {"files": tally.files, "ledger rows": tally.rows, "WCU": tally.wcu},
            "correction_rows": tally.corrections,
            "newest_file": self._newest_file,
        }
