"""Every cell says what the batch oracle says of those settings, which is what a replay says."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from connectors.recordings.files import find_recordings
from jobs.capacity.limits import Limit
from jobs.capacity.policy import DecisionKind, LeaseState, WindowTotal, decide
from jobs.consumption.collect import collect
from jobs.consumption.recorded import span_ms
from jobs.consumption.windows import window_start_ms
from jobs.generate import Misbehaving, Profile, records
from jobs.settings import LeaseSettings, Settings, WindowKind, WindowSettings
from jobs.tune.cell import Cell, Judge
from jobs.tune.choices import Axes, combinations
from jobs.tune.leases import Leases
from tests.flink.streams import dealt, settings, stream, write
from tests.tune_oracle import cell_of, changes_of

COMPARED = ("suspended_keys", "suspensions", "extensions", "suspended_ms", "refused_wcu", "refused_writes", "near_keys")


def compared(cell: Cell) -> dict[str, Any]:
    return {name: getattr(cell, name) for name in COMPARED}


def cells_of(files: Sequence[Sequence[bytes]], choices: Sequence[Settings], directory: Path) -> list[Cell]:
    paths = [write(directory / f"{number}.jsonl", records) for number, records in enumerate(files)]
    consumption = collect(find_recordings(paths), choices[0], span_ms(choices))
    return list(Judge(consumption).cells(choices))


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    return stream()


def test_cells_of_a_grid_say_what_the_oracle_says_and_differ(content: list[bytes], tmp_path: Path) -> None:
    axes = Axes(
        limits_wcu=(60, 400),
        windows_ms=(30_000, 120_000),
        steps_ms=(5_000, 10_000),
        kinds=(WindowKind.CUMULATE, WindowKind.HOP),
        leases_ms=((30_000, 60_000), (12_500,)),
    )
    choices = combinations(settings(), axes)
    cells = cells_of([content], choices, tmp_path)
    told = [compared(cell) for cell in cells]
    changes = changes_of([content], choices[0])
    assert told == [cell_of(changes, choice) for choice in choices]
    assert len(choices) == 32
    assert len({tuple(each.values()) for each in told}) > 20
    assert all(any(each[name] for each in told) for name in COMPARED)


@pytest.mark.parametrize(
    "more",
    [
        '[window]\nout_of_orderness = "100ms"\n',
        '[window]\nsize = "30s"\nstep = "500ms"\n',
        '[window]\nkind = "hop"\nsize = "1m"\nstep = "1s"\nout_of_orderness = "1m"\n',
    ],
)
def test_lateness_short_steps_and_several_files_change_nothing_of_that(
    content: list[bytes], tmp_path: Path, more: str
) -> None:
    files = dealt([record for record in content if record.startswith(b'{"awsRegion"') and record.endswith(b"}")], 3)
    choices = combinations(settings(more), Axes(limits_wcu=(100, 400)))
    told = [compared(cell) for cell in cells_of(files, choices, tmp_path)]
    changes = changes_of(files, choices[0])
    assert told == [cell_of(changes, choice) for choice in choices]


def test_forgiveness_after_decay_is_that_of_the_job(content: list[bytes], tmp_path: Path) -> None:
    given = settings().model_dump()
    given["limits"]["default_wcu"] = 90
    leases = [LeaseSettings(steps_ms=(10_000, 40_000), decay_ms=decay_ms) for decay_ms in (0, 20_000, 600_000)]
    choices = [Settings.model_validate(given | {"lease": lease.model_dump()}) for lease in leases]
    told = [compared(cell) for cell in cells_of([content], choices, tmp_path)]
    changes = changes_of([content], choices[0])
    assert told == [cell_of(changes, choice) for choice in choices]
    assert len({each["suspended_ms"] for each in told}) == 3


def test_a_suspension_comes_within_a_step_of_the_second_in_which_the_limit_was_reached(
    content: list[bytes], tmp_path: Path
) -> None:
    [cell] = cells_of([content], [settings()], tmp_path)
    assert len(cell.seconds_to_suspend) == cell.suspensions > 0
    assert all(0 < seconds <= 5 for seconds in cell.seconds_to_suspend)
    assert cell.seconds_to_suspend_median in cell.seconds_to_suspend


def test_of_a_recording_of_nothing_a_cell_says_nothing(tmp_path: Path) -> None:
    [cell] = cells_of([[]], [settings()], tmp_path)
    assert set(compared(cell).values()) == {0}
    assert (cell.seconds_to_suspend, cell.seconds_to_suspend_max) == ((), None)
    assert {each.name for each in fields(cell)} == {"settings", "seconds_to_suspend", *COMPARED}


LIMIT = Limit(10, 8, "default")


@given(
    over_steps=st.lists(st.integers(1, 120), unique=True, max_size=90).map(sorted),
    kind=st.sampled_from(WindowKind),
    lease_ms=st.lists(st.integers(50, 300).map(lambda tenths: 100 * tenths), min_size=1, max_size=3).map(sorted),
    decay_ms=st.sampled_from([0, 7_000, 60_000]),
)
@examples(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_leaving_out_what_changes_nothing_changes_no_action(
    over_steps: list[int], kind: WindowKind, lease_ms: list[int], decay_ms: int
) -> None:
    window = WindowSettings(size_ms=20_000, step_ms=5_000, kind=kind)
    choice = Settings(window=window, lease=LeaseSettings(steps_ms=tuple(lease_ms), decay_ms=decay_ms))
    state = LeaseState.calm()
    one_by_one = []
    for step in over_steps:
        total = WindowTotal("t", "k", "S", window_start_ms(window, 5_000 * step), 5_000 * step, 10, 1)
        state, decision = decide(state, total, LIMIT, choice.lease, window)
        if decision.action is not None:
            one_by_one.append((decision.kind, decision.action.issued_at_ms, decision.action.not_after_ms))
    ends_ms = [5_000 * step for step in over_steps]
    assert list(Leases(choice.lease, window).given(ends_ms, ends_ms)) == one_by_one
    assert not one_by_one or one_by_one[0][0] is DecisionKind.SUSPENDED


@pytest.mark.parametrize("seed", range(3))
def test_other_streams_are_judged_as_by_the_oracle_too(seed: int, tmp_path: Path) -> None:
    profile = Profile(
        records=1_200,
        rate_per_s=15.0,
        tenants=8,
        seed=seed,
        disorder_ms=5_000,
        late=0.02,
        duplicates=0.05,
        misbehaving=(Misbehaving("tenant-000003", Random(seed).randrange(50_000), 20_000, 20.0),),
    )
    content = list(records(profile))
    axes = Axes(limits_wcu=(20, 80), kinds=tuple(WindowKind), leases_ms=((5_000,), (15_000, 20_000)))
    choices = combinations(settings('[window]\nsize = "20s"\n'), axes)
    told = [compared(cell) for cell in cells_of([content], choices, tmp_path)]
    changes = changes_of([content], choices[0])
    assert told == [cell_of(changes, choice) for choice in choices]
