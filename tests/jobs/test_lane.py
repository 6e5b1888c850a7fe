import gzip
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count, pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from connectors.dynamodb.change import TableSchema
from connectors.dynamodb.fast_path import FastPath
from connectors.recordings import files as recording_files
from connectors.recordings import segments as recording_segments
from connectors.recordings.files import find_recordings
from jobs.capacity import lane as lane_module
from jobs.capacity.lane import Lane, LaneRow, LaneSettings, WindowRow
from jobs.generate import KeyAttribute, KeyType, Misbehaving, Profile, SizeRange, Table, records
from jobs.recorded.distinct import DistinctDigests
from jobs.recorded.lanes import plan_lanes
from jobs.recorded.reports import Counts, read_report
from jobs.settings import DecodeSettings, Settings, TableSettings, WindowSettings
from tests import oracle
from tests.connectors.recorded import FORMS, lambda_event, record

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
AT_MS = 1_763_000_000_000
BOUND_MS = 2_000
STEP_MS = 5_000
SETTINGS = Settings(
    window=WindowSettings(size_ms=20_000, step_ms=STEP_MS, out_of_orderness_ms=BOUND_MS),
    tables={
        "conversations": TableSettings(partition_key="pk"),
        "sessions": TableSettings(transactional=True),
        "meters": TableSettings(partition_key="number"),
    },
    decode=DecodeSettings(future_tolerance_ms=HOUR_MS),
)
PROFILE = Profile(
    records=700,
    rate_per_s=12.0,
    tenants=30,
    tables=(
        *Profile(records=1).tables,
        Table("meters", KeyAttribute("number", KeyType.N), KeyAttribute("at", KeyType.N)),
    ),
    misbehaving=(Misbehaving("tenant-000021", 20_000, 30_000, 15.0),),
    item_bytes=(SizeRange(40, 1_500, 20), SizeRange(1_500, 6_000, 1)),
    disorder_ms=BOUND_MS,
    duplicates=0.03,
    late=0.01,
    late_by_ms=(BOUND_MS + 1, 60_000),
    malformed=0.1,
    microseconds=0.4,
)

Files = list[list[bytes]]
Sums = dict[tuple[str, str, str, int], tuple[int, int]]
"""Units and writes by table, partition key, its type and the number of the step."""


@dataclass
class Told:
    sums: Sums
    counts: dict[str, int | None]
    malformed: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)


def as_told(counts: Counts, partition_keys: int) -> dict[str, int | None]:
    names = ("events", "changes", "malformed", "ignored", "late", "size_mismatch", "first_event_ms", "last_event_ms")
    return {name: getattr(counts, name) for name in names} | {"partition_keys": partition_keys}


def summed(costs: Iterable[tuple[tuple[str, str, str, int], int, int]]) -> Sums:
    units: Counter[tuple[str, str, str, int]] = Counter()
    writes: Counter[tuple[str, str, str, int]] = Counter()
    for key, wcu, number in costs:
        units[key] += wcu
        writes[key] += number
    return {key: (units[key], writes[key]) for key in units if writes[key]}


