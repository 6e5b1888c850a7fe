"""Charts of one partition key's windows over time, as coordinates and labels. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from jobs.consumption.series import Numbers
from jobs.consumption.windows import Totals
from jobs.settings.durations import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

WIDTH: Final = 400
HEIGHT: Final = 190
LEFT, RIGHT, TOP, BOTTOM = 44, 6, 14, 24
_MOST_POINTS: Final = 350
_MOST_TIMES: Final = 5
_TIME_STEPS_MS: Final = (
    *(SECOND_MS * each for each in (1, 2, 5, 10, 15, 30)),
    *(MINUTE_MS * each for each in (1, 2, 5, 10, 15, 30)),
    *(HOUR_MS * each for each in (1, 2, 3, 6, 12)),
    *(DAY_MS * each for each in (1, 2, 7, 14, 28, 91, 364)),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis: where, and what stands there."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What is drawn; coordinates are in a box of `WIDTH` by `HEIGHT`.

    Attributes:
        leases: Left edge and width of each stretch under a lease.
        limit_y: None without a limit.
        point_ms: The time that one point of the line stands for, of which it shows the highest total.
    """

    line: str
    area: str
    leases: Sequence[tuple[float, float]]
    limit_y: float | None
    values: Sequence[Tick]
    times: Sequence[Tick]
    point_ms: int


@dataclass(frozen=True, slots=True)
class Axis:
    """The time that all charts of a page show, in points of whole steps."""

    start_ms: int
    end_ms: int
    point_ms: int

    @classmethod
    def covering(cls, first_ms: int, last_ms: int, step_ms: int) -> "Axis":
        """From the step of the first change to the end of that of the last."""
        start_ms = first_ms // step_ms * step_ms
        end_ms = (last_ms // step_ms + 1) * step_ms
        steps = (end_ms - start_ms) // step_ms
        point_ms = -(-steps // _MOST_POINTS) * step_ms
        return cls(start_ms, start_ms + -(-(end_ms - start_ms) // point_ms) * point_ms, point_ms)

    def x(self, at_ms: int) -> float:
        """Where a time is, at most at the edges."""
        share = (at_ms - self.start_ms) / (self.end_ms - self.start_ms)
        return round(LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT), 1)

    def highest(self, totals: Totals, step_ms: int) -> Numbers:
        """The highest total in each point's time; a total that is told at a step end belongs to that step."""
        points = np.zeros((self.end_ms - self.start_ms) // self.point_ms, np.int64)
        first = np.clip((totals.first_ms - step_ms - self.start_ms) // self.point_ms, 0, len(points))
        end = np.clip((totals.last_ms - step_ms - self.start_ms) // self.point_ms + 1, 0, len(points))
        for start, stop, wcu in zip(first.tolist(), end.tolist(), totals.wcu.tolist(), strict=True):
            np.maximum(points[start:stop], wcu, out=points[start:stop])
        return points


def draw(
    axis: Axis, totals: Totals, step_ms: int, limit_wcu: int | None, leases_ms: Sequence[tuple[int, int]]
) -> Chart:
    """The chart of a key.

    Args:
        axis: The time to show.
        totals: Those of the key.
        step_ms: The step of the windows.
        limit_wcu: None where the key is exempt.
        leases_ms: When its leases run, beginning and end.
    """
    points = axis.highest(totals, step_ms)
    ticks = value_ticks(max(int(points.max(initial=0)), limit_wcu or 0, 1))
    top = ticks[-1]
    runs = _runs(points)
    edges = [(axis.x(axis.start_ms + first * axis.point_ms), _y(wcu, top)) for first, wcu in runs]
    end = axis.x(axis.end_ms)
    line = f"M{edges[0][0]:g} {edges[0][1]:g}" + "".join(f"H{x:g}V{y:g}" for x, y in edges[1:]) + f"H{end:g}"
    shown = [(start, stop) for start, stop in leases_ms if stop > axis.start_ms and start < axis.end_ms]
    return Chart(
        line=line,
        area=f"{line}V{_y(0, top):g}H{edges[0][0]:g}Z",
        leases=[(axis.x(start), round(axis.x(stop) - axis.x(start), 1)) for start, stop in shown],
        limit_y=None if limit_wcu is None else _y(limit_wcu, top),
        values=[Tick(_y(value, top), short(value)) for value in ticks],
        times=time_ticks(axis),
        point_ms=axis.point_ms,
    )


def _runs(points: Numbers) -> list[tuple[int, int]]:
    """Where each run of equal values begins, and the value."""
    starts = np.flatnonzero(np.diff(points, prepend=-1))
    return [(int(start), int(points[start])) for start in starts]


def _y(value: float, top: int) -> float:
    return round(HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM), 1)


def value_ticks(highest: int) -> list[int]:
    """Round values from 0 to above the highest, three to five steps apart."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if highest <= 4 * step * factor:
                step *= factor
                return [step * count for count in range(-(-highest // step) + 1)]
        step *= 10


def time_ticks(axis: Axis) -> list[Tick]:
    """Round times with labels as short as they can be told apart."""
    length_ms = axis.end_ms - axis.start_ms
    step_ms = next((each for each in _TIME_STEPS_MS if length_ms <= each * _MOST_TIMES), _TIME_STEPS_MS[-1])
    first_ms = -(-axis.start_ms // step_ms) * step_ms
    return [Tick(axis.x(at_ms), _time(at_ms, step_ms)) for at_ms in range(first_ms, axis.end_ms + 1, step_ms)]


def _time(at_ms: int, step_ms: int) -> str:
    """A time of day, or the day itself where a day begins."""
    form = "%m-%d" if at_ms % DAY_MS == 0 else "%H:%M:%S" if step_ms < MINUTE_MS else "%H:%M"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form)


def short(value: int) -> str:
    """A round number in few characters: 800, 1.5k, 20k, 3M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return str(value)
