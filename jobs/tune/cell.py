"""What one choice of settings would have done with a recording. Pure.

The totals come from sums, the judgement is the job's own: `jobs.capacity.policy.decide`, called on each total that can
change anything. While a lease runs, totals over the limit change nothing until it is time to extend it; how long that
is, `decide` itself is asked once for each length of a lease.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from connectors.actions import SuspendAction
from jobs.capacity.limits import Limit, Limits
from jobs.capacity.outcomes import OutcomeKind
from jobs.capacity.policy import DecisionKind, LeaseState, WindowTotal, decide
from jobs.capacity.tally import Tally
from jobs.consumption.series import SECOND_MS, Consumption, Numbers, Spans
from jobs.consumption.windows import window_start_ms, window_totals
from jobs.recorded.distinct import Key
from jobs.settings import Settings, WindowSettings


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


@dataclass(frozen=True, slots=True)
class OverTotals:
    """The totals of one key that are over its limit, as lists, because they are gone through one by one."""

    first_ms: list[int]
    last_ms: list[int]
    wcu: list[int]
    writes: list[int]


class _Windows:
    """The totals of one choice of window that are at least so high, and the highest of each key."""

    def __init__(self, consumption: Consumption, window: WindowSettings, least_wcu: int) -> None:
        self.least_wcu = least_wcu
        self._totals = window_totals(consumption.on_time, window, least_wcu)
        numbers, peaks = self._totals.peaks()
        self.peaks = dict(zip(numbers.tolist(), peaks.tolist(), strict=True))
        self._starts, self._ends = (
            dict(zip(self.peaks, np.searchsorted(self._totals.key, numbers, side).tolist(), strict=True))
            for side in ("left", "right")
        )

    def over(self, number: int, limit_wcu: int) -> OverTotals:
        """The totals of a key that are at a limit or above."""
        totals = self._totals
        rows = slice(self._starts[number], self._ends[number])
        over = totals.wcu[rows] >= limit_wcu
        columns = (totals.first_ms, totals.last_ms, totals.wcu, totals.writes)
        return OverTotals(*(column[rows][over].tolist() for column in columns))


class Judge:
    """Judges one choice of settings after the other, and remembers what several have in common.

    Args:
        consumption: The recording, in spans of which all steps and leases are multiples.
    """

    def __init__(self, consumption: Consumption) -> None:
        self._consumption = consumption
        self._written = _Written(consumption.written)
        self._on_time = _Written(consumption.on_time)
        self._windows: dict[WindowSettings, _Windows] = {}

    def cells(self, choices: Sequence[Settings]) -> Iterator[Cell]:
        """What each choice would have done, in their order."""
        least_wcu = min((Limits(choice.limits).lowest_warn_wcu for choice in choices), default=1)
        for choice in choices:
            yield self.cell(choice, least_wcu)

    def cell(self, settings: Settings, least_wcu: int | None = None) -> Cell:
        """What one choice would have done.

        Args:
            settings: The choice.
            least_wcu: The lowest total that this choice or another, judged later, is concerned with.
        """
        limits = Limits(settings.limits)
        windows = self._windows_for(settings.window, limits.lowest_warn_wcu if least_wcu is None else least_wcu)
        leases = Leases(settings)
        near_keys = 0
        refused = np.zeros(2, np.int64)
        seconds: list[float] = []
        for number, peak_wcu in windows.peaks.items():
            key = self._consumption.keys[number]
            limit = limits.limit_for(key[0], key[1])
            if limit.wcu is None or limit.warn_wcu is None or peak_wcu < limit.warn_wcu:
                continue
            if peak_wcu < limit.wcu:
                near_keys += 1
                continue
            actions = list(leases.given(key, windows.over(number, limit.wcu), limit))
            refused += self._written.within(number, _stretches(actions))
            seconds += [self._seconds_to(number, action) for kind, action in actions if kind is DecisionKind.SUSPENDED]
        histories = leases.tally.suspended.values()
        return Cell(
            settings,
            suspended_keys=len(histories),
            suspensions=sum(history.suspensions for history in histories),
            extensions=sum(history.extensions for history in histories),
            suspended_ms=sum(history.suspended_ms for history in histories),
            refused_wcu=int(refused[0]),
            refused_writes=int(refused[1]),
            near_keys=near_keys,
            seconds_to_suspend=tuple(seconds),
        )

    def _windows_for(self, window: WindowSettings, least_wcu: int) -> _Windows:
        known = self._windows.get(window)
        if known is None or known.least_wcu > least_wcu:
            known = self._windows[window] = _Windows(self._consumption, window, least_wcu)
        return known

    def _seconds_to(self, number: int, action: SuspendAction) -> float:
        evidence = action.evidence
        reached_ms = self._on_time.reached_ms(number, evidence.window_start_ms, evidence.limit_wcu)
        return (action.issued_at_ms - reached_ms) / SECOND_MS


class Leases:
    """The leases of one choice of settings, decided key by key."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._idle_ms: dict[int, int] = {}
        self.tally = Tally()

    def given(self, key: Key, over: OverTotals, limit: Limit) -> Iterator[tuple[DecisionKind, SuspendAction]]:
        """The actions about one key, in the order of their times."""
        lease, window = self._settings.lease, self._settings.window
        state = LeaseState.calm()
        at, earliest_ms = 0, 0
        while (at := bisect_left(over.last_ms, earliest_ms, at)) < len(over.last_ms):
            step_end_ms = max(over.first_ms[at], earliest_ms)
            start_ms = window_start_ms(window, step_end_ms)
            total = WindowTotal(*key, start_ms, step_end_ms, over.wcu[at], over.writes[at])
            state, decision = decide(state, total, limit, lease, window)
            if decision.action is None or decision.kind is None:
                earliest_ms = step_end_ms + window.step_ms
                continue
            self.tally.add_action(OutcomeKind(decision.kind.value), decision.action)
            yield decision.kind, decision.action
            earliest_ms = step_end_ms + self._idle_for_ms(state, total, limit)

    def _idle_for_ms(self, state: LeaseState, total: WindowTotal, limit: Limit) -> int:
        """How long after this decision no total changes anything, because the lease need not be extended yet."""
        known = self._idle_ms.get(state.level_index)
        if known is None:
            known = self._idle_ms[state.level_index] = self._asked_idle_ms(state, total, limit)
        return known

    def _asked_idle_ms(self, state: LeaseState, total: WindowTotal, limit: Limit) -> int:
        lease, window = self._settings.lease, self._settings.window
        later = total
        while True:
            later = replace(later, step_end_ms=later.step_end_ms + window.step_ms)
            if decide(state, later, limit, lease, window)[1].action is not None:
                return later.step_end_ms - total.step_end_ms


