"""Decisions of a replay as they are told: what each did, and when leases ran. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TableKey = tuple[str, str]
"""Table and partition key."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An action, and whether it made a lease longer that ran already."""

    action: Mapping[str, Any]
    extends: bool

    @property
    def key(self) -> TableKey:
        """The table and the partition key that it is about."""
        return self.action["table"], self.action["partition_key"]


def told_decisions(actions: Iterable[Mapping[str, Any]]) -> list[Decision]:
    """The actions, in the order of their times."""
    ends_ms: dict[tuple[str, str, str], int] = {}
    decisions = []
    for action in actions:
        key = (action["table"], action["partition_key"], action["partition_key_type"])
        decisions.append(Decision(action, action["issued_at_ms"] < ends_ms.get(key, 0)))
        ends_ms[key] = action["not_after_ms"]
    return decisions


def lease_times(decisions: Iterable[Decision]) -> dict[TableKey, list[tuple[int, int]]]:
    """When the leases of each key ran, those that were extended as one."""
    times: dict[TableKey, list[tuple[int, int]]] = defaultdict(list)
    for decision in decisions:
        start_ms, end_ms = decision.action["issued_at_ms"], decision.action["not_after_ms"]
        of_key = times[decision.key]
        if decision.extends and of_key:
            of_key[-1] = (of_key[-1][0], end_ms)
        else:
            of_key.append((start_ms, end_ms))
    return dict(times)


def length_ms(times_ms: Sequence[tuple[int, int]]) -> int:
    """How long leases ran in all."""
    return sum(end_ms - start_ms for start_ms, end_ms in times_ms)
