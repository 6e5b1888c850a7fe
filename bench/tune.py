"""How long `headroom tune` takes: `python -m bench.tune [RECORDING]`. I/O.

A recording of 10 million changes takes long to make, so the sums that `tune` judges are made up: a day of 20,000 keys
by Zipf's law, at random seconds, from a seed. A RECORDING is read besides, to measure that part on the real thing.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

import numpy as np

from connectors.recordings.files import find_recordings
from jobs.consumption.collect import collect
from jobs.consumption.recorded import span_ms
from jobs.consumption.series import SECOND_MS, Consumption, Spans
from jobs.recorded.reports import Counts
from jobs.settings import Settings, TableSettings, WindowKind
from jobs.settings.durations import DAY_MS, MINUTE_MS
from jobs.tune.cell import Judge
from jobs.tune.choices import Axes, combinations

_CHANGES: Final = 10_000_000
_KEYS: Final = 20_000
_START_MS: Final = 1_795_132_800_000
_SETTINGS: Final = Settings(tables={"conversations": TableSettings(partition_key="pk")})
_AXES: Final = Axes(
    limits_wcu=(500, 1_000, 2_000, 4_000, 6_000, 8_000, 12_000, 20_000),
    windows_ms=(MINUTE_MS, 2 * MINUTE_MS, 5 * MINUTE_MS),
    kinds=tuple(WindowKind),
    leases_ms=((2 * MINUTE_MS, 5 * MINUTE_MS, 10 * MINUTE_MS), (MINUTE_MS,), (5 * MINUTE_MS,)),
)


def made_up_day() -> Consumption:
    """Sums of a day, the same each time."""
    random = np.random.default_rng(7)
    weights = 1 / np.arange(1, _KEYS + 1) ** 1.05
    key = random.choice(_KEYS, _CHANGES, p=weights / weights.sum()).astype(np.int64)
    start_ms = _START_MS + SECOND_MS * random.integers(0, DAY_MS // SECOND_MS, _CHANGES)
    wcu = 1 + random.pareto(1.5, _CHANGES).astype(np.int64).clip(0, 399)
    none = np.empty(0, np.int64)
    return Consumption(
        keys=[("conversations", f"tenant-{number:06}", "S") for number in range(_KEYS)],
        span_ms=SECOND_MS,
        on_time=Spans.summed(key, start_ms, wcu, np.ones(_CHANGES, np.int64)),
        late=Spans(none, none, none, none),
        counts=Counts(changes=_CHANGES, first_event_ms=_START_MS, last_event_ms=_START_MS + DAY_MS - 1),
    )


def measure(name: str, consumption: Consumption, choices: Sequence[Settings]) -> None:
    """Judge all choices, and print how long it took."""
    began_s, began_cpu_s = perf_counter(), process_time()
    cells = list(Judge(consumption).cells(choices))
    took_s, cpu_s = perf_counter() - began_s, process_time() - began_cpu_s
    decided = sum(cell.suspensions + cell.extensions for cell in cells)
    print(  # noqa: T201 - what it is for
        f"{name}: {len(cells)} cells over {consumption.counts.changes:,} changes "
        f"({len(consumption.on_time.key):,} sums) in {took_s:.1f} s, {cpu_s:.1f} s of processor time; "
        f"{decided:,} decisions"
    )


def main(paths: Sequence[str]) -> None:
    """Measure, and print."""
    choices = combinations(_SETTINGS, _AXES)
    if paths:
        files = find_recordings([Path(path) for path in paths])
        began_s = perf_counter()
        consumption = collect(files, _SETTINGS, span_ms(choices))
        took_s = perf_counter() - began_s
        rate = consumption.counts.changes / took_s
        print(f"read {consumption.counts.changes:,} changes in {took_s:.1f} s, {rate:,.0f} a second")  # noqa: T201
        measure("recorded", consumption, choices)
    measure("made up", made_up_day(), choices)


if __name__ == "__main__":
    main(sys.argv[1:])