def judged(files: Files) -> Told:
    """What the oracle says of the files."""
    counts: Counter[str] = Counter()
    changes: list[oracle.Change] = []
    on_time: list[oracle.Change] = []
    for content in files:
        of_file = oracle.plausible(oracle.read(content, SETTINGS, counts), HOUR_MS, counts)
        changes += of_file
        on_time += oracle.without_late(of_file, BOUND_MS, counts)
    times = [each.at_ms for each in changes]
    told = Counts(
        0,
        len(changes),
        counts["malformed"],
        counts["ignored"],
        counts["late"],
        sum(each.size_matches is False for each in changes),
        min(times, default=None),
        max(times, default=None),
    )
    sums = summed(((*each[:3], each.at_ms // STEP_MS), each.wcu, int(each.wcu > 0)) for each in on_time)
    return Told(sums, as_told(told, len({each[:3] for each in changes})))


def rows_of(paths: Sequence[Path], lanes: int = 1) -> list[list[LaneRow]]:
    return [list(lane.rows()) for lane in lanes_of(paths, lanes)]


def lanes_of(paths: Sequence[Path], lanes: int) -> list[Lane]:
    schemas = {name: TableSchema(table.partition_key, table.transactional) for name, table in SETTINGS.tables.items()}
    fast_path = FastPath(schemas)
    lane_settings = LaneSettings(STEP_MS, BOUND_MS, HOUR_MS)
    return [Lane(segments, fast_path, lane_settings) for segments in plan_lanes(find_recordings(paths), lanes)]


def told_by(paths: Sequence[Path], lanes: int = 1) -> Told:
    """What lanes say of files, the promise of their low-water marks being kept."""
    told = Told({}, {})
    counts, partition_keys = Counts(), DistinctDigests()
    costs = []
    for rows in rows_of(paths, lanes):
        assert_promise_kept(rows)
        for row in rows:
            if row.report is None:
                assert row.table_name is not None
                assert row.partition_key is not None
                assert row.partition_key_type is not None
                step, rest = divmod(row.at_ms + 1, STEP_MS)
                assert rest == 0
                key = (row.table_name, row.partition_key, row.partition_key_type, step - 1)
                costs.append((key, row.wcu, row.writes))
                continue
            report = read_report(row.report)
            counts.add(report.counts)
            partition_keys.add(report.keys)
            told.malformed += report.malformed
            told.late += report.late
    told.sums, told.counts = summed(costs), as_told(counts, partition_keys.count())
    return told


def assert_promise_kept(rows: Sequence[LaneRow]) -> None:
    assert all(earlier.low_water_ms <= later.low_water_ms for earlier, later in pairwise(rows))
    assert all(row.at_ms >= row.low_water_ms for row in rows)


def lines(content: Iterable[bytes]) -> bytes:
    return b"".join(each + b"\n" for each in content)


def stored(directory: Path, files: Files, write: Callable[[list[bytes]], bytes] = lines) -> list[Path]:
    """Files whose names do not tell the order of what they hold."""
    directory.mkdir(exist_ok=True)
    paths = [directory / f"{(number * 7) % 10}-{number}.rec" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(write(content))
    return paths


@cache
def stream(seed: int = 1, **fields: Any) -> tuple[bytes, ...]:
    return tuple(records(replace(PROFILE, seed=seed, **fields)))


def at_random(content: Sequence[bytes], hands: int) -> Files:
    random = Random(7)
    files: Files = [[] for _ in range(hands)]
    for each in content:
        random.choice(files).append(each)
    return files


def by_time(content: Sequence[bytes], hands: int) -> Files:
    size = -(-len(content) // hands)
    return [list(content[at : at + size]) for at in range(0, len(content), size)]


def one_by_one(content: Sequence[bytes], hands: int) -> Files:
    return [list(content[hand::hands]) for hand in range(hands)]


ARRANGEMENTS = [at_random, by_time, one_by_one]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 20_000)


def paged(monkeypatch: pytest.MonkeyPatch, page_bytes: int) -> None:
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", max(1_000, page_bytes // 5))
    monkeypatch.setattr(recording_segments, "PAGE_BYTES", page_bytes)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("hands", [1, 4])
@pytest.mark.parametrize("arrange", ARRANGEMENTS)
def test_lanes_say_what_the_oracle_says(
    arrange: Callable[[Sequence[bytes], int], Files], hands: int, lanes: int, tmp_path: Path
) -> None:
    files = arrange(stream(1), hands)
    judgement = judged(files)
    assert min(judgement.counts[name] or 0 for name in ("malformed", "ignored", "late")) > 0
    paths = stored(tmp_path / "in", files)
    told = told_by(paths, lanes)
    assert told.sums == judgement.sums
    assert told.counts == judgement.counts
    assert (len(told.malformed), len(told.late)) == (told.counts["malformed"], told.counts["late"])
    assert told_by(paths[::-1], lanes) == told


def in_turn(*writers: Callable[[list[bytes]], bytes]) -> Callable[[list[bytes]], bytes]:
    turn = count()
    return lambda content: writers[next(turn) % len(writers)](content)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("lanes", [1, 2])
def test_the_form_of_a_file_changes_nothing(lanes: int, tmp_path: Path) -> None:
    # Without what leaves no telling where a record ends.
    content = [each for each in stream(4) if each.startswith(b'{"awsRegion"') and each.endswith(b"}")]
    files = one_by_one(content, 6)
    judgement = judged(files)
    write = in_turn(*(FORMS[form] for form in FORMS if "pretty" not in form))
    for _ in range(3):
        told = told_by(stored(tmp_path / "in", files, write), lanes)
        assert (told.sums, told.counts) == (judgement.sums, judgement.counts)
    packed = told_by(stored(tmp_path / "in", files, lambda each: gzip.compress(write(each), 1)), lanes)
    assert (packed.sums, packed.counts) == (judgement.sums, judgement.counts)


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("page_bytes", [3_000, 20_000, 90_000])
def test_no_page_makes_a_change_late_that_is_within_the_bound(
    page_bytes: int, lanes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged(monkeypatch, page_bytes)
    files = one_by_one(stream(5, late=0.0), 2)
    judgement = judged(files)
    assert judgement.counts["late"] == 0
    told = told_by(stored(tmp_path / "in", files), lanes)
    assert (told.sums, told.counts) == (judgement.sums, judgement.counts)


def place(line: dict[str, Any]) -> tuple[str, int]:
    return line["position"]["file"], line["position"]["byte"]


@pytest.mark.parametrize("page_bytes", [3_000, 20_000, 90_000])
def test_what_is_late_in_a_page_is_late_in_its_file(
    page_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored(tmp_path / "in", [list(stream(6))])
    whole = told_by(path)
    paged(monkeypatch, page_bytes)
    in_pages = told_by(path)
    assert set(map(place, in_pages.late)) <= set(map(place, whole.late))
    assert in_pages.counts | {"late": None} == whole.counts | {"late": None}
    assert sorted(in_pages.malformed, key=place) == sorted(whole.malformed, key=place)
    for lanes in (2, 3):
        again = told_by(path, lanes)
        assert (again.sums, again.counts) == (in_pages.sums, in_pages.counts)


@st.composite
def disordered(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Times in an order in which none is behind an earlier one by more than the bound, and the file of each."""
    steps = draw(st.lists(st.one_of(st.integers(0, 900), st.integers(0, 20_000)), min_size=1, max_size=60))
    times, now_ms = [], AT_MS
    for step in steps:
        now_ms += step
        times.append(now_ms)
    delays = draw(st.lists(st.integers(0, BOUND_MS), min_size=len(times), max_size=len(times)))
    arrival = sorted(range(len(times)), key=lambda index: times[index] + delays[index])
    hands = draw(st.integers(1, 4))
    dealt = draw(st.lists(st.integers(0, hands - 1), min_size=len(times), max_size=len(times)))
    return [times[index] for index in arrival], dealt


@examples(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(disordered(), st.integers(1, 3), st.sampled_from([600, 2_000, 1 << 20]), st.sets(st.integers(0, 59), max_size=3))
def test_a_stream_within_the_bound_has_nothing_late_however_it_is_cut_and_dealt(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arrived: tuple[list[int], list[int]],
    lanes: int,
    page_bytes: int,
    wrong_clocks: set[int],
) -> None:
    paged(monkeypatch, page_bytes)
    files: Files = [[] for _ in range(4)]
    for number, (at_ms, file) in enumerate(zip(*arrived, strict=True)):
        if number in wrong_clocks:
            files[file].append(record(at_ms + YEAR_MS, "wrong"))
        files[file].append(record(at_ms, f"k{number % 5}"))
    for path in tmp_path.iterdir():
        path.unlink()
    paths = []
    for number, content in enumerate(files):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(lines(content))
    told = told_by(paths, lanes)
    judgement = judged(files)
    assert judgement.counts["late"] == 0
    assert (told.sums, told.counts) == (judgement.sums, judgement.counts)


def seconds(told: Told) -> list[tuple[str, int, int, int]]:
    """Key, step, units and writes, the steps counted from the first."""
    first = AT_MS // STEP_MS
    return sorted((key, step - first, *total) for (_, key, _, step), total in told.sums.items())


def told_of(tmp_path: Path, *content: bytes, **fields: Any) -> Told:
    return told_by(stored(tmp_path / "in", [list(content)]), **fields)


@pytest.mark.parametrize(("behind_ms", "is_late"), [(BOUND_MS - 1, False), (BOUND_MS, False), (BOUND_MS + 1, True)])
def test_behind_by_the_bound_is_not_late(behind_ms: int, is_late: bool, tmp_path: Path) -> None:
    told = told_of(tmp_path, record(AT_MS, "a"), record(AT_MS - behind_ms, "b"))
    assert told.counts["late"] == is_late
    assert told.counts["changes"] == told.counts["partition_keys"] == 2
    assert len(told.sums) == 2 - is_late
    assert (told.counts["first_event_ms"], told.counts["last_event_ms"]) == (AT_MS - behind_ms, AT_MS)


def test_the_last_event_is_a_change_though_another_record_began_the_page_later(tmp_path: Path) -> None:
    # Of an unknown table, and so malformed; but its time is as good as any for the order of files.
    two_keys = {"a": {"S": "a"}, "b": {"S": "b"}}
    others = [record(AT_MS + 1_500, Keys=two_keys, tableName="unknown") for _ in range(15)]
    told = told_of(tmp_path, *others, record(AT_MS))
    assert (told.counts["first_event_ms"], told.counts["last_event_ms"]) == (AT_MS, AT_MS)
    assert told.counts["late"] == 0


def test_a_late_change_is_told_with_its_cost_and_place(tmp_path: Path) -> None:
    first, late = record(AT_MS, "a"), record(AT_MS - 7_000, "b", size=3_000)
    [line] = told_of(tmp_path, first, b"", late).late
    assert line == {
        "table": "visits",
        "partition_key": "b",
        "partition_key_type": "S",
        "at_ms": AT_MS - 7_000,
        "behind_ms": 7_000,
        "wcu": 3,
        "position": {"file": str(tmp_path / "in" / "0-0.rec"), "byte": len(first) + 2},
    }


def test_what_is_late_in_one_file_is_not_late_in_another(tmp_path: Path) -> None:
    files = [[record(AT_MS + 60_000, "a")], [record(AT_MS, "b")]]
    for lanes in (1, 2):
        assert told_by(stored(tmp_path / "in", files), lanes).counts["late"] == 0


def test_a_step_holds_its_first_millisecond_and_not_the_next_one_s(tmp_path: Path) -> None:
    start_ms = AT_MS // STEP_MS * STEP_MS
    told = told_of(tmp_path, *(record(start_ms + offset_ms, "a") for offset_ms in (0, 4_999, 5_000)))
    assert seconds(told) == [("a", 0, 2, 2), ("a", 1, 1, 1)]


def test_a_write_that_cost_nothing_is_counted_and_adds_nothing(tmp_path: Path) -> None:
    expiry = record(
        AT_MS,
        "a",
        eventName="REMOVE",
        NewImage=None,
        OldImage={"id": {"S": "a"}},
        SizeBytes=6,
        userIdentity={"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    )
    told = told_of(tmp_path, expiry, record(AT_MS + 1, "a"))
    assert (seconds(told), told.counts["changes"]) == ([("a", 0, 1, 1)], 2)


# Clocks


SOUND = [record(AT_MS + 100 * number, f"k{number % 3}") for number in range(40)]


def with_wrong(places: Iterable[int], ahead_ms: int) -> list[bytes]:
    content = list(SOUND)
    for place_in_content in sorted(places, reverse=True):
        content.insert(place_in_content, record(AT_MS + ahead_ms + 5 * place_in_content, "wrong"))
    return content


@pytest.mark.parametrize("page_bytes", [700, 3_000, 1 << 20])
@pytest.mark.parametrize("ahead_ms", [2 * HOUR_MS, YEAR_MS, 3_000 * YEAR_MS])
@pytest.mark.parametrize("places", [{0}, {1}, {17}, {39}, {0, 1, 2}, {3, 4, 5, 20}])
def test_a_clock_far_ahead_of_those_around_it_costs_its_own_record_alone(
    places: set[int], ahead_ms: int, page_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged(monkeypatch, page_bytes)
    sound = told_of(tmp_path, *SOUND)
    told = told_of(tmp_path, *with_wrong(places, ahead_ms))
    assert told.sums == sound.sums
    assert told.counts == sound.counts | {"events": 40 + len(places), "malformed": len(places)}
    assert ["ApproximateCreationDateTime" in line["reason"] for line in told.malformed] == [True] * len(places)


@pytest.mark.parametrize("place_of_wrong", [0, 20, 40])
def test_a_time_54_000_years_ahead_costs_its_own_record_alone(place_of_wrong: int, tmp_path: Path) -> None:
    content = list(SOUND)
    content.insert(place_of_wrong, record((AT_MS + 54_000 * YEAR_MS) * 1_000, "wrong"))
    told = told_of(tmp_path, *content)
    assert told.sums == told_of(tmp_path, *SOUND).sums
    assert (told.counts["malformed"], told.counts["late"]) == (1, 0)


@pytest.mark.parametrize(("ahead_ms", "is_malformed"), [(0, False), (1, True)])
def test_ahead_by_the_tolerance_is_believed(ahead_ms: int, is_malformed: bool, tmp_path: Path) -> None:
    same_time = [record(AT_MS, "k")] * 20
    told = told_of(tmp_path, *same_time, record(AT_MS + HOUR_MS + ahead_ms), *same_time)
    assert told.counts["malformed"] == is_malformed
    assert told.counts["late"] == (0 if is_malformed else 20)


@pytest.mark.parametrize("page_bytes", [700, 1 << 20])
@pytest.mark.parametrize("beyond", [1, 5, 15, 16, 30])
def test_after_a_gap_in_the_stream_all_are_believed(
    beyond: int, page_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged(monkeypatch, page_bytes)
    after = [record(AT_MS + 9 * HOUR_MS + 100 * number, "after") for number in range(beyond)]
    told = told_of(tmp_path, *SOUND, *after)
    assert told.counts | {"partition_keys": 4} == {
        "events": 40 + beyond,
        "changes": 40 + beyond,
        "malformed": 0,
        "ignored": 0,
        "late": 0,
        "size_mismatch": 0,
        "first_event_ms": AT_MS,
        "last_event_ms": AT_MS + 9 * HOUR_MS + 100 * (beyond - 1),
        "partition_keys": 4,
    }


def test_a_wrong_clock_that_nothing_follows_is_believed_and_costs_no_other_file_anything(tmp_path: Path) -> None:
    others = [record(AT_MS + 100 * number, "other") for number in range(200)]
    told = told_by(stored(tmp_path / "in", [[*SOUND, record(AT_MS + YEAR_MS, "wrong")], others]))
    assert (told.counts["late"], told.counts["malformed"], told.counts["changes"]) == (0, 0, 241)


def test_a_wrong_clock_is_told_by_what_follows_much_later_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged(monkeypatch, 1 << 20)
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 500)
    junk = [b"junk %d" % number for number in range(300)]
    told = told_of(tmp_path, SOUND[0], record(AT_MS + YEAR_MS, "wrong"), *junk, *SOUND[1:])
    assert (told.counts["malformed"], told.counts["changes"], told.counts["late"]) == (301, 40, 0)


def test_a_time_that_only_records_of_an_unknown_table_tell_makes_nothing_late(tmp_path: Path) -> None:
    # What cannot be weighed without its images must not be passed over in the search for the first time.
    early = record(AT_MS, "early", SizeBytes=None)
    told = told_of(tmp_path, early, *(record(AT_MS + BOUND_MS, "k") for _ in range(30)))
    assert told.counts["late"] == 0
    assert told.counts["first_event_ms"] == AT_MS


def test_one_record_with_a_wrong_clock_before_much_junk_makes_nothing_late(tmp_path: Path) -> None:
    junk = [b"junk"] * 200
    told = told_of(tmp_path, record(AT_MS + YEAR_MS, "wrong"), *junk, *SOUND)
    assert (told.counts["late"], told.counts["malformed"], told.counts["changes"]) == (0, 201, 40)


# Memory, and what a reader of the rows can rely on


def test_sums_leave_as_soon_as_their_step_is_over_in_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 2_000)
    files = [[record(AT_MS + 1_000 * number, f"k{number}", size=100) for number in range(400)] for _ in range(3)]
    [rows] = rows_of(stored(tmp_path / "in", files))
    newest_ms = 0
    behind = []
    for row in rows:
        if row.report is not None:
            newest_ms = max(newest_ms, read_report(row.report).counts.last_event_ms or 0)
            behind.append(newest_ms - row.low_water_ms)
    # A block holds eight records or less, so one file is at most so many seconds ahead of another, and a block.
    assert max(behind[3:]) <= BOUND_MS + 2 * 8_000
    assert_promise_kept(rows)
    assert sum(row.wcu for row in rows) == 1_200


def test_too_many_sums_leave_early_and_add_up_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paged(monkeypatch, 20_000)
    paths = stored(tmp_path / "in", one_by_one(stream(2), 2))
    usual = told_by(paths)
    usual_rows = sum(map(len, rows_of(paths)))
    monkeypatch.setattr(lane_module, "_MOST_SUMS", 3)
    assert sum(map(len, rows_of(paths))) > usual_rows
    few = told_by(paths)
    assert (few.sums, few.counts) == (usual.sums, usual.counts)


def test_keys_are_told_in_between_where_they_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = stored(tmp_path / "in", one_by_one(stream(2), 2))
    usual = told_by(paths)
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 5_000)
    monkeypatch.setattr("jobs.recorded.distinct._MOST_TOLD", 4)
    monkeypatch.setattr("jobs.recorded.distinct._KEYS_PER_REPORT", 3)
    assert told_by(paths).counts == usual.counts


def test_a_lane_without_segments_has_no_rows(tmp_path: Path) -> None:
    paths = stored(tmp_path / "in", [SOUND])
    first, second, third = rows_of(paths, 3)
    assert first
    assert second == third == []


@pytest.mark.parametrize("content", [b"", b"\n \r\n"])
def test_a_file_without_records_has_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(content)
    assert told_by([path]).counts == as_told(Counts(), 0)


def test_all_of_a_file_counts_as_read(tmp_path: Path) -> None:
    paths = stored(tmp_path / "in", [list(stream(3))])
    counts = Counts()
    for row in rows_of(paths)[0]:
        if row.report is not None:
            counts.add(read_report(row.report).counts)
    assert counts.read_bytes == paths[0].stat().st_size


# Bad input


def test_a_malformed_record_is_told_with_its_place_and_its_beginning(tmp_path: Path) -> None:
    first, broken = record(AT_MS), b'{"eventID":"' + b"x" * 9_000
    told = told_of(tmp_path, first, broken, b"\xff\xfe not text", record(AT_MS + 1))
    path = str(tmp_path / "in" / "0-0.rec")
    assert [line["position"] for line in told.malformed] == [
        {"file": path, "byte": len(first) + 1},
        {"file": path, "byte": len(first) + len(broken) + 2},
    ]
    assert told.malformed[0]["record"] == broken[:4096].decode()
    assert told.malformed[1]["record"] == "\\xff\\xfe not text"
    assert told.counts["changes"] == 2


def test_records_in_envelopes_have_the_place_of_their_envelope(tmp_path: Path) -> None:
    first = lambda_event([record(AT_MS), b"broken"])
    told = told_of(tmp_path, first, lambda_event([b"broken too", record(AT_MS)]))
    assert [(line["record"], line["position"]["byte"]) for line in told.malformed] == [
        ("broken", 0),
        ("broken too", len(first) + 1),
    ]
    assert told.counts["changes"] == 2


@pytest.mark.parametrize("form", ["lines", "concatenated", "an array"])
def test_a_gzip_file_cut_short_keeps_what_came_before_and_says_so_once(form: str, tmp_path: Path) -> None:
    packed = gzip.compress(FORMS[form](SOUND))
    [path] = stored(tmp_path / "in", [[]])
    path.write_bytes(packed[: len(packed) * 2 // 3])
    told = told_by([path])
    assert 10 < (told.counts["changes"] or 0) < 40
    [line] = told.malformed
    assert line["reason"].startswith("the gzip stream ends early")
    assert any(each.startswith(line["record"].encode()) for each in SOUND)


@pytest.mark.parametrize(("size_bytes", "is_malformed"), [(-1, False), (0, False), (1, True)])
def test_a_record_is_as_long_as_kinesis_takes_it_or_malformed(
    size_bytes: int, is_malformed: bool, tmp_path: Path
) -> None:
    large = record(AT_MS, "a", userIdentity={"type": ""})
    large = record(AT_MS, "a", userIdentity={"type": "x" * ((10 << 20) + size_bytes - len(large))})
    assert len(large) - (10 << 20) == size_bytes
    told = told_of(tmp_path, record(AT_MS), large, record(AT_MS))
    assert (told.counts["changes"], told.counts["malformed"]) == (3 - is_malformed, is_malformed)


def steps_of(row: WindowRow, window_ms: int) -> Iterator[tuple[tuple[str | None, str | None, int], tuple[int, int]]]:
    for step in (row.steps or "").split(" "):
        place, wcu, writes = map(int, step.split(":"))
        first_step = (row.at_ms + 1 - window_ms) // STEP_MS
        yield (row.table_name, row.partition_key, first_step + place), (wcu, writes)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("steps_in_window", [1, 2, 24])
@pytest.mark.parametrize("most_sums", [1, 50, 200_000])
def test_windows_told_as_a_whole_hold_what_their_steps_hold(
    lanes: int, steps_in_window: int, most_sums: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.capacity.lane._MOST_SUMS", most_sums)
    paths = stored(tmp_path, at_random(stream(), 3))
    window_ms = steps_in_window * STEP_MS
    by_step: Counter[tuple[str | None, str | None, int]] = Counter()
    for rows in rows_of(paths, lanes):
        for row in rows:
            if row.report is None:
                by_step[row.table_name, row.partition_key, row.at_ms // STEP_MS] += row.wcu
    by_window: Counter[tuple[str | None, str | None, int]] = Counter()
    for lane in lanes_of(paths, lanes):
        window_rows = list(lane.window_rows(window_ms))
        assert all(earlier.low_water_ms <= later.low_water_ms for earlier, later in pairwise(window_rows))
        assert all(row.at_ms >= row.low_water_ms for row in window_rows)
        for window_row in window_rows:
            if window_row.report is not None:
                continue
            assert (window_row.at_ms + 1) % window_ms == 0
            steps = dict(steps_of(window_row, window_ms))
            assert sum(wcu for wcu, _ in steps.values()) == window_row.wcu
            by_window.update({key: wcu for key, (wcu, _) in steps.items()})
    assert by_window == by_step
