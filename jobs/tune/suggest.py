"""Limits for a stated budget of suspensions. Pure."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from jobs.capacity.limits import Limits
from jobs.consumption.series import Consumption
from jobs.consumption.windows import window_totals
from jobs.settings import Settings
from jobs.settings.durations import DAY_MS, HOUR_MS
from jobs.tune.cell import Cell, Judge
from jobs.tune.choices import changed

# Limits as people choose them: so many to each power of ten.
_ROUND: Final = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80)
_MOST_CELLS: Final = 60
_PERIODS_MS: Final = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS}
_BUDGET: Final = re.compile(r"(\d{1,9})(?:/(hour|day|week))?")
_SHARES: Final = (50, 90, 99, 99.9)


@dataclass(frozen=True, slots=True)
class Budget:
    """How many suspensions there may be in a period, or in the recording where there is none."""

    suspensions: int
    period: str | None

    @classmethod
    def read(cls, text: str) -> "Budget":
        """A budget as `--budget` takes it: "5/day", "1/hour", "10/week", "3".

        Raises:
            ValueError: With what is wrong.
        """
        matched = _BUDGET.fullmatch(text)
        if matched is None:
            message = f"{text!r} is not a budget; write it like 5/day, 1/hour or 20/week, or 3 for the whole recording"
            raise ValueError(message)
        return cls(int(matched[1]), matched[2])

    def allowed(self, covered_ms: int) -> float:
        """How many suspensions that is in so much time, to the hundredth, as it is told too."""
        if self.period is None:
            return float(self.suspensions)
        return round(self.suspensions * covered_ms / _PERIODS_MS[self.period], 2)

    def __str__(self) -> str:
        return f"{self.suspensions} a {self.period}" if self.period else f"{self.suspensions} in the recording"


@dataclass(frozen=True, slots=True)
class Distribution:
    """How much partition keys consumed in their fullest window.

    Attributes:
        shares: Pairs of a percentage and what so many of the keys stayed at or below, WCU.
    """

    keys: int
    shares: tuple[tuple[float, int], ...]
    highest_wcu: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A limit and what speaks for it.

    Attributes:
        chosen: What the suggested limit would have done; None where no limit keeps to the budget.
        below: What the next lower one would have done, which is over the budget; None where none is lower.
        allowed: How many suspensions the budget allows in the time of the recording.
    """

    chosen: Cell | None
    below: Cell | None
    allowed: float
    distribution: Distribution


def suggest(consumption: Consumption, settings: Settings, judge: Judge, budget: Budget) -> Suggestion:
    """The lowest round limit that keeps to the budget, as all above it do."""
    distribution = distribution_of(consumption, settings)
    allowed = budget.allowed(consumption.covered_ms)
    chosen: Cell | None = None
    least_wcu = distribution.highest_wcu
    for limit_wcu in _round_limits(distribution.highest_wcu):
        choice = changed(settings, limit_wcu=limit_wcu)
        lowest_wcu = Limits(choice.limits).lowest_warn_wcu
        if lowest_wcu < least_wcu:
            # Far lower, so that the same totals serve for the next limits too.
            least_wcu = max(1, lowest_wcu // 8)
        cell = judge.cell(choice, least_wcu)
        if cell.suspensions > allowed:
            return Suggestion(chosen, cell, allowed, distribution)
        chosen = cell
    return Suggestion(chosen, None, allowed, distribution)


def distribution_of(consumption: Consumption, settings: Settings) -> Distribution:
    """The fullest windows of all keys that consumed anything."""
    _, peaks = window_totals(consumption.on_time, settings.window).peaks()
    if not len(peaks):
        return Distribution(0, tuple((share, 0) for share in _SHARES), 0)
    reached = np.percentile(peaks, _SHARES, method="higher").tolist()
    return Distribution(len(peaks), tuple(zip(_SHARES, reached, strict=True)), int(peaks.max()))


def _round_limits(highest_wcu: int) -> Iterator[int]:
    """Round limits from just above the highest total downwards."""
    limits: list[int] = sorted({each * 10**power // 10 for power in range(13) for each in _ROUND})
    above = bisect_right(limits, highest_wcu)
    return reversed(limits[max(0, above + 1 - _MOST_CELLS) : above + 1])
