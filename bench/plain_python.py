"""A loop in plain Python, one process, no framework: the decoder that Headroom has, and a dict for each step."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.crossings import OUT_OF_ORDERNESS_MS, SCHEMAS, STEP_MS, WINDOW_MS, Crossing, crossing, report
from connectors.dynamodb.fast_path import FastPath, WriteCost

_STEPS_PER_WINDOW: Final = WINDOW_MS // STEP_MS

Sums = dict[int, defaultdict[tuple[str, str], int]]
"""What each key consumed, by the number of the step."""


def crossings(recording: Path) -> Iterator[Crossing]:
    """The crossings in a recording, window after window."""
    decode = FastPath(SCHEMAS).decode
    sums: Sums = {}
    progress_ms = 0
    window_end_ms = 0
    with recording.open("rb") as lines:
        for record in lines:
            cost = decode(record)
            if not isinstance(cost, WriteCost):
                continue
            table, partition_key, _, at_ms, wcu, _, _ = cost
            if at_ms > progress_ms:
                progress_ms = at_ms
                if progress_ms - OUT_OF_ORDERNESS_MS >= window_end_ms:
                    yield from _closed(sums, window_end_ms)
                    window_end_ms = at_ms - at_ms % WINDOW_MS + WINDOW_MS
            elif at_ms < progress_ms - OUT_OF_ORDERNESS_MS:
                continue
            step = at_ms // STEP_MS
            if step not in sums:
                sums[step] = defaultdict(int)
            sums[step][table, partition_key] += wcu
    yield from _closed(sums, max(sums, default=0) * STEP_MS + WINDOW_MS)


def _closed(sums: Sums, end_ms: int) -> Iterator[Crossing]:
    """The crossings in windows that end by then, whose sums are dropped."""
    by_window: defaultdict[tuple[int, str, str], dict[int, int]] = defaultdict(dict)
    for step in [step for step in sums if step * STEP_MS < end_ms]:
        for key, wcu in sums.pop(step).items():
            by_window[step // _STEPS_PER_WINDOW, *key][step] = wcu
    for (_, table, partition_key), wcu_by_step in by_window.items():
        found = crossing(table, partition_key, wcu_by_step)
        if found is not None:
            yield found


if __name__ == "__main__":
    report(crossings(Path(sys.argv[1])))
