from typing import Any

import pytest
from rich.console import Console

from jobs.capacity.standing import Standing
from jobs.recorded.reports import Counts, Report
from jobs.up.view import Suspension, screen, summary


def window(key: str, consumed_wcu: int, step_end_ms: int = 10_000, limit_wcu: int = 100) -> dict[str, Any]:
    return {
        "table": "visits",
        "partition_key": key,
        "window_start_ms": 0,
        "step_end_ms": step_end_ms,
        "consumed_wcu": consumed_wcu,
        "writes": 1,
        "limit_wcu": limit_wcu,
        "level": "over" if consumed_wcu >= limit_wcu else "warn",
    }


def shown(status: dict[str, Any] | None, suspensions: list[Suspension], doing: str = "") -> str:
    console = Console(width=100, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(screen(summary(status, 12.34, len(suspensions), 61.0), suspensions, doing))
    return capture.get()


def test_before_the_job_says_anything_it_is_told_what_is_being_started() -> None:
    text = shown(None, [], "starting the job on Flink")
    assert "starting the job on Flink ..." in text
    assert "nobody" in text


def test_the_screen_tells_who_is_hot_and_who_is_suspended_for_how_long() -> None:
    standing = Standing(step_ms=1_000)
    standing.add_report(Report(counts=Counts(changes=7, malformed=1, last_event_ms=98_500, first_event_ms=1)))
    standing.add_window(window("tenant-[red]", 90))
    standing.add_window(window("tenant-hot", 130))
    text = shown(standing.snapshot(100_000), [Suspension("visits", "tenant-hot", 9_400, 15_000, 130, 100)])
    assert "running 1m1s" in text
    assert "8 changes" in text
    assert "12/s" in text
    assert "newest 1.5 s ago" in text
    assert text.index("tenant-hot") < text.index("tenant-[red]")
    suspended = next(line for line in text.splitlines() if "9 s" in line)
    assert "tenant-hot" in suspended
    assert "30" in suspended


@pytest.mark.parametrize(("older_by_ms", "is_shown"), [(999, True), (1_000, True), (1_001, False)])
def test_a_key_of_an_older_step_is_not_hot_now(older_by_ms: int, is_shown: bool) -> None:
    standing = Standing(step_ms=1_000)
    standing.add_window(window("old", 90, 10_000 - older_by_ms))
    standing.add_window(window("new", 80, 10_000))
    hottest = [line["partition_key"] for line in standing.snapshot(0)["hottest"]]
    assert hottest == (["old", "new"] if is_shown else ["new"])


def test_what_is_decided_and_delivered_is_counted_by_its_kind() -> None:
    standing = Standing(step_ms=1_000)
    for kind in ("suspended", "suspended", "extended"):
        standing.add_decision(kind)
    standing.add_delivery("sent")
    snapshot = standing.snapshot(5)
    assert (snapshot["decided"], snapshot["delivered"]) == ({"suspended": 2, "extended": 1}, {"sent": 1})
    assert snapshot["lag_ms"] is None
