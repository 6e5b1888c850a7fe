"""The evidence about a subject, put together from sums, records and decisions. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from jobs.capacity.kept import KeptResult, KeptResultError
from jobs.capacity.limits import Limit
from jobs.consumption.series import Consumption, Spans
from jobs.consumption.windows import window_start_ms, window_totals
from jobs.explain.changes import FoundChange, by_sort_key
from jobs.explain.subject import Subject
from jobs.settings import WindowSettings

_MOST_SORT_KEYS: Final = 10
MOST_OTHERS: Final = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One look inside the window: what the step consumed, and the total so far."""

    step_end_ms: int
    wcu: int
    consumed_wcu: int


@dataclass(frozen=True, slots=True)
class Look:
    """A window of the key as it stood at one step end.

    Attributes:
        reached_ms: When the second begins in which the total came to the limit; None where it did not.
        curve: All looks from the window's beginning to this one.
    """

    window_start_ms: int
    window_end_ms: int
    step_end_ms: int
    consumed_wcu: int
    writes: int
    limit: Limit
    reached_ms: int | None
    curve: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Other:
    """Another key in the same window."""

    table: str
    partition_key: str
    consumed_wcu: int
    limit_wcu: int


def step_end_of_interest(subject: Subject, at_ms: int | None, consumption: Consumption, window: WindowSettings) -> int:
    """The step end to look at: that of the decision, else of a time, else where the key's total was highest."""
    if subject.decision is not None:
        return int(subject.decision.action["issued_at_ms"])
    if at_ms is not None:
        return (at_ms // window.step_ms + 1) * window.step_ms
    totals = window_totals(_of_key(subject, consumption), window)
    return int(totals.first_ms[totals.wcu.argmax()]) if len(totals.wcu) else window.step_ms


def look(subject: Subject, step_end_ms: int, consumption: Consumption, result: KeptResult) -> Look:
    """The window of the subject at a step end.

    Raises:
        KeptResultError: The sums are not what the decision says, so that the recording is not that of the result.
    """
    window = result.settings.window
    start_ms = window_start_ms(window, step_end_ms)
    spans = _of_key(subject, consumption).within(start_ms, step_end_ms)
    limit = _limit(subject, step_end_ms, result)
    found = Look(
        window_start_ms=start_ms,
        window_end_ms=start_ms + window.size_ms,
        step_end_ms=step_end_ms,
        consumed_wcu=int(spans.wcu.sum()),
        writes=int(spans.writes.sum()),
        limit=limit,
        reached_ms=_reached_ms(spans, limit),
        curve=_curve(spans, start_ms, step_end_ms, window.step_ms),
    )
    if subject.decision is not None:
        _require_same(subject.decision.action["evidence"], found, result)
    return found


def nearest_first(other: Other) -> tuple[float, str, str]:
    """What others are sorted by."""
    return -other.consumed_wcu / other.limit_wcu, other.table, other.partition_key


def _limit(subject: Subject, step_end_ms: int, result: KeptResult) -> Limit:
    """The limit that the decision went by, or without one that of the rules that were in force."""
    if subject.decision is None:
        return result.rules.at(step_end_ms).limit_for(subject.key[0], subject.key[1])
    evidence = subject.decision.action["evidence"]
    return Limit(evidence["limit_wcu"], None, evidence["rule"])


def _of_key(subject: Subject, consumption: Consumption) -> Spans:
    try:
        return consumption.on_time.of_key(consumption.keys.index(subject.key))
    except ValueError:
        message = (
            f"{subject.key[1]!r}: there is no such partition key in the recording, which has changed since the replay"
        )
        raise KeptResultError(message) from None


def _require_same(evidence: Mapping[str, Any], found: Look, result: KeptResult) -> None:
    if (evidence["consumed_wcu"], evidence["writes"]) != (found.consumed_wcu, found.writes):
        message = f"{result.directory}: is not the result of this recording, or the recording has changed since: "
        message += f"the decision tells of {evidence['consumed_wcu']:,} WCU in the window, the recording of "
        message += f"{found.consumed_wcu:,}"
        raise KeptResultError(message)


def _reached_ms(spans: Spans, limit: Limit) -> int | None:
    if limit.wcu is None or int(spans.wcu.sum()) < limit.wcu:
        return None
    return int(spans.start_ms[np.searchsorted(np.cumsum(spans.wcu), limit.wcu)])


def _curve(spans: Spans, start_ms: int, end_ms: int, step_ms: int) -> list[Step]:
    steps = spans.coarser(step_ms)
    by_start = dict(zip(steps.start_ms.tolist(), steps.wcu.tolist(), strict=True))
    curve, consumed_wcu = [], 0
    for at_ms in range(start_ms, end_ms, step_ms):
        wcu = by_start.get(at_ms, 0)
        consumed_wcu += wcu
        curve.append(Step(at_ms + step_ms, wcu, consumed_wcu))
    return curve


def others_near(subject: Subject, step_end_ms: int, consumption: Consumption, result: KeptResult) -> list[Other]:
    """The keys that were nearest to their limits at the same step end, or over them."""
    limits = result.rules.at(step_end_ms)
    start_ms = window_start_ms(result.settings.window, step_end_ms)
    spans = consumption.on_time.within(start_ms, step_end_ms)
    numbers, places = np.unique(spans.key, return_inverse=True)
    consumed = np.zeros(len(numbers), np.int64)
    np.add.at(consumed, places, spans.wcu)
    others = []
    for number, wcu in zip(numbers.tolist(), consumed.tolist(), strict=True):
        key = consumption.keys[number]
        limit = limits.limit_for(key[0], key[1])
        if key != subject.key and limit.wcu is not None and wcu:
            others.append(Other(key[0], key[1], wcu, limit.wcu))
    return sorted(others, key=nearest_first)[:MOST_OTHERS]


def explanation(
    subject: Subject,
    looked: Look,
    found: Sequence[FoundChange],
    others: Sequence[Other],
    rules_problem: str | None = None,
) -> dict[str, Any]:
    """All of it as `--format json` tells it; `rules_problem` says why it is not known which rules were in force."""
    table, partition_key, key_type = subject.key
    counted = [each for each in found if not each.is_late]
    return {
        "table": table,
        "partition_key": partition_key,
        "partition_key_type": key_type,
        "also_in_tables": list(subject.also_in),
        "decision": None
        if subject.decision is None
        else _decision_json(subject.decision.action, subject.decision.extends),
        "evidence_from": "recording" if looked.curve else "decision",
        "rules_problem": rules_problem,
        "window": {
            "start_ms": looked.window_start_ms,
            "end_ms": looked.window_end_ms,
            "step_end_ms": looked.step_end_ms,
            "consumed_wcu": looked.consumed_wcu,
            "writes": looked.writes,
            "limit_wcu": looked.limit.wcu,
            "rule": looked.limit.rule,
            **_version(subject),
            "limit_reached_ms": looked.reached_ms,
        },
        "curve": [
            {"step_end_ms": step.step_end_ms, "wcu": step.wcu, "consumed_wcu": step.consumed_wcu}
            for step in looked.curve
        ],
        "sort_keys": [
            _sort_key_json(sort_key, changes) for sort_key, changes in by_sort_key(counted)[:_MOST_SORT_KEYS]
        ],
        "distinct_sort_keys": len(by_sort_key(counted)),
        "changes": dict(sorted(Counter(str(each.change.event_name) for each in counted).items())),
        "item_bytes": _sizes_json([item_bytes(each) for each in counted]),
        "late_not_counted": sum(each.is_late for each in found),
        "others_near": [
            {
                "table": each.table,
                "partition_key": each.partition_key,
                "consumed_wcu": each.consumed_wcu,
                "limit_wcu": each.limit_wcu,
            }
            for each in others
        ],
        "lease_history": [_decision_json(each.action, each.extends) for each in subject.history],
    }


def _version(subject: Subject) -> dict[str, Any]:
    """What the evidence says beside the rule of which version it was, where it does."""
    if subject.decision is None:
        return {}
    return {name: value for name, value in subject.decision.action["evidence"].items() if name.startswith("rule_")}


def _decision_json(action: Mapping[str, Any], extends: bool) -> dict[str, Any]:
    names = ("action_id", "decision_seq", "issued_at_ms", "not_after_ms", "lease_ms")
    evidence = action["evidence"]
    return {
        **{name: action[name] for name in names},
        "kind": "extended" if extends else "suspended",
        "consumed_wcu": evidence["consumed_wcu"],
        "limit_wcu": evidence["limit_wcu"],
        "rule": evidence["rule"],
    }


def _sort_key_json(sort_key: str | None, changes: Sequence[FoundChange]) -> dict[str, Any]:
    return {
        "sort_key": sort_key,
        "changes": len(changes),
        "wcu": sum(each.change.wcu for each in changes),
        "largest_item_bytes": max(map(item_bytes, changes)),
    }


def _sizes_json(sizes: list[int]) -> dict[str, int] | None:
    if not sizes:
        return None
    ordered = sorted(sizes)
    return {"smallest": ordered[0], "median": ordered[len(ordered) // 2], "largest": ordered[-1]}


def item_bytes(found: FoundChange) -> int:
    """The size of the item that the write was charged for: the larger of before and after."""
    return max(found.change.old_bytes or 0, found.change.new_bytes or 0)
