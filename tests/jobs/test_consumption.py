"""Sums of a recording: the same however it is read, and kept only as long as it is the same recording."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.recordings.files import RecordingError, find_recordings
from jobs.consumption import cache as cache_module
from jobs.consumption.cache import ConsumptionCache, default_directory
from jobs.consumption.collect import collect
from jobs.consumption.recorded import span_ms
from jobs.consumption.series import Consumption, Spans
from jobs.consumption.windows import window_start_ms, window_totals
from jobs.settings import LeaseSettings, Settings, WindowKind, WindowSettings
from tests.flink.streams import changed_settings, dealt, settings, stream, write
from tests.oracle import evaluations
from tests.tune_oracle import changes_of


def rows_of(spans: Spans) -> list[tuple[int, ...]]:
    columns = (spans.key, spans.start_ms, spans.wcu, spans.writes)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def same(one: Consumption, other: Consumption) -> bool:
    return (
        list(one.keys) == list(other.keys)
        and one.span_ms == other.span_ms
        and rows_of(one.on_time) == rows_of(other.on_time)
        and rows_of(one.late) == rows_of(other.late)
        and asdict(one.counts) == asdict(other.counts)
    )


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    return stream()


@pytest.fixture
def recording(content: list[bytes], tmp_path: Path) -> Path:
    return write(tmp_path / "a.jsonl", content)


def test_sums_are_those_of_the_changes_late_ones_apart(content: list[bytes], recording: Path) -> None:
    found = collect(find_recordings([recording]), settings(), 1_000)
    expected: dict[tuple[str, str, str, int], int] = {}
    [changes] = changes_of([content], settings())
    for change in changes:
        place = (*change[:3], change.at_ms // 1_000 * 1_000)
        expected[place] = expected.get(place, 0) + change.wcu
    told = {(*found.keys[key], start_ms): wcu for key, start_ms, wcu, _ in rows_of(found.written)}
    assert told == expected
    assert found.counts.late == len(rows_of(found.late)) == 2
    assert sorted(found.keys) == list(found.keys)


def test_processes_side_by_side_find_the_same(
    content: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = dealt([record for record in content if record.startswith(b'{"awsRegion"') and record.endswith(b"}")], 3)
    paths = [write(tmp_path / f"{number}.jsonl", records) for number, records in enumerate(files)]
    alone = collect(find_recordings(paths), settings(), 1_000)
    monkeypatch.setattr("jobs.consumption.collect.PAGE_BYTES", 1 << 20)
    read: list[int] = []
    together = collect(find_recordings(paths), settings(), 1_000, processes=3, on_progress=read.append)
    assert same(alone, together)
    assert read == sorted(read)


def test_a_recording_that_vanishes_is_told_by_its_name(recording: Path) -> None:
    files = find_recordings([recording])
    recording.unlink()
    with pytest.raises((RecordingError, OSError), match=r"a\.jsonl"):
        collect(files, settings(), 1_000)


CHANGES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 300_000), st.integers(0, 9)), max_size=40
)  # key, time, units


@given(
    changes=CHANGES, kind=st.sampled_from(WindowKind), least_wcu=st.integers(1, 20), steps=st.sampled_from([1, 3, 8])
)
def test_totals_are_those_of_every_evaluation_that_reaches_the_least(
    changes: list[tuple[int, int, int]], kind: WindowKind, least_wcu: int, steps: int
) -> None:
    window = WindowSettings(size_ms=5_000 * steps, step_ms=5_000, kind=kind)
    columns = [np.array(column, np.int64) for column in zip(*changes, strict=True)] or [np.empty(0, np.int64)] * 3
    key, at_ms, wcu = columns
    spans = Spans.summed(key, at_ms // 1_000 * 1_000, wcu, (wcu > 0).astype(np.int64))
    expected: dict[tuple[int, int], list[int]] = {}
    for number, time_ms, units in changes:
        for start_ms, step_end_ms in evaluations(time_ms, window):
            assert start_ms == window_start_ms(window, step_end_ms)
            total = expected.setdefault((number, step_end_ms), [0, 0])
            total[0] += units
            total[1] += units > 0
    totals = window_totals(spans, window, least_wcu)
    columns = [totals.key, totals.first_ms, totals.last_ms, totals.wcu, totals.writes]
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    told = {
        (number, step_end_ms): [units, writes]
        for number, first_ms, last_ms, units, writes in rows
        for step_end_ms in range(first_ms, last_ms + 1, 5_000)
    }
    assert told == {place: total for place, total in expected.items() if total[0] >= least_wcu}
    assert rows == sorted(rows)


@pytest.mark.parametrize(
    ("step", "leases", "expected"),
    [(5_000, (120_000,), 1_000), (500, (120_000,), 500), (5_000, (12_300, 20_000), 100), (1_500, (3_000,), 500)],
)
def test_spans_divide_steps_leases_and_seconds(step: int, leases: tuple[int, ...], expected: int) -> None:
    window = WindowSettings(size_ms=step * 4, step_ms=step)
    assert span_ms([Settings(window=window, lease=LeaseSettings(steps_ms=leases))]) == expected


@pytest.fixture
def kept(tmp_path: Path) -> ConsumptionCache:
    return ConsumptionCache(tmp_path / "cache")


def test_what_is_kept_comes_back_the_same(recording: Path, kept: ConsumptionCache) -> None:
    found = collect(find_recordings([recording]), settings(), 1_000)
    kept.keep("x", found)
    again = kept.find("x")
    assert again is not None
    assert same(found, again)
    assert rows_of(found.late)


def test_nothing_is_kept_of_a_recording_of_nothing_but_that(tmp_path: Path, kept: ConsumptionCache) -> None:
    found = collect(find_recordings([write(tmp_path / "empty.jsonl", [])]), settings(), 1_000)
    kept.keep("x", found)
    again = kept.find("x")
    assert again is not None
    assert same(found, again)
    assert again.covered_ms == 1


def one_bit_wrong(data: bytes) -> bytes:
    place = len(data) // 3
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], one_bit_wrong, lambda _: b""])
def test_a_spoilt_entry_counts_as_not_there(
    recording: Path, kept: ConsumptionCache, spoil: Callable[[bytes], bytes]
) -> None:
    kept.keep("x", collect(find_recordings([recording]), settings(), 1_000))
    [(path, _)] = kept.entries()
    path.write_bytes(spoil(path.read_bytes()))
    assert kept.find("x") is None


def test_content_and_what_matters_to_reading_make_the_name_and_nothing_else_does(
    recording: Path, tmp_path: Path, kept: ConsumptionCache
) -> None:
    def name(given: Settings = settings(), path: Path = recording, span: int = 1_000) -> str:  # noqa: B008 - frozen
        return kept.name_for(find_recordings([path]), given, span)

    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_bytes(recording.read_bytes())
    assert name() == name(path=elsewhere)
    assert name() == name(changed_settings(limits={"default_wcu": 17}, window={"size_ms": 60_000}))
    others = {
        name(span=500),
        name(changed_settings(window={"out_of_orderness_ms": 1})),
        name(changed_settings(decode={"future_tolerance_ms": 5_000})),
        name(changed_settings(tables={"conversations": {"partition_key": "sk"}})),
    }
    assert len(others | {name()}) == 5


def test_a_changed_file_is_hashed_again_and_an_unchanged_one_is_not(
    recording: Path, kept: ConsumptionCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_SETTLED_NS", 0)
    files = find_recordings([recording])
    time.sleep(0.02)
    before = kept.name_for(files, settings(), 1_000)
    hashed: list[str] = []
    digest = cache_module._digest

    def told_digest(path: str) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(cache_module, "_digest", told_digest)
    assert kept.name_for(files, settings(), 1_000) == before
    assert hashed == []
    stamp = recording.stat()
    data = bytearray(recording.read_bytes())
    data[5] ^= 1
    recording.write_bytes(data)
    os.utime(recording, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert kept.name_for(files, settings(), 1_000) != before
    assert hashed == [str(recording)]


def test_a_file_that_was_just_written_is_not_believed_to_stay(recording: Path, kept: ConsumptionCache) -> None:
    kept.name_for(find_recordings([recording]), settings(), 1_000)
    assert kept.entries() == []


def test_entries_go_when_nobody_wants_them_for_a_month(recording: Path, kept: ConsumptionCache) -> None:
    found = collect(find_recordings([recording]), settings(), 1_000)
    for name in ("old", "new"):
        kept.keep(name, found)
    old = kept.directory / "old.npz"
    os.utime(old, (0, 0))
    kept.keep("third", found)
    assert [path.name for path, _ in kept.entries()] == ["new.npz", "third.npz"]
    assert kept.clear() > 0
    assert kept.entries() == []


def test_a_cache_that_cannot_be_written_is_done_without(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = ConsumptionCache(tmp_path / "file" / "cache")
    kept.keep("x", collect(find_recordings([recording]), settings(), 1_000))
    assert kept.find("x") is None
    assert kept.name_for(find_recordings([recording]), settings(), 1_000)


def test_the_cache_is_where_the_user_says_or_where_caches_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("HEADROOM_CACHE_DIR", raising=False)
    assert default_directory() == tmp_path / "headroom"
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(tmp_path / "mine"))
    assert default_directory() == tmp_path / "mine"
