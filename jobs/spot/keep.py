"""Where a live run of the Spot job tells what it finds: Flink metrics always, and files or else lines of the log. I/O.

A directory gets, a line for each:

    actions.jsonl      action as it is sent (with shadow = true: shadow.jsonl)
    delivery.jsonl     action: when it was decided, and when the queue accepted it
    undelivered.jsonl  action that the queue refused for good, or that was void before it could be sent
    pools.jsonl        change of a pool's market, with its evidence
    malformed.jsonl    record that could not be read, with the reason

and `status.json`, which is replaced every second. After a failure lines since the last checkpoint are there twice.
Nothing that is sent depends on what is kept here.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pyflink.common import Row
from pyflink.datastream import ProcessFunction, RuntimeContext

from connectors.published_metrics import PUBLISHED
from connectors.spot_actions import SpotActionType
from jobs.action_delay import ActionDelay
from jobs.capacity.keep import DirectoryLines, Lines, LoggedLines
from jobs.metric_names import ACTION_DELAY, LAG, SPOT_DECIDED, SPOT_READ
from jobs.settings import Settings
from jobs.spot.outcomes import OutcomeKind

_METRIC_OF_ACTION: Final[dict[str, str]] = {
    SpotActionType.REPLACE_INSTANCE: "replacements",
    SpotActionType.FALL_BACK: "fall_backs",
    SpotActionType.RETURN_TO_SPOT: "returns",
}


class Standing:
    """How a live run stands.

    Attributes:
        kinds: How many records of each kind, malformed and ignored ones among them.
        decided: Actions by their type.
        delivered: What became of their messages, by the words of the outbox.
    """

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.decided: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.pool_changes = 0
        self.last_event_ms: int | None = None

    def lag_ms(self, now_ms: int) -> int | None:
        """How far the newest event is behind a time; None before the first one."""
        return None if self.last_event_ms is None else max(0, now_ms - self.last_event_ms)

    def snapshot(self, now_ms: int) -> dict[str, Any]:
        """How it stands at a time."""
        return {
            "at_ms": now_ms,
            "records": sum(self.kinds.values()),
            "kinds": self.kinds,
            "malformed": self.kinds["malformed"],
            "ignored": self.kinds["ignored"],
            "lag_ms": self.lag_ms(now_ms),
            "decided": self.decided,
            "delivered": self.delivered,
            "pool_changes": self.pool_changes,
        }


class Keep(ProcessFunction):
    """Keeps the outcomes of a live run.

    Args:
        directory: Where; None for the log.
        settings: All settings.
    """

    def __init__(self, directory: Path | None, settings: Settings) -> None:
        self._directory = directory
        self._shadow = settings.shadow

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare metrics and files."""
        metrics = runtime_context.get_metrics_group().add_group(PUBLISHED)
        self._counters = {name: metrics.counter(name) for name in SPOT_READ | SPOT_DECIDED}
        standing = self._standing = Standing()
        delay = self._action_delay = ActionDelay()
        metrics.gauge(ACTION_DELAY, lambda: delay.longest_ms(_now_ms()))
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
            case OutcomeKind.ACTION:
                self._action(line)
            case OutcomeKind.POOL:
                self._standing.pool_changes += 1
                self._counters["pool_changes"].inc()
                self._lines.add_text("pools", line)
            case OutcomeKind.MALFORMED:
                self._lines.add_text("malformed", line)
            case OutcomeKind.COUNTED:
                self._records(json.loads(line))
            case _:
                self._delivery(kind, json.loads(line))
        self._lines.status(self._standing)
        return iter(())

    def _action(self, line: str) -> None:
        action = json.loads(line)
        self._standing.decided[action["type"]] += 1
        self._counters[_METRIC_OF_ACTION[action["type"]]].inc()
        if action["type"] == SpotActionType.REPLACE_INSTANCE and not action["evidence"]["announced"]:
            self._counters["replacements_unannounced"].inc()
        self._action_delay.add(action["issued_at_ms"], _now_ms())
        self._lines.add_text("shadow" if self._shadow else "actions", line)

    def _records(self, counted: dict[str, Any]) -> None:
        self._standing.kinds.update(counted["counts"])
        for name, number in counted["counts"].items():
            self._counters[name].inc(number)
            self._counters["events"].inc(number)
        newest_ms = counted["last_event_ms"]
        if newest_ms is not None:
            self._standing.last_event_ms = max(newest_ms, self._standing.last_event_ms or newest_ms)

    def _delivery(self, kind: str, told: dict[str, Any]) -> None:
        self._standing.delivered[kind] += 1
        self._lines.add_delivery(kind, told)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
