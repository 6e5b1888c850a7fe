"""Where a live run tells what it finds: Flink metrics always, and files in a directory or else lines of the log. I/O.

A directory gets, a line for each:

    actions.jsonl      suspension begun or extended, as it is sent (with shadow = true: shadow.jsonl)
    delivery.jsonl     suspension: when it was decided, and when the queue accepted it
    undelivered.jsonl  suspension that the queue refused for good, or that was past its end before it could be sent
    malformed.jsonl    record that could not be read, with the reason
    late.jsonl         change that came too late to count
    rules.jsonl        file of rules that came while the job runs: the version that it applied, or why it was refused

and `status.json`, which is replaced every second: the counts, the hottest keys, how far behind the run is.

After a failure lines since the last checkpoint are there twice. Nothing that is sent depends on what is kept here.
"""

import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from pyflink.common import Row
from pyflink.datastream import ProcessFunction, RuntimeContext
from pyflink.metrics import Counter

from connectors.published_metrics import PUBLISHED
from connectors.sqs.sink import EXPIRED, REFUSED, SENT
from jobs.action_delay import ActionDelay
from jobs.capacity.outcomes import SHADOWS, OutcomeKind
from jobs.capacity.rules import uses_rules
from jobs.capacity.standing import Standing
from jobs.metric_names import ACTION_DELAY, CAPACITY, LAG, READ
from jobs.recorded.reports import read_report
from jobs.settings import Settings

STATUS_FILE: Final = "status.json"
_STATUS_EVERY_S: Final = 1.0
_METRIC_OF_DECISION: Final = {
    OutcomeKind.SUSPENDED.value: "suspensions",
    OutcomeKind.EXTENDED.value: "extensions",
    OutcomeKind.SHADOW_SUSPENDED.value: "suspensions",
    OutcomeKind.SHADOW_EXTENDED.value: "extensions",
}
# In a log, of each kind so many lines a minute at most; the metrics count all.
_MOST_LOGGED: Final = 20
_LOG_PERIOD_S: Final = 60.0

logger = logging.getLogger(__name__)


class Keep(ProcessFunction):
    """Keeps the outcomes of a live run.

    Args:
        directory: Where; None for the log.
        settings: All settings.
    """

    def __init__(self, directory: Path | None, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare metrics and files."""
        metrics = runtime_context.get_metrics_group().add_group(PUBLISHED)
        self._counters: dict[str, Counter] = {name: metrics.counter(name) for name in CAPACITY}
        delay = self._action_delay = ActionDelay()
        metrics.gauge(ACTION_DELAY, lambda: delay.longest_ms(_now_ms()))
        standing = self._standing = Standing(self._settings.window.step_ms)
        metrics.gauge(LAG, lambda: standing.lag_ms(_now_ms()) or 0)
        self._lines: Lines = DirectoryLines(self._directory) if self._directory else LoggedLines()
        self._tell: dict[str, Callable[[str, str], None]] = {
            OutcomeKind.REPORT: self._report,
            OutcomeKind.WINDOW: self._window,
            OutcomeKind.RULES: self._rules,
            OutcomeKind.SUSPENDED: self._decision,
            OutcomeKind.EXTENDED: self._decision,
            OutcomeKind.SHADOW_SUSPENDED: self._decision,
            OutcomeKind.SHADOW_EXTENDED: self._decision,
            SENT: self._delivery,
            EXPIRED: self._delivery,
            REFUSED: self._delivery,
        }

    def close(self) -> None:
        """Close the files."""
        if hasattr(self, "_lines"):
            self._lines.close()

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator[Row]:
        """Nothing; one outcome is kept."""
        kind, line = value
        self._tell[kind](kind, line)
        self._lines.status(self._standing)
        return iter(())

    def _report(self, _: str, line: str) -> None:
        report = read_report(line)
        self._standing.add_report(report)
        for name in READ:
            if number := getattr(report.counts, name):
                self._counters[name].inc(number)
        self._lines.add("malformed", report.malformed)
        self._lines.add("late", report.late)

    def _window(self, _: str, line: str) -> None:
        self._standing.add_window(msgspec.json.decode(line))

    def _rules(self, _: str, line: str) -> None:
        self._standing.add_rules(msgspec.json.decode(line))
        self._lines.add_text("rules", line)

    def _decision(self, kind: str, line: str) -> None:
        self._counters[_METRIC_OF_DECISION[kind]].inc()
        action = msgspec.json.decode(line)
        self._action_delay.add(action["issued_at_ms"], _now_ms())
        self._standing.add_decision(kind)
        is_shadow = kind in SHADOWS or (self._settings.shadow and not uses_rules(self._settings))
        self._lines.add_text("shadow" if is_shadow else "actions", line)

    def _delivery(self, kind: str, line: str) -> None:
        self._standing.add_delivery(kind)
        self._lines.add_delivery(kind, msgspec.json.decode(line))


class HasSnapshot(Protocol):
    """How a run stands."""

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """How it stands at a time."""


class Lines(ABC):
    """Somewhere to put lines."""

    def add(self, name: str, lines: Sequence[Mapping[str, Any]]) -> None:
        """Some more lines of one kind."""
        for line in lines:
            self.add_text(name, json.dumps(line, ensure_ascii=False))

    def add_delivery(self, kind: str, told: Mapping[str, Any]) -> None:
        """What became of an action in the outbox: when the queue accepted it, or that it did not.

        Args:
            kind: The word of the outbox.
            told: Its line, read.
        """
        line = dict(told)
        decided_at_ms = line.pop("came_at_ms")
        if kind == SENT:
            sent = {"decided_at_ms": decided_at_ms, "sent_at_ms": line["at_ms"]}
            self.add("delivery", [{"action_id": line["deduplication_id"], **sent}])
        else:
            self.add("undelivered", [{"outcome": kind, **line}])

    @abstractmethod
    def add_text(self, name: str, line: str) -> None:
        """One more line of one kind."""

    def status(self, standing: HasSnapshot) -> None:  # noqa: B027 - a log has no place for it
        """How it stands, if it is time to say so."""

    def close(self) -> None:  # noqa: B027 - a log stays open
        """No more lines come."""


class DirectoryLines(Lines):
    """Lines in files of a directory, each there for others to read at once."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._files: dict[str, Any] = {}
        self._told_s = 0.0

    def add_text(self, name: str, line: str) -> None:
        """One more line of `<name>.jsonl`."""
        if name not in self._files:
            path = self._directory / f"{name}.jsonl"
            self._files[name] = path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n", buffering=1)
        self._files[name].write(f"{line}\n")

    def status(self, standing: HasSnapshot) -> None:
        """Replace `status.json`, once a second."""
        if time.monotonic() - self._told_s < _STATUS_EVERY_S:
            return
        self._told_s = time.monotonic()
        path = self._directory / STATUS_FILE
        path.with_suffix(".new").write_text(json.dumps(standing.snapshot(_now_ms())), encoding="utf-8")
        path.with_suffix(".new").replace(path)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


class LoggedLines(Lines):
    """Lines in the log of the job, some of each kind a minute."""

    def __init__(self) -> None:
        self._period_began_s = 0.0
        self._logged: dict[str, int] = {}

    def add_text(self, name: str, line: str) -> None:
        """One more line of one kind, unless there were enough of it."""
        if time.monotonic() - self._period_began_s > _LOG_PERIOD_S:
            self._period_began_s, self._logged = time.monotonic(), {}
        logged = self._logged[name] = self._logged.get(name, 0) + 1
        if logged <= _MOST_LOGGED:
            logger.warning("%s: %s", name, line)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
