"""What a replay found, added up from its outcomes for the summary and for the person who reads it. Pure."""

from dataclasses import dataclass
from typing import Any, Final

from connectors.actions import SuspendAction
from jobs.capacity.outcomes import BEGINS, OutcomeKind
from jobs.recorded.distinct import DistinctDigests
from jobs.recorded.malformed_reasons import MalformedReasons
from jobs.recorded.reports import Counts, Report

_MOST_PEAKS: Final = 100_000


@dataclass(slots=True)
class KeyHistory:
    """The suspensions of one partition key.

    Attributes:
        first: The action that began the first of them.
        suspended_ms: How long it was suspended in all.
        ends_ms: When its latest lease ends.
    """

    first: SuspendAction
    suspensions: int = 0
    extensions: int = 0
    suspended_ms: int = 0
    ends_ms: int = 0


@dataclass(frozen=True, slots=True)
class Peak:
    """The most that a partition key consumed in one window, of those windows that came near its limit."""

    consumed_wcu: int
    limit_wcu: int

    @property
    def share(self) -> float:
        """That consumption as a share of the limit."""
        return self.consumed_wcu / self.limit_wcu


class Tally:
    """Counts, suspended partition keys, and the peaks of those that came near their limits.

    Attributes:
        suspended: By table, partition key and its type, in the order in which they were first suspended.
        peaks: By table and partition key. Where there are very many, only the higher ones.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.malformed_reasons = MalformedReasons()
        self.suspended: dict[tuple[str, str, str], KeyHistory] = {}
        self.peaks: dict[tuple[str, str], Peak] = {}
        self._partition_keys = DistinctDigests()

    def add_report(self, report: Report) -> None:
        """Count what one chunk held."""
        self.counts.add(report.counts)
        self.malformed_reasons.add(report.malformed)
        self._partition_keys.add(report.keys)

    def add_action(self, kind: OutcomeKind, action: SuspendAction) -> None:
        """Take note of a lease given or extended; the actions of one key come in the order of their times."""
        key = (action.table, action.partition_key, action.partition_key_type)
        history = self.suspended.setdefault(key, KeyHistory(action))
        if kind in BEGINS:
            history.suspensions += 1
        else:
            history.extensions += 1
        history.suspended_ms += action.not_after_ms - max(action.issued_at_ms, history.ends_ms)
        history.ends_ms = action.not_after_ms

    def add_window(self, line: dict[str, Any]) -> None:
        """Take note of a total that is near its limit or over it."""
        key = (line["table"], line["partition_key"])
        known = self.peaks.get(key)
        if known is None or known.consumed_wcu < line["consumed_wcu"]:
            self.peaks[key] = Peak(line["consumed_wcu"], line["limit_wcu"])
        if len(self.peaks) > _MOST_PEAKS:
            highest = sorted(self.peaks.items(), key=lambda item: item[1].share, reverse=True)
            self.peaks = dict(highest[: _MOST_PEAKS // 2])

    def near(self) -> list[tuple[str, str, Peak]]:
        """Keys that came near their limits and were not suspended, the nearest first."""
        suspended = {(table, partition_key) for table, partition_key, _ in self.suspended}
        near = [(*key, peak) for key, peak in self.peaks.items() if key not in suspended]
        return sorted(near, key=lambda item: (-item[2].share, item[0], item[1]))

    def summary(self, wall_s: float) -> dict[str, Any]:
        """The fields of `summary.json`; `suspensions` counts leases given, `extensions` those made longer."""
        counts = self.counts
        histories = self.suspended.values()
        return {
            "events": counts.events,
            "changes": counts.changes,
            "malformed": counts.malformed,
            "ignored": counts.ignored,
            "late": counts.late,
            # To tell duplicates takes a memory of every eventID, which only the usage ledger keeps.
            "duplicates_seen_if_known": None,
            "size_mismatch": counts.size_mismatch,
            "partition_keys": self._partition_keys.count(),
            "suspensions": sum(history.suspensions for history in histories),
            "extensions": sum(history.extensions for history in histories),
            "first_event_ms": counts.first_event_ms,
            "last_event_ms": counts.last_event_ms,
            "wall_s": round(wall_s, 3),
            "events_per_s": round(counts.events / wall_s, 1),
        }
