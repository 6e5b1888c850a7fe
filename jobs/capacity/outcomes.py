"""What the capacity job tells: kinds of outcome, and the lines in which the windows are told. Pure."""

from enum import StrEnum

from jobs.capacity.limits import Limit
from jobs.capacity.policy import Level, WindowTotal


class OutcomeKind(StrEnum):
    """What a line of the job's outcomes is."""

    WINDOW = "window"  # a total at or above the warn level
    SUSPENDED = "suspended"  # an action that begins a lease
    EXTENDED = "extended"  # an action that extends one
    REPORT = "report"  # see `jobs.recorded.reports`


def window_line(total: WindowTotal, limit: Limit, level: Level) -> dict[str, str | int | None]:
    """The fields of a line in `windows.jsonl`."""
    return {
        "table": total.table,
        "partition_key": total.partition_key,
        "window_start_ms": total.window_start_ms,
        "step_end_ms": total.step_end_ms,
        "consumed_wcu": total.consumed_wcu,
        "writes": total.writes,
        "limit_wcu": limit.wcu,
        "level": level.value,
    }
