"""Cells of `headroom tune` beside real replays with the same settings (thread mode, the JVM of the other tests)."""

from pathlib import Path

import pytest

from connectors.recordings.files import RecordingFile, find_recordings
from jobs.capacity.replay import replay
from jobs.consumption.collect import collect
from jobs.consumption.ledger import read_ledgers
from jobs.consumption.recorded import span_ms
from jobs.execution import ExecutionMode
from jobs.settings import Settings, WindowKind
from jobs.tune.cell import Cell, Judge
from jobs.tune.choices import Axes, by_minute, combinations
from jobs.usage.replay import replay as replay_usage
from tests.flink.streams import settings, stream, write
from tests.jobs.test_tune_ledger import stream as stream_without_copies

pytestmark = pytest.mark.flink


Said = tuple[int, int, int, int, int]


def said_by_replay(files: list[RecordingFile], choice: Settings, out: Path) -> Said:
    tally, summary = replay(
        files, choice, out, parallelism=2, execution_mode=ExecutionMode.THREAD, on_progress=lambda _: None
    )
    suspended_ms = sum(history.suspended_ms for history in tally.suspended.values())
    return len(tally.suspended), summary["suspensions"], summary["extensions"], suspended_ms, len(tally.near())


def said_by(cell: Cell) -> Said:
    return cell.suspended_keys, cell.suspensions, cell.extensions, cell.suspended_ms, cell.near_keys


def test_cells_say_what_replays_with_their_settings_say(tmp_path: Path) -> None:
    files = find_recordings([write(tmp_path / "a.jsonl", stream())])
    axes = Axes(limits_wcu=(80, 500), kinds=tuple(WindowKind), leases_ms=((10_000, 40_000),))
    choices = combinations(settings('[window]\nsize = "40s"\n'), axes)
    told = [said_by(cell) for cell in Judge(collect(files, choices[0], span_ms(choices))).cells(choices)]
    assert told == [said_by_replay(files, choice, tmp_path / "out") for choice in choices]
    assert len(set(told)) == 4


def test_cells_of_a_ledger_say_what_replays_with_a_step_of_a_minute_say(tmp_path: Path) -> None:
    files = find_recordings([write(tmp_path / "a.jsonl", stream_without_copies(4))])
    usage = tmp_path / "usage"
    replay_usage(
        files, settings(), usage, parallelism=2, execution_mode=ExecutionMode.THREAD, on_progress=lambda _: None
    )
    axes = Axes(limits_wcu=(150, 900), kinds=tuple(WindowKind), leases_ms=((60_000, 180_000),))
    choices = combinations(settings(), by_minute(settings(), axes))
    told = [said_by(cell) for cell in Judge(read_ledgers([str(usage / "ledger")])).cells(choices)]
    assert told == [said_by_replay(files, choice, tmp_path / "out") for choice in choices]
    assert len(set(told)) > 2
