"""Bytewax with its own clock, windower and fold, and the decoder that Headroom has.

A window's fold keeps what was consumed in each step, so that the step of the crossing is known when the window closes.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import bytewax.operators as op
from bytewax.connectors.files import FileSource
from bytewax.connectors.stdio import StdOutSink
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower, fold_window
from bytewax.testing import run_main

from bench.crossings import SCHEMAS, STEP_MS, WINDOW_MS, crossing, line
from connectors.dynamodb.fast_path import FastPath, WriteCost

_LINES_PER_BATCH: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Each key has a watermark of its own here, which moves on with the clock on the wall too while the key is quiet. Long
# enough that nothing is late on a slow machine; at the end of the file all windows close anyway.
_WAIT: Final = timedelta(seconds=30)
_SEPARATOR: Final = "\0"

StepWcu = tuple[datetime, int, int]
"""When a change was written, the number of its step, and what it consumed."""


def flow(recording: str) -> Dataflow:
    """The dataflow from a recording to lines on stdout."""
    decode_all = FastPath(SCHEMAS).decode_all

    def keyed_costs(lines: Sequence[str]) -> Iterator[tuple[str, StepWcu]]:
        costs, _ = decode_all([text.encode() for text in lines])
        return map(_keyed, costs)

    dataflow = Dataflow("bench")
    lines = op.input("lines", dataflow, FileSource(Path(recording), batch_size=_LINES_PER_BATCH))
    costs = op.flat_map_batch("costs", lines, keyed_costs)
    windows = fold_window(
        "windows",
        costs,
        EventClock(
            ts_getter=lambda cost: cost[0],
            wait_for_system_duration=_WAIT,
            # The recording's times say nothing of when a window closes here; left out, every open window is looked
            # at all the time, which takes six times as long.
            to_system_utc=lambda _: None,
        ),
        TumblingWindower(length=timedelta(milliseconds=WINDOW_MS), align_to=_EPOCH),
        builder=dict,
        folder=_add,
        merger=_merge,
        ordered=False,  # sums do not need it, and it is faster
    )
    over = op.filter_map("over", windows.down, _over)
    op.output("out", over, StdOutSink())
    return dataflow


def _keyed(cost: WriteCost) -> tuple[str, StepWcu]:
    at_ms = cost.at_ms
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{cost.table}{_SEPARATOR}{cost.partition_key}", (at, at_ms // STEP_MS, cost.wcu)


def _add(wcu_by_step: dict[int, int], cost: StepWcu) -> dict[int, int]:
    _, step, wcu = cost
    wcu_by_step[step] = wcu_by_step.get(step, 0) + wcu
    return wcu_by_step


def _merge(one: dict[int, int], other: dict[int, int]) -> dict[int, int]:
    return {step: one.get(step, 0) + other.get(step, 0) for step in one.keys() | other.keys()}


def _over(keyed_window: tuple[str, tuple[int, dict[int, int]]]) -> str | None:
    key, (_, wcu_by_step) = keyed_window
    table, _, partition_key = key.partition(_SEPARATOR)
    found = crossing(table, partition_key, wcu_by_step)
    return None if found is None else line(found)


if __name__ == "__main__":
    run_main(flow(sys.argv[1]))
