"""The partition keys that consumed most in each table and period. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from jobs.consumption.series import SECOND_MS, Consumption, Numbers, firsts
from jobs.recorded.distinct import Key

PARTITION_WCU_PER_S: Final = 1_000
"""What one partition takes. Source:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html"""

_APPROACHED_WCU_PER_S: Final = 800


@dataclass(frozen=True, slots=True)
class HotKey:
    """A partition key in a period.

    Attributes:
        share: Of what its table consumed in the period.
        busiest_wcu: The most that it consumed in one second of the clock; of a ledger, in one minute.
        busiest_ms: When that begins.
        busiest_length_ms: How long it is: a second or a minute.
    """

    key: Key
    wcu: int
    writes: int
    share: float
    busiest_wcu: int
    busiest_ms: int
    busiest_length_ms: int

    @property
    def partition_limit(self) -> str | None:
        """How near its busiest time is to what a partition takes: "reached", "approached" or None.

        Of a minute it is the mean, which one of its seconds reaches for certain; None says nothing then.
        """
        wcu_per_s = self.busiest_wcu * SECOND_MS / self.busiest_length_ms
        if wcu_per_s >= PARTITION_WCU_PER_S:
            return "reached"
        return "approached" if wcu_per_s >= _APPROACHED_WCU_PER_S else None


@dataclass(frozen=True, slots=True)
class Ranking:
    """A table in a period.

    Attributes:
        keys: How many partition keys wrote anything.
    """

    table: str
    start_ms: int
    end_ms: int
    wcu: int
    keys: int
    top: tuple[HotKey, ...]


def rankings(consumption: Consumption, period_ms: int, top: int) -> list[Ranking]:
    """The rankings of all tables and periods, by table and time. Late changes count: they consumed capacity too."""
    sums = _sums(consumption, period_ms)
    tables, table_of_key = np.unique([key[0] for key in consumption.keys] or [""], return_inverse=True)
    table = table_of_key[sums.key]
    order = np.lexsort((sums.key, -sums.wcu, sums.period_ms, table))
    first = firsts(table[order], sums.period_ms[order])
    return [
        _ranking(str(tables[table[rows[0]]]), rows, sums, consumption, period_ms, top)
        for rows in np.split(order, first[1:])
        if len(rows)
    ]


@dataclass(frozen=True)
class _Sums:
    """What each key consumed in each period in which it wrote."""

    key: Numbers
    period_ms: Numbers
    wcu: Numbers
    writes: Numbers
    busiest_wcu: Numbers
    busiest_ms: Numbers
    busiest_length_ms: int


def _sums(consumption: Consumption, period_ms: int) -> _Sums:
    length_ms = max(SECOND_MS, consumption.span_ms)
    seconds = consumption.written.coarser(length_ms)
    periods_ms = seconds.start_ms // period_ms * period_ms
    first = firsts(seconds.key, periods_ms)
    # Of equally busy seconds the first: the order is by height, and stable.
    order = np.lexsort((-seconds.wcu, periods_ms, seconds.key))
    busiest = order[first] if len(first) else order
    wcu, writes = (np.add.reduceat(each, first) if len(first) else each for each in (seconds.wcu, seconds.writes))
    return _Sums(
        seconds.key[first], periods_ms[first], wcu, writes, seconds.wcu[busiest], seconds.start_ms[busiest], length_ms
    )


def _ranking(table: str, rows: Numbers, sums: _Sums, consumption: Consumption, period_ms: int, top: int) -> Ranking:
    total_wcu = int(sums.wcu[rows].sum())
    start_ms = int(sums.period_ms[rows[0]])
    hot = tuple(
        HotKey(
            consumption.keys[int(sums.key[row])],
            int(sums.wcu[row]),
            int(sums.writes[row]),
            int(sums.wcu[row]) / total_wcu if total_wcu else 0.0,
            int(sums.busiest_wcu[row]),
            int(sums.busiest_ms[row]),
            sums.busiest_length_ms,
        )
        for row in rows[:top]
    )
    return Ranking(table, start_ms, start_ms + period_ms, total_wcu, len(rows), hot)


def rankings_json(ranked: list[Ranking]) -> list[dict[str, Any]]:
    """Rankings as `--format json` tells them."""
    return [
        {
            "table": ranking.table,
            "period_start_ms": ranking.start_ms,
            "period_end_ms": ranking.end_ms,
            "wcu": ranking.wcu,
            "partition_keys": ranking.keys,
            "top": list(_top_json(ranking)),
        }
        for ranking in ranked
    ]


def _top_json(ranking: Ranking) -> Iterator[dict[str, Any]]:
    for hot in ranking.top:
        length = "second" if hot.busiest_length_ms == SECOND_MS else "minute"
        yield {
            "partition_key": hot.key[1],
            "partition_key_type": hot.key[2],
            "wcu": hot.wcu,
            "writes": hot.writes,
            "share": round(hot.share, 6),
            f"busiest_{length}_wcu": hot.busiest_wcu,
            f"busiest_{length}_ms": hot.busiest_ms,
            "partition_limit": hot.partition_limit,
        }
