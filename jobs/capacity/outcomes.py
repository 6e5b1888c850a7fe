"""What the capacity job tells: kinds of outcome, and the lines in which the windows are told. Pure."""

from enum import StrEnum
from typing import Final

from jobs.capacity.limits import Limit
from jobs.capacity.policy import Level, WindowTotal


class OutcomeKind(StrEnum):
    """What a line of the job's outcomes is."""

    WINDOW = "window"  # a total at or above the warn level
    SUSPENDED = "suspended"  # an action that begins a lease
    EXTENDED = "extended"  # an action that extends one
    SHADOW_SUSPENDED = "shadow_suspended"  # the same, of rules that change, while shadow is in force: not sent
    SHADOW_EXTENDED = "shadow_extended"
    REPORT = "report"  # see `jobs.recorded.reports`
    RULES = "rules"  # what became of rules that came while the job runs


BEGINS: Final = frozenset({OutcomeKind.SUSPENDED, OutcomeKind.SHADOW_SUSPENDED})
"""Kinds of actions that begin a lease."""

SHADOWS: Final = frozenset({OutcomeKind.SHADOW_SUSPENDED, OutcomeKind.SHADOW_EXTENDED})
"""Kinds of actions that are not sent."""


def applied_rules(version: int, at_ms: int) -> dict[str, str | int]:
    """The fields of a line in `rules.jsonl` for a version that is in force, or will be from its time on."""
    return {"at_ms": at_ms, "outcome": "applied", "version": version}


def refused_rules(reason: str, at_ms: int) -> dict[str, str | int]:
    """The same for a file of rules that changed nothing, or a version that settings no longer allow."""
    return {"at_ms": at_ms, "outcome": "refused", "reason": reason}


def window_line(
    total: WindowTotal, limit: Limit, level: Level, rules_version: int | None
) -> dict[str, str | int | None]:
    """The fields of a line in `windows.jsonl`; the version of the rules where they can change."""
    line: dict[str, str | int | None] = {
        "table": total.table,
        "partition_key": total.partition_key,
        "window_start_ms": total.window_start_ms,
        "step_end_ms": total.step_end_ms,
        "consumed_wcu": total.consumed_wcu,
        "writes": total.writes,
        "limit_wcu": limit.wcu,
        "level": level.value,
    }
    return line if rules_version is None else line | {"rules_version": rules_version}
