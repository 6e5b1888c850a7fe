"""How a live run stands: what it counted, which keys are hottest now, how far behind it is. Pure."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from jobs.recorded.reports import Counts, Report

_MOST_HOTTEST: Final = 20


@dataclass(slots=True)
class Standing:
    """Added up from outcomes as they come.

    Attributes:
        step_ms: Time between two evaluations of a window.
        counts: All that was read.
        decided: Suspensions begun and extended.
        delivered: What became of their messages, by the words of the outbox.
        rules: Of rules that came: the newest `version`, how often some were `refused`, and the last `reason` for it.
    """

    step_ms: int
    counts: Counts = field(default_factory=Counts)
    decided: dict[str, int] = field(default_factory=dict)
    delivered: dict[str, int] = field(default_factory=dict)
    rules: dict[str, Any] = field(default_factory=dict)
    _hottest: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def add_report(self, report: Report) -> None:
        """Count what one batch held."""
        self.counts.add(report.counts)

    def add_window(self, line: dict[str, Any]) -> None:
        """Take note of a total near its limit; of each key the newest counts."""
        self._hottest[line["table"], line["partition_key"]] = line

    def add_decision(self, kind: str) -> None:
        """Take note of a suspension begun or extended."""
        self.decided[kind] = self.decided.get(kind, 0) + 1

    def add_rules(self, line: dict[str, Any]) -> None:
        """Take note of what became of rules; a reason is worth telling until later ones are applied."""
        if line["outcome"] == "applied":
            self.rules["version"] = line["version"]
            self.rules.pop("reason", None)
        else:
            self.rules["refused"] = self.rules.get("refused", 0) + 1
            self.rules["reason"] = line["reason"]

    def add_delivery(self, kind: str) -> None:
        """Take note of what became of a message."""
        self.delivered[kind] = self.delivered.get(kind, 0) + 1

    def lag_ms(self, now_ms: int) -> int | None:
        """How far the newest change is behind a time; None before the first one."""
        newest_ms = self.counts.last_event_ms
        return None if newest_ms is None else max(0, now_ms - newest_ms)

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """How it stands at a time."""
        newest_end_ms = max((line["step_end_ms"] for line in self._hottest.values()), default=0)
        # Of older steps than the newest two nothing is said about now.
        oldest_end_ms = newest_end_ms - self.step_ms
        self._hottest = {key: line for key, line in self._hottest.items() if line["step_end_ms"] >= oldest_end_ms}
        hottest = sorted(self._hottest.values(), key=lambda line: -line["consumed_wcu"] / line["limit_wcu"])
        return {
            "at_ms": now_ms,
            "records": self.counts.events,
            **asdict(self.counts),
            "lag_ms": self.lag_ms(now_ms),
            "decided": self.decided,
            "delivered": self.delivered,
            "rules": self.rules,
            "hottest": hottest[:_MOST_HOTTEST],
        }
