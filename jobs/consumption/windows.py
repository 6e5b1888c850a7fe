"""The totals that the windows of a recording have at their step ends, as the job's SQL sums them up. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jobs.consumption.series import Numbers, Spans, firsts
from jobs.settings import WindowKind, WindowSettings


@dataclass(frozen=True)
class Totals:
    """Totals in their order for each key: a row for each stretch of step ends at which one has the same total.

    Attributes:
        key: The number of the partition key.
        first_ms: The first of the step ends.
        last_ms: The last of them, in the same window where windows cumulate.
        wcu: The total, at least one.
        writes: How many writes are in it.
    """

    key: Numbers
    first_ms: Numbers
    last_ms: Numbers
    wcu: Numbers
    writes: Numbers

    def at_least(self, wcu: int) -> "Totals":
        """The rows with such a total."""
        return self._rows(np.flatnonzero(self.wcu >= wcu))

    def of_key(self, number: int) -> "Totals":
        """The rows of one key."""
        return self._rows(slice(*np.searchsorted(self.key, (number, number + 1))))

    def _rows(self, rows: slice | NDArray[np.intp]) -> "Totals":
        return Totals(self.key[rows], self.first_ms[rows], self.last_ms[rows], self.wcu[rows], self.writes[rows])

    def peaks(self) -> tuple[Numbers, Numbers]:
        """The numbers of the keys that are here, and the highest total of each."""
        if not len(self.key):
            return self.key, self.wcu
        first = firsts(self.key)
        return self.key[first], np.maximum.reduceat(self.wcu, first)


def window_start_ms(window: WindowSettings, step_end_ms: int) -> int:
    """When the window began that is looked at at a step end."""
    if window.kind is WindowKind.HOP:
        return step_end_ms - window.size_ms
    return (step_end_ms - 1) // window.size_ms * window.size_ms


def window_totals(spans: Spans, window: WindowSettings, least_wcu: int = 1) -> Totals:
    """All totals of a window's settings that are at least so high.

    Args:
        spans: Sums in spans of which the step is a multiple.
        window: Its size, step and kind.
        least_wcu: At least 1.
    """
    steps = only_what_can_reach(spans, window, least_wcu).coarser(window.step_ms)
    totals = _hopping(steps, window) if window.kind is WindowKind.HOP else _cumulating(steps, window)
    return totals.at_least(least_wcu)


def only_what_can_reach(spans: Spans, window: WindowSettings, least_wcu: int) -> Spans:
    """The rows that can be in a total so high, and with which every such total is what it is.

    A window that cumulates is one of those that begin at multiples of its size. One that hops overlaps at most two of
    them, one after the other, so that its total is at most what both hold.
    """
    if not len(spans.key):
        return spans
    aligned = spans.start_ms // window.size_ms
    first = firsts(spans.key, aligned)
    wcu = np.add.reduceat(spans.wcu, first)
    reaching = wcu >= least_wcu
    if window.kind is WindowKind.HOP:
        key, place = spans.key[first], aligned[first]
        follows = (key[1:] == key[:-1]) & (place[1:] == place[:-1] + 1)
        both = follows & (wcu[1:] + wcu[:-1] >= least_wcu)
        reaching[1:] |= both
        reaching[:-1] |= both
    if reaching.all():
        return spans
    return spans.only(np.repeat(reaching, np.diff(np.append(first, len(spans.key)))))


def _cumulating(steps: Spans, window: WindowSettings) -> Totals:
    """Within a window a total grows from the first write on, and is told at every step end up to the window's."""
    window_ms = steps.start_ms // window.size_ms
    first = firsts(steps.key, window_ms)
    first_ms = steps.start_ms + window.step_ms
    last_ms = (window_ms + 1) * window.size_ms
    goes_on = _all_but(len(steps.key), first)
    last_ms[:-1] = np.where(goes_on, first_ms[1:] - window.step_ms, last_ms[:-1])
    wcu, writes = (_running(each, first) for each in (steps.wcu, steps.writes))
    return Totals(steps.key, first_ms, last_ms, wcu, writes)


def _all_but(length: int, first: NDArray[np.intp]) -> NDArray[np.bool_]:
    """For each row but the last, whether the next belongs to the same group."""
    same = np.ones(length, np.bool_)
    same[first] = False
    return np.asarray(same[1:], np.bool_)


def _running(values: Numbers, first: NDArray[np.intp]) -> Numbers:
    """Sums so far, beginning anew in each group."""
    sums = np.cumsum(values)
    before = sums[first] - values[first]
    lengths = np.diff(np.append(first, len(values)))
    return np.asarray(sums - np.repeat(before, lengths), np.int64)


def _hopping(steps: Spans, window: WindowSettings) -> Totals:
    """A step's writes enter the window that ends with the step, and leave it a window's length later."""
    entering_ms = steps.start_ms + window.step_ms
    changes = Spans.summed(
        np.concatenate((steps.key, steps.key)),
        np.concatenate((entering_ms, entering_ms + window.size_ms)),
        np.concatenate((steps.wcu, -steps.wcu)),
        np.concatenate((steps.writes, -steps.writes)),
    )
    last_ms = np.append(changes.start_ms[1:], 0) - window.step_ms
    # What a key enters it leaves, so that the sums of each begin at nothing, and end there.
    return Totals(changes.key, changes.start_ms, last_ms, np.cumsum(changes.wcu), np.cumsum(changes.writes))
