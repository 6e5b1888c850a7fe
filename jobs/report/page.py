"""The page of a replay: its figures, charts of the hottest keys, all decisions, and what counted for nothing. I/O."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10
from pathlib import Path
from typing import Any, Final

from jobs.capacity.kept import KeptResult, KeptResultError
from jobs.capacity.limits import Limit, Limits
from jobs.capacity.rules import uses_rules
from jobs.consumption.series import Consumption
from jobs.consumption.windows import Totals, window_start_ms, window_totals
from jobs.pages.render import render
from jobs.report import chart
from jobs.report.chart import Axis, Chart
from jobs.report.decisions import Decision, TableKey, lease_times, length_ms, told_decisions
from jobs.settings.render import to_toml

_MOST_CHARTS: Final = 9
_MOST_DECISIONS: Final = 5_000
_MOST_SAMPLES: Final = 20
_MOST_WINDOWS: Final = 12
_MOST_SHOWN_OF_RECORD: Final = 200
_EDGES: Final = (0.0, 0.01, 0.1, 0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class HotKey:
    """A partition key that came near its limit as few did.

    Attributes:
        share: Its highest total as a share of its limit.
        windows: The fullest windows: when each began and the highest total in it.
        suspended_ms: How long it was under a lease.
    """

    table: str
    partition_key: str
    peak_wcu: int
    limit_wcu: int
    share: float
    chart: Chart
    windows: Sequence[tuple[int, int]]
    leases_ms: Sequence[tuple[int, int]]
    suspended_ms: int


@dataclass(frozen=True, slots=True)
class Bin:
    """Keys whose highest totals are alike shares of their limits; `bar` is a length from 0 to 1."""

    label: str
    keys: int
    bar: float
    over: bool


def report_page(result: KeptResult, consumption: Consumption) -> str:
    """The HTML of the page.

    Raises:
        KeptResultError: The recording that was summed up is not that of the result.
    """
    _require_same(result, consumption)
    decisions = told_decisions(result.actions)
    leases = lease_times(decisions)
    totals = window_totals(consumption.on_time, result.settings.window)
    peaks = _peaks(totals, consumption, Limits(result.settings.limits))
    counts = consumption.counts
    return render(
        "report.html",
        result=result,
        counts=counts,
        keys=len(consumption.keys),
        files=[Path(each["file"]).name for each in result.summary.get("recording", [])],
        figures=_figures(leases, decisions),
        shadow=result.settings.shadow,
        rules_change=uses_rules(result.settings),
        chart=chart,
        hot=_hottest(peaks, totals, consumption, result, leases),
        bins=_bins([peak.share for peak in peaks]),
        exempt=len({int(number) for number in totals.peaks()[0]}) - len(peaks),
        decisions=decisions[:_MOST_DECISIONS],
        left_out=max(0, len(decisions) - _MOST_DECISIONS),
        malformed=[_malformed(line) for line in result.lines("malformed.jsonl", _MOST_SAMPLES)],
        late=list(result.lines("late.jsonl", _MOST_SAMPLES)),
        settings_text=to_toml(result.settings),
    )


def _require_same(result: KeptResult, consumption: Consumption) -> None:
    for name in ("changes", "malformed", "late"):
        found, told = getattr(consumption.counts, name), result.summary.get(name)
        if found != told:
            message = f"{result.directory}: is not the result of this recording, or the recording has changed since: "
            message += f"{found:,} {name} in it, {told} in the result"
            raise KeptResultError(message)


@dataclass(frozen=True, slots=True)
class _Peak:
    number: int
    wcu: int
    limit: Limit
    share: float


def _peaks(totals: Totals, consumption: Consumption, limits: Limits) -> list[_Peak]:
    """The highest totals of all keys that have limits, the nearest to its limit first."""
    peaks = []
    for number, wcu in zip(*(column.tolist() for column in totals.peaks()), strict=True):
        table, partition_key, _ = consumption.keys[number]
        limit = limits.limit_for(table, partition_key)
        if limit.wcu is not None:
            peaks.append(_Peak(number, wcu, limit, wcu / limit.wcu))
    return sorted(peaks, key=lambda peak: (-peak.share, peak.number))


def _figures(leases: dict[TableKey, list[tuple[int, int]]], decisions: Sequence[Decision]) -> dict[str, int]:
    return {
        "suspended_keys": len(leases),
        "suspensions": sum(not decision.extends for decision in decisions),
        "suspended_ms": sum(map(length_ms, leases.values())),
    }


def _hottest(
    peaks: Sequence[_Peak],
    totals: Totals,
    consumption: Consumption,
    result: KeptResult,
    leases: dict[TableKey, list[tuple[int, int]]],
) -> list[HotKey]:
    counts, window = consumption.counts, result.settings.window
    if counts.first_event_ms is None or counts.last_event_ms is None:
        return []
    axis = Axis.covering(counts.first_event_ms, counts.last_event_ms, window.step_ms)
    hot = []
    for peak in peaks[:_MOST_CHARTS]:
        table, partition_key, _ = consumption.keys[peak.number]
        of_key = totals.of_key(peak.number)
        times_ms = leases.get((table, partition_key), [])
        fullest: dict[int, int] = {}
        for last_ms, wcu in zip(of_key.last_ms.tolist(), of_key.wcu.tolist(), strict=True):
            start_ms = window_start_ms(window, last_ms) // window.size_ms * window.size_ms
            fullest[start_ms] = max(wcu, fullest.get(start_ms, 0))
        highest = sorted(fullest.items(), key=lambda each: (-each[1], each[0]))[:_MOST_WINDOWS]
        hot.append(
            HotKey(
                table,
                partition_key,
                peak.wcu,
                peak.limit.wcu or 0,
                peak.share,
                chart.draw(axis, of_key, window.step_ms, peak.limit.wcu, times_ms),
                sorted(highest),
                times_ms,
                length_ms(times_ms),
            )
        )
    return hot


def _bins(shares: Sequence[float]) -> list[Bin]:
    """How many keys came how near to their limits; lengths of bars grow with the logarithm."""
    counts = [0] * len(_EDGES)
    for share in shares:
        counts[bisect_right(_EDGES, share) - 1] += 1
    labels = [f"{low:.0%} to {high:.0%}" for low, high in pairwise(_EDGES)] + [f"{_EDGES[-1]:.0%} and above"]
    longest = log10(1 + max(counts))
    return [
        Bin(label, count, log10(1 + count) / longest if longest else 0.0, edge >= 1)
        for label, count, edge in zip(labels, counts, _EDGES, strict=True)
    ]


def _malformed(line: dict[str, Any]) -> dict[str, Any]:
    record = line.get("record", "")
    cut = record[:_MOST_SHOWN_OF_RECORD] + (" ..." if len(record) > _MOST_SHOWN_OF_RECORD else "")
    return {"reason": line.get("reason", ""), "place": place_text(line.get("position", {})), "record": cut}


def place_text(position: dict[str, Any]) -> str:
    """A place in a recording: its file, and the byte or the row in it."""
    where = f"byte {position['byte']:,}" if "byte" in position else f"row {position.get('row', 0):,}"
    return f"{position.get('file', '')}, {where}"
