"""Cells of `headroom tune` beside real replays with the same settings (thread mode, the JVM of the other tests)."""

from pathlib import Path

import pytest

from connectors.recordings.files import find_recordings
from jobs.capacity.replay import replay
from jobs.consumption.collect import collect
from jobs.consumption.recorded import span_ms
from jobs.execution import ExecutionMode
from jobs.settings import WindowKind
from jobs.tune.cell import Judge
from jobs.tune.choices import Axes, combinations
from tests.flink.streams import settings, stream, write

pytestmark = pytest.mark.flink


def test_cells_say_what_replays_with_their_settings_say(tmp_path: Path) -> None:
    files = find_recordings([write(tmp_path / "a.jsonl", stream())])
    axes = Axes(limits_wcu=(80, 500), kinds=tuple(WindowKind), leases_ms=((10_000, 40_000),))
    choices = combinations(settings('[window]\nsize = "40s"\n'), axes)
    cells = Judge(collect(files, choices[0], span_ms(choices))).cells(choices)
    told, replayed = [], []
    for choice, cell in zip(choices, cells, strict=True):
        tally, summary = replay(
            files,
            choice,
            tmp_path / "out",
            parallelism=2,
            execution_mode=ExecutionMode.THREAD,
            on_progress=lambda _: None,
        )
        suspended_ms = sum(history.suspended_ms for history in tally.suspended.values())
        replayed.append(
            (len(tally.suspended), summary["suspensions"], summary["extensions"], suspended_ms, len(tally.near()))
        )
        told.append((cell.suspended_keys, cell.suspensions, cell.extensions, cell.suspended_ms, cell.near_keys))
    assert told == replayed
    assert len(set(told)) == 4
