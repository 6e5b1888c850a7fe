"""What each partition key consumed, in short spans of time one after the other. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from jobs.recorded.distinct import Key
from jobs.recorded.reports import Counts

Numbers = NDArray[np.int64]

SECOND_MS: Final = 1_000


@dataclass(frozen=True)
class Spans:
    """Sums of writes, a row for each key and span in which it wrote, sorted by both.

    Attributes:
        key: The number of the partition key.
        start_ms: When the span begins.
        wcu: What its writes consumed.
        writes: How many of them consumed anything.
    """

    key: Numbers
    start_ms: Numbers
    wcu: Numbers
    writes: Numbers

    @classmethod
    def summed(cls, key: Numbers, start_ms: Numbers, wcu: Numbers, writes: Numbers) -> Self:
        """Rows in any order, with those of one key and span put together."""
        order = _order(key, start_ms)
        return cls(key[order], start_ms[order], wcu[order], writes[order])._put_together()

    def coarser(self, span_ms: int) -> "Spans":
        """The same in longer spans; itself where it has no shorter ones."""
        if not np.any(self.start_ms % span_ms):
            return self
        return Spans(self.key, self.start_ms // span_ms * span_ms, self.wcu, self.writes)._put_together()

    def only(self, wanted: NDArray[np.bool_]) -> "Spans":
        """Some of the rows."""
        return Spans(self.key[wanted], self.start_ms[wanted], self.wcu[wanted], self.writes[wanted])

    def of_key(self, number: int) -> "Spans":
        """The rows of one key."""
        rows = slice(*np.searchsorted(self.key, (number, number + 1)))
        return Spans(self.key[rows], self.start_ms[rows], self.wcu[rows], self.writes[rows])

    def within(self, start_ms: int, end_ms: int) -> "Spans":
        """The rows whose spans begin in a stretch of time; its end is exclusive."""
        return self.only((self.start_ms >= start_ms) & (self.start_ms < end_ms))

    def _put_together(self) -> Self:
        if not len(self.key):
            return self
        first = firsts(self.key, self.start_ms)
        wcu, writes = (np.add.reduceat(each, first) for each in (self.wcu, self.writes))
        return type(self)(self.key[first], self.start_ms[first], wcu, writes)


def _order(key: Numbers, start_ms: Numbers) -> NDArray[np.intp]:
    """The order by key, then time. As one number for both, so that runs which are in order already are only merged."""
    if not len(key):
        return np.empty(0, np.intp)
    first_ms = int(start_ms.min())
    length_ms = int(start_ms.max()) - first_ms + 1
    if int(key.max()) >= np.iinfo(np.int64).max // length_ms:
        return np.asarray(np.lexsort((start_ms, key)), np.intp)
    return np.asarray(np.argsort(key * length_ms + (start_ms - first_ms), kind="stable"), np.intp)


def firsts(*columns: Numbers) -> NDArray[np.intp]:
    """Where in sorted columns each group of equal rows begins."""
    if not len(columns[0]):
        return np.empty(0, np.intp)
    changes = np.zeros(len(columns[0]) - 1, np.bool_)
    for column in columns:
        changes |= column[1:] != column[:-1]
    return np.concatenate(([0], np.flatnonzero(changes) + 1))


@dataclass(frozen=True)
class Consumption:
    """A recording as sums.

    Attributes:
        keys: The partition keys; their numbers are their places here.
        span_ms: The length of the spans.
        on_time: What counts in windows.
        late: What came too late to count.
        counts: What the recording held.
    """

    keys: Sequence[Key]
    span_ms: int
    on_time: Spans
    late: Spans
    counts: Counts

    @property
    def is_by_minute(self) -> bool:
        """Whether it comes from a usage ledger, which does not tell the seconds of a minute apart."""
        return self.span_ms > SECOND_MS

    @cached_property
    def bounds(self) -> NDArray[np.intp]:
        """Where in `on_time` the rows of each key begin, and where the last end."""
        return np.searchsorted(self.on_time.key, np.arange(len(self.keys) + 1))

    @cached_property
    def written(self) -> Spans:
        """All writes, late or not."""
        if not len(self.late.key):
            return self.on_time
        columns = zip(_columns(self.on_time), _columns(self.late), strict=True)
        return Spans.summed(*(np.concatenate(both) for both in columns))

    @property
    def covered_ms(self) -> int:
        """The time from the first to the last change; at least a millisecond."""
        counts = self.counts
        if counts.first_event_ms is None or counts.last_event_ms is None:
            return 1
        return max(1, counts.last_event_ms - counts.first_event_ms)


def _columns(spans: Spans) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    return spans.key, spans.start_ms, spans.wcu, spans.writes
