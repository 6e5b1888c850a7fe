"""What one choice of settings would have done with a recording. Pure.

The totals come from sums, the judgement is the job's own, and only what can change anything is looked at: keys that
come to their limit, and of their totals those at which a lease begins or is made longer.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from jobs.capacity.limits import Limits
from jobs.capacity.policy import DecisionKind
from jobs.consumption.series import SECOND_MS, Consumption, Numbers, Spans
from jobs.consumption.windows import only_what_can_reach, window_start_ms, window_totals
from jobs.settings import LimitsSettings, Settings, WindowKind, WindowSettings
from jobs.tune.leases import Lease, Leases

_NEVER_WCU = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Cell:
    """What a choice of settings would have done.

    Attributes:
        suspended_ms: Time under a lease, of all keys together.
        refused_wcu: What the writes consumed that were made while a lease of their key ran, late ones included.
        refused_writes: How many of them consumed anything.
        near_keys: Keys that came to their warn level or above it and were not suspended.
        seconds_to_suspend: For each suspension, the time from the beginning of the span in which the window's total
            came to the limit until the suspension was decided, in event time.
    """

    settings: Settings
    suspended_keys: int
    suspensions: int
    extensions: int
    suspended_ms: int
    refused_wcu: int
    refused_writes: int
    near_keys: int
    seconds_to_suspend: tuple[float, ...]

    @property
    def seconds_to_suspend_median(self) -> float | None:
        """Half of the suspensions came no later than this; None where there was none."""
        return median(self.seconds_to_suspend) if self.seconds_to_suspend else None

    @property
    def seconds_to_suspend_max(self) -> float | None:
        """The longest of them."""
        return max(self.seconds_to_suspend, default=None)


class _Windows:
    """The totals of one choice of window that are at least so high, and the highest of each key."""

    def __init__(self, spans: Spans, window: WindowSettings, least_wcu: int) -> None:
        self.least_wcu = least_wcu
        self._totals = window_totals(spans, window, least_wcu)
        self.numbers, self.peaks = self._totals.peaks()
        self._bounds = np.searchsorted(self._totals.key, np.append(self.numbers, self.numbers[-1:] + 1))

    def over(self, place: int, limit_wcu: int) -> tuple[memoryview, memoryview]:
        """The first and last step ends of the stretches in which the key at a place in `numbers` is over a limit."""
        rows = slice(self._bounds[place], self._bounds[place + 1])
        over = self._totals.wcu[rows] >= limit_wcu
        return self._totals.first_ms[rows][over].data, self._totals.last_ms[rows][over].data


class Judge:
    """Judges one choice of settings after the other, and remembers what several have in common.

    Args:
        consumption: The recording, in spans of which all steps and leases are multiples.
    """

    def __init__(self, consumption: Consumption) -> None:
        self._consumption = consumption
        self._on_time = _Written(consumption.on_time, len(consumption.keys))
        late = consumption.written is not consumption.on_time
        self._written = _Written(consumption.written, len(consumption.keys)) if late else self._on_time
        self._windows: dict[WindowSettings, _Windows] = {}

    def cells(self, choices: Sequence[Settings]) -> Iterator[Cell]:
        """What each choice would have done, in their order."""
        least_wcu = min((Limits(choice.limits).lowest_warn_wcu for choice in choices), default=1)
        windows = {choice.window for choice in choices}
        steps = self._steps(windows, least_wcu)
        for window in windows:
            self._windows_for(window, least_wcu, steps[window.step_ms])
        for choice in choices:
            yield self.cell(choice, least_wcu)

    def cell(self, settings: Settings, least_wcu: int) -> Cell:
        """What one choice would have done.

        Args:
            settings: The choice.
            least_wcu: The lowest total that this choice or another, judged later, is concerned with.
        """
        windows = self._windows_for(settings.window, least_wcu, self._consumption.on_time)
        limit_wcu, warn_wcu = self._limits(settings.limits, windows.numbers)
        over = windows.peaks >= limit_wcu
        leases = Leases(settings.lease, settings.window)
        suspensions = extensions = suspended_ms = 0
        refused = np.zeros(2, np.int64)
        seconds: list[float] = []
        for place in np.flatnonzero(over).tolist():
            number, limit = int(windows.numbers[place]), int(limit_wcu[place])
            given = list(leases.given(*windows.over(place, limit)))
            begun_ms = [lease.step_end_ms for lease in given if lease.kind is DecisionKind.SUSPENDED]
            stretches = _stretches(given)
            suspensions += len(begun_ms)
            extensions += len(given) - len(begun_ms)
            suspended_ms += int((stretches[:, 1] - stretches[:, 0]).sum())
            refused += self._written.within(number, stretches)
            starts_ms = [window_start_ms(settings.window, at_ms) for at_ms in begun_ms]
            seconds += ((begun_ms - self._on_time.reached_ms(number, starts_ms, limit)) / SECOND_MS).tolist()
        return Cell(
            settings,
            suspended_keys=int(over.sum()),
            suspensions=suspensions,
            extensions=extensions,
            suspended_ms=suspended_ms,
            refused_wcu=int(refused[0]),
            refused_writes=int(refused[1]),
            near_keys=int(((windows.peaks >= warn_wcu) & ~over).sum()),
            seconds_to_suspend=tuple(seconds),
        )

    def _steps(self, windows: Collection[WindowSettings], least_wcu: int) -> dict[int, Spans]:
        """What can reach such a total in one of some windows, by the steps of these."""
        if not windows:
            return {}
        # Every window is within one of the longest that hop.
        longest = max(windows, key=lambda window: window.size_ms).model_copy(update={"kind": WindowKind.HOP})
        reaching = only_what_can_reach(self._consumption.on_time, longest, least_wcu)
        return {step_ms: reaching.coarser(step_ms) for step_ms in {window.step_ms for window in windows}}

    def _windows_for(self, window: WindowSettings, least_wcu: int, spans: Spans) -> _Windows:
        known = self._windows.get(window)
        if known is None or known.least_wcu > least_wcu:
            known = self._windows[window] = _Windows(spans, window, least_wcu)
        return known

    def _limits(self, settings: LimitsSettings, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """The limits of these keys, and from where on they are near them; out of reach where they are exempt."""
        limits, keys = Limits(settings), self._consumption.keys
        if settings.rules:
            found = [limits.limit_for(*keys[number][:2]) for number in numbers.tolist()]
        else:
            found = [limits.limit_for("", "")] * len(numbers)
        wcu = [_NEVER_WCU if limit.wcu is None else limit.wcu for limit in found]
        warn_wcu = [_NEVER_WCU if limit.warn_wcu is None else limit.warn_wcu for limit in found]
        return np.array(wcu, np.int64), np.array(warn_wcu, np.int64)


class _Written:
    """Looks up what was written in stretches of time."""

    def __init__(self, spans: Spans, keys: int) -> None:
        self._start_ms = spans.start_ms
        self._wcu, self._writes = (_sums(column) for column in (spans.wcu, spans.writes))
        self._bounds = np.searchsorted(spans.key, np.arange(keys + 1))

    def within(self, number: int, stretches: Numbers) -> Numbers:
        """Units and writes of a key in stretches of time, which do not overlap."""
        first, end = self._bounds[number : number + 2]
        start, stop = (first + np.searchsorted(self._start_ms[first:end], stretches)).T
        return np.array([(sums[stop] - sums[start]).sum() for sums in (self._wcu, self._writes)])

    def reached_ms(self, number: int, since_ms: Sequence[int], wcu: int) -> Numbers:
        """When the span begins in which a key's total since each of some times came to so much."""
        first, end = self._bounds[number : number + 2]
        since = first + np.searchsorted(self._start_ms[first:end], since_ms)
        places = np.searchsorted(self._wcu[first + 1 : end + 1], self._wcu[since] + wcu)
        return np.asarray(self._start_ms[first + places])


def _sums(values: Numbers) -> Numbers:
    """The sums before each value, and of all."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def _stretches(leases: Sequence[Lease]) -> Numbers:
    """Beginnings and ends of the time under a lease, what overlaps put together."""
    stretches: list[list[int]] = []
    for _, start_ms, end_ms in leases:
        if stretches and start_ms <= stretches[-1][1]:
            stretches[-1][1] = end_ms
        else:
            stretches.append([start_ms, end_ms])
    return np.array(stretches, np.int64).reshape(-1, 2)