class _Written:
    """Looks up what was written in stretches of time."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._sums = np.concatenate((np.zeros((1, 2), np.int64), np.cumsum((spans.wcu, spans.writes), axis=1).T))

    def within(self, number: int, stretches: Numbers) -> Numbers:
        """Units and writes of a key in stretches of time, which do not overlap."""
        first, end = self._rows(number)
        places = first + np.searchsorted(self._spans.start_ms[first:end], stretches)
        return np.asarray((self._sums[places[:, 1]] - self._sums[places[:, 0]]).sum(axis=0))

    def reached_ms(self, number: int, start_ms: int, wcu: int) -> int:
        """When the span begins in which a key's total since some time came to so much."""
        first, end = self._rows(number)
        since = first + np.searchsorted(self._spans.start_ms[first:end], start_ms)
        sums = self._sums[since + 1 : end + 1, 0]
        return int(self._spans.start_ms[since + np.searchsorted(sums, self._sums[since, 0] + wcu)])

    def _rows(self, number: int) -> tuple[int, int]:
        first, end = np.searchsorted(self._spans.key, (number, number + 1))
        return int(first), int(end)


def _stretches(actions: Sequence[tuple[DecisionKind, SuspendAction]]) -> Numbers:
    """Beginnings and ends of the time under a lease, what overlaps put together."""
    stretches: list[list[int]] = []
    for _, action in actions:
        if stretches and action.issued_at_ms <= stretches[-1][1]:
            stretches[-1][1] = action.not_after_ms
        else:
            stretches.append([action.issued_at_ms, action.not_after_ms])
    return np.array(stretches, np.int64).reshape(-1, 2)
