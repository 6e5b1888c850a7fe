"""The files of a ledger: where they are, that they are whole, and that compaction and closing keep what they say."""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.settings import UsageSettings
from jobs.usage.closing import keep_closed_periods
from jobs.usage.compaction import compact, finish_compaction, is_compacted
from jobs.usage.ledger import Ledger, LedgerError
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_paths import LedgerFile, bucket_of, file_of, parse_path, path_part
from jobs.usage.ledger_rows import SCHEMA
from jobs.usage.periods import (
    ClosedPeriod,
    PeriodError,
    closed_at_ms,
    read_periods,
    why_not_over,
    write_periods,
)
from jobs.usage.query import MeterSession
from jobs.usage.shipped import shipped_meters
from jobs.usage.store import LedgerStore, StoreError
from tests.usage.ledgers import at, make_ledger, row
from tests.usage_oracle import attributed, read_ledger

LATE = 1 << 60


def quietly(_done: int, _of: int) -> None:
    """Progress that nobody looks at."""


# Paths


def test_the_path_of_a_row_is_laid_out_for_projection() -> None:
    file = file_of("conversations", "tenant-1", "S", at("2026-11-20 10:04"), span_ms=900_000, buckets=4)
    assert re.fullmatch(r"table=conversations/date=2026-11-20/hour=10/1000-15m-[1-4]of4\.parquet", file.path)


@given(
    st.text(min_size=1, max_size=300),
    st.integers(0, 253_402_300_799_999),
    st.sampled_from([60_000, 900_000, 3_600_000]),
)
def test_any_table_name_makes_a_path_that_stays_in_the_ledger_and_is_known_again(
    table: str, at_ms: int, span_ms: int
) -> None:
    table = table.encode("utf-8", "replace").decode()
    file = file_of(table, "k", "S", at_ms, span_ms=span_ms, buckets=3)
    parts = file.path.split("/")
    assert len(parts) == 4
    assert all(re.fullmatch(r"[A-Za-z0-9_.~%=-]{1,255}", part) and part not in (".", "..") for part in parts)
    assert parse_path(file.path) == file
    assert file.start_ms <= at_ms < file.end_ms


@pytest.mark.parametrize("name", ["a-b_c.D9", "x" * 249, "NULL", "007"])
def test_names_that_dynamodb_allows_stand_as_they_are(name: str) -> None:
    assert path_part(name) == name


def test_different_tables_have_different_paths_though_their_names_are_very_long() -> None:
    assert path_part("x" * 255) != path_part("x" * 254 + "y")
    assert len(path_part("ü" * 255)) < 250


@pytest.mark.parametrize("length", [249, 250, 255])
def test_what_a_reader_takes_for_the_name_of_a_table_makes_the_same_path_again(length: int) -> None:
    """A replay writes rows of a closed month again as it reads them."""
    part = path_part("x" * length)
    assert path_part(part) == part


NAMES = ["__HIVE_DEFAULT_PARTITION__", "NULL", "null", "007", "2026-11-20", "..", "a b/c'%=é~", "x" * 249]


@pytest.mark.parametrize("place", ["ledger", "table=x/date=2020-01-01/ledger", "l[e]d*g'er?"])
def test_a_reader_of_paths_gets_the_tables_names_back_wherever_the_ledger_is(place: str, tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    ledger = make_ledger(tmp_path / place, [(name, row()) for name in NAMES])
    lines = MeterSession(ledger).run(
        shipped_meters()["monthly_write_cost"], shipped_meters()["monthly_write_cost"].values({"month": "2026-11"})
    )
    assert sorted(lines.column("table").to_pylist()) == sorted(NAMES)
    read = ledger.dataset().to_table(columns=["table", "date", "hour"]).to_pylist()
    assert {(each["table"], each["date"], each["hour"]) for each in read} == {
        (name, "2026-11-20", "10") for name in NAMES
    }


@given(st.text(max_size=50), st.integers(1, 64))
def test_a_key_has_one_bucket(key: str, buckets: int) -> None:
    key = key.encode("utf-8", "replace").decode()
    assert 1 <= bucket_of("t", key, "S", buckets) <= buckets
    assert bucket_of("t", "tenant-1", "S", 4) == 3


@pytest.mark.parametrize(
    "path",
    [
        "x.parquet",
        "table=t/date=2026-11-20/hour=10/part-0.parquet",
        "table=t/date=2026-11-20/hour=11/1000-15m-1of4.parquet",
        "table=t/date=2026-13-20/hour=10/1000-15m-1of4.parquet",
        "table=t/date=2026-11-20/hour=10/1001-15m-5of4.parquet",
        "table=t/date=2026-11-20/hour=10/1000-7m-1of4.parquet",
        "table=../date=2026-11-20/hour=10/1000-15m-1of4.parquet ",
    ],
)
def test_other_paths_are_none_of_the_ledgers(path: str) -> None:
    assert parse_path(path) is None


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        (LedgerFile("t", 900_000, 900_000, 1, 4), False),
        (LedgerFile("t", 0, 900_000, 2, 4), False),
        (LedgerFile("u", 0, 900_000, 1, 4), False),
        (LedgerFile("t", 0, 900_000, 2, 3), True),
        (LedgerFile("t", 0, 1_800_000, 1, 4), True),
    ],
)
def test_files_overlap_where_a_row_can_be_in_both(other: LedgerFile, overlap: bool) -> None:
    file = LedgerFile("t", 0, 900_000, 1, 4)
    assert (file.overlaps(other), other.overlaps(file)) == (overlap, overlap)


# Files


def test_the_same_rows_in_any_order_are_the_same_bytes_sorted_by_key() -> None:
    rows = [row(key="b"), row(key="a", corrects=at("2026-11-20 09:00")), row(key="a"), row("2026-11-20 10:03", key="a")]
    content = write_rows(rows)
    assert content == write_rows(rows[::-1])
    table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    assert table.schema.equals(SCHEMA, check_metadata=True)
    assert table.column("partition_key").to_pylist() == ["a", "a", "a", "b"]
    assert table.column("lower_bounds").to_pylist() == ["wcu,writes"] * 4
    metadata = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content)).metadata
    assert metadata.row_group(0).column(0).compression == "ZSTD"


def foreign(directory: Path) -> Path:
    path = directory / "notes.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path)
    return path


def torn(directory: Path) -> Path:
    path = next(directory.rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-20])
    return path


def empty(directory: Path) -> Path:
    path = next(directory.rglob("*.parquet"))
    path.write_bytes(b"")
    return path


def older(directory: Path) -> Path:
    path = next(directory.rglob("*.parquet"))
    table = pyarrow.parquet.ParquetFile(path).read()
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"headroom.ledger.version": b"0"}), path)
    return path


def other_columns(directory: Path) -> Path:
    path = next(directory.rglob("*.parquet"))
    table = pyarrow.parquet.ParquetFile(path).read()
    pyarrow.parquet.write_table(table.drop_columns(["writes"]), path)
    return path


def another_layout(directory: Path) -> Path:
    path = next(directory.rglob("*.parquet"))
    copy = path.with_name(path.name.replace("15m", "30m"))
    copy.write_bytes(path.read_bytes())
    return copy


def moved(directory: Path) -> Path:
    path = next(directory.rglob("*.parquet"))
    later = path.parent.with_name("hour=11") / path.name.replace("10", "11", 1)
    later.parent.mkdir()
    later.write_bytes(path.read_bytes())
    return later


def unprintable(directory: Path) -> Path:
    path = directory / "two\nlines\x1b[31m"
    path.write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (foreign, "not a file of a ledger"),
        (moved, "has rows of other times than its name says"),
        (unprintable, r"two\nlines\x1b[31m': not a file of a ledger"),
        (torn, "torn or damaged"),
        (empty, "torn or damaged"),
        (older, "of version 0 of the ledger; this reads 1"),
        (other_columns, "has other columns"),
        (another_layout, "rows would count twice"),
    ],
)
def test_a_file_that_cannot_be_believed_is_named(damage: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger", [("t", row()), ("t", row(key="other"))])
    path = damage(tmp_path / "ledger")
    with pytest.raises(LedgerError) as told:
        Ledger(str(tmp_path / "ledger"))
    [problem] = told.value.problems
    assert said in problem
    assert problem.isprintable()
    assert path.name in problem or damage in (another_layout, unprintable)


def test_a_missing_ledger_is_told_and_an_empty_one_is_a_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="no such ledger"):
        Ledger(str(tmp_path / "nothing"))
    assert Ledger(str(tmp_path)).files == {}


def test_many_bad_files_are_summed_up(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number}.parquet").write_bytes(b"PAR1")
    with pytest.raises(LedgerError) as told:
        Ledger(str(tmp_path))
    assert len(told.value.problems) == 11
    assert "20 more problems" in told.value.problems[-1]


# Compaction


def some_rows() -> list[tuple[str, object]]:
    return [
        (table, row(f"2026-11-20 {hour}:{minute}", key=f"k{number}", wcu=number + 1))
        for table in ("t", "u")
        for hour in ("10", "11")
        for minute in ("00", "17", "31", "59")
        for number in range(9)
    ]


def test_compaction_leaves_one_file_an_hour_with_the_same_rows_and_does_nothing_twice(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path / "ledger", some_rows())  # type: ignore[arg-type]  # rows with their tables
    before = read_ledger(tmp_path / "ledger")
    done = compact(ledger, LATE, quietly)
    assert (done.hours, done.files_before) == (4, len(ledger.files))
    assert done.bytes_after < done.bytes_before
    assert read_ledger(tmp_path / "ledger") == before
    again = Ledger(str(tmp_path / "ledger"))
    assert len(again.files) == 4
    contents = [(tmp_path / "ledger" / path).read_bytes() for path in again.files]
    assert compact(again, LATE, quietly).hours == 0
    assert [(tmp_path / "ledger" / path).read_bytes() for path in again.files] == contents


def test_hours_that_may_still_be_written_to_are_left_alone(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path / "ledger", some_rows())  # type: ignore[arg-type]  # rows with their tables
    assert compact(ledger, at("2026-11-20 11:00"), quietly).hours == 2
    assert compact(Ledger(str(tmp_path / "ledger")), at("2026-11-20 11:59"), quietly).hours == 0


def test_a_file_that_comes_again_is_known_to_be_compacted_and_one_that_comes_late_is_compacted_too(
    tmp_path: Path,
) -> None:
    ledger = make_ledger(tmp_path / "ledger", [("t", row()), ("t", row("2026-11-20 10:20"))])
    paths = list(ledger.files)
    compact(ledger, LATE, quietly)
    store = LedgerStore(str(tmp_path / "ledger"))
    late = file_of("t", "tenant-1", "S", at("2026-11-20 10:50"), span_ms=900_000, buckets=4).path
    assert [is_compacted(store, path) for path in (*paths, late)] == [True, True, False]
    store.write(late, write_rows([row("2026-11-20 10:50")]))
    compact(Ledger(str(tmp_path / "ledger")), LATE, quietly)
    assert len(read_ledger(tmp_path / "ledger")) == 3
    assert is_compacted(store, late)
    store.write(paths[0], write_rows([row()]))
    with pytest.raises(LedgerError, match="rows would count twice"):
        Ledger(str(tmp_path / "ledger"))


class Killed(BaseException):
    """The end of a process, at some place."""


@pytest.mark.parametrize("dies_at", range(9))
def test_a_compaction_that_dies_anywhere_never_doubles_a_row_and_the_next_finishes_it(
    dies_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make_ledger(tmp_path / "ledger", [("t", row()), ("t", row("2026-11-20 10:20")), ("t", row(key="z"))])
    before = read_ledger(tmp_path / "ledger")
    steps = 0

    def dying(do: Callable[..., None]) -> Callable[..., None]:
        def step(*arguments: object) -> None:
            nonlocal steps
            if steps == dies_at:
                raise Killed
            steps += 1
            do(*arguments)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(LedgerStore, "write", dying(LedgerStore.write))
        patched.setattr(LedgerStore, "remove", dying(LedgerStore.remove))
        try:
            compact(ledger, LATE, quietly)
        except Killed:
            assert set(read_ledger(tmp_path / "ledger").items()) <= set(before.items())
        else:
            assert dies_at >= 5 + len(ledger.files)
    finish_compaction(LedgerStore(str(tmp_path / "ledger")))
    compact(Ledger(str(tmp_path / "ledger")), LATE, quietly)
    assert read_ledger(tmp_path / "ledger") == before
    assert len(Ledger(str(tmp_path / "ledger")).files) == 1


def test_a_compaction_names_the_file_that_it_cannot_read_and_leaves_all_as_it_is(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path, [("t", row()), ("t", row("2026-11-20 10:20"))])
    path = max(ledger.files)
    content = bytearray((tmp_path / path).read_bytes())
    content[20:60] = bytes([255]) * 40  # its footer is whole
    (tmp_path / path).write_bytes(content)
    with pytest.raises(StoreError, match=re.escape(path)):
        compact(Ledger(str(tmp_path)), LATE, quietly)
    assert LedgerStore(str(tmp_path)).paths(hidden=True) == sorted(ledger.files)
    (tmp_path / "_compaction.json").write_text("{torn")
    with pytest.raises(StoreError, match=r"_compaction\.json"):
        finish_compaction(LedgerStore(str(tmp_path)))


def test_a_ledger_is_not_read_while_a_compaction_is_unfinished(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger", [("t", row())])
    (tmp_path / "ledger" / "_compaction.json").write_text('{"remove": [], "place": "x"}')
    with pytest.raises(LedgerError, match="headroom usage compact"):
        Ledger(str(tmp_path / "ledger"))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store = LedgerStore(str(tmp_path))
    store.write("a/b.parquet", b"first")
    (tmp_path / "a").chmod(0o500)
    if os.geteuid():
        with pytest.raises(Exception, match=r"b\.parquet"):
            store.write("a/b.parquet", b"second")
    (tmp_path / "a").chmod(0o700)
    assert store.read("a/b.parquet") == b"first"
    assert store.paths(hidden=True) == ["a/b.parquet"]


def test_files_are_looked_for_while_their_directories_come_to_be(tmp_path: Path) -> None:
    """pyarrow fails to list a directory that another process makes at that moment, and a job would fail with it."""
    stores = [LedgerStore(str(tmp_path / str(number))) for number in range(2_000)]
    file = LedgerFile("t", start_ms=at("2026-11-20T10:00"), span_ms=60_000, bucket=1, buckets=1)
    with ThreadPoolExecutor(1) as other:
        for store in stores:
            made = other.submit((Path(store.location) / file.partition).mkdir, parents=True)
            assert (is_compacted(store, file.path), store.paths()) == (False, [])
            made.result()


# Closed periods


def close(ledger: Ledger, month: str, when: str) -> None:
    ledger.close_period(ClosedPeriod(month, at(when), *MeterSession(ledger).total(month)))


def billed(directory: Path) -> dict[str, int]:
    session = MeterSession(Ledger(str(directory)))
    return {month: session.total(month)[0] for month in ("2026-10", "2026-11", "2026-12")}


def test_what_becomes_known_after_a_period_was_closed_is_billed_in_the_next_and_both_are_shown(tmp_path: Path) -> None:
    november = [
        ("t", row("2026-11-20 10:04", wcu=5)),
        ("t", row("2026-12-01 08:00", wcu=2, corrects=at("2026-11-30 23:59"))),
    ]
    ledger = make_ledger(tmp_path / "ledger", november)
    assert billed(tmp_path / "ledger") == {"2026-10": 0, "2026-11": 7, "2026-12": 0}
    close(ledger, "2026-11", "2026-12-03 00:00")
    make_ledger(tmp_path / "ledger", [("t", row("2026-12-03 00:00", wcu=11, corrects=at("2026-11-02 00:00")))])
    assert billed(tmp_path / "ledger") == {"2026-10": 0, "2026-11": 7, "2026-12": 11}
    result = MeterSession(Ledger(str(tmp_path / "ledger"))).run(shipped_meters()["closed_periods"], {}).to_pylist()
    shown = [(line["billed_month"], *(int(line[name]) for name in line if name.startswith("wcu"))) for line in result]
    assert shown == [("2026-11", 7, 0, 7, 11), ("2026-12", 0, 11, 11, 0)]


def test_a_replay_keeps_closed_periods_and_corrects_them_in_the_month_of_closing_once(tmp_path: Path) -> None:
    old = [("t", row("2026-11-20 10:04", wcu=5)), ("t", row("2026-11-20 10:04", key="gone", wcu=3))]
    earlier = make_ledger(tmp_path / "earlier", [*old, ("t", row("2026-12-09 10:00", wcu=1))])
    close(earlier, "2026-11", "2026-12-03 04:05:33")
    fresh = [
        ("t", row("2026-11-20 10:04", wcu=9)),
        ("t", row("2026-11-21 10:04", key="new", wcu=4)),
        ("t", row("2026-12-09 10:00", wcu=2)),
    ]
    make_ledger(tmp_path / "fresh", fresh)
    settings = UsageSettings()
    before = tmp_path / "earlier"
    for name in ("once", "twice"):
        (tmp_path / name).mkdir()
        corrections = keep_closed_periods(
            Ledger(str(before)), Ledger(str(tmp_path / "fresh")), Ledger(str(tmp_path / name)), settings
        )
        assert corrections == 3
        before = tmp_path / name
    assert read_ledger(tmp_path / "once") == read_ledger(tmp_path / "twice")
    assert billed(tmp_path / "once") == {"2026-10": 0, "2026-11": 8, "2026-12": 2 + 4 - 3 + 4}
    assert {
        group: sums for group, sums in attributed(read_ledger(tmp_path / "once")).items() if any(sums)
    } == attributed(read_ledger(tmp_path / "fresh"))


@pytest.mark.parametrize(
    ("newest", "now", "closed_at"),
    [
        ("2026-12-09 10:15", "2026-12-09 10:44:33", "2026-12-09 10:15"),
        ("2026-12-01 00:00", "2026-12-01 00:20", "2026-12-01 00:00"),
        ("2026-11-30 23:45", "2026-12-02 00:00", "2026-12-01 00:00"),
        ("2027-03-01 00:00", "2026-12-09 10:44:33", "2026-12-09 10:44"),
        ("2026-11-30 23:45", "2026-12-01 23:59", "its last rows may be missing yet"),
        (None, "2026-12-01 00:20", "its last rows may be missing yet"),
        ("2026-11-30 23:45", "2026-11-30 23:59", "is not over yet"),
    ],
)
def test_a_month_is_closed_as_far_as_the_ledger_is(newest: str | None, now: str, closed_at: str) -> None:
    newest_ms = None if newest is None else at(newest)
    problem = why_not_over("2026-11", at(now), newest_ms)
    if problem is None:
        assert closed_at_ms("2026-11", at(now), newest_ms) == at(closed_at)
    else:
        assert problem.startswith(closed_at)


def test_what_a_live_ledger_still_writes_when_a_month_is_closed_leaves_its_bill_alone(tmp_path: Path) -> None:
    span = [("t", row("2026-12-09 10:17", wcu=2, corrects=at("2026-11-30 23:59")))]
    ledger = make_ledger(tmp_path, [("t", row("2026-11-20 10:04", wcu=5)), *span])
    newest_ms = max(file.start_ms for file in ledger.files.values() if file)
    closed = ClosedPeriod("2026-11", closed_at_ms("2026-11", at("2026-12-09 10:33"), newest_ms), 0, 0, 0)
    assert MeterSession(ledger, closing=closed).total("2026-11")[0] == 5
    ledger.close_period(closed)
    behind = [("t", row("2026-12-09 10:29", key="other bucket", wcu=7, corrects=at("2026-11-30 23:59")))]
    make_ledger(tmp_path, [*behind, ("t", row("2026-12-09 10:31", wcu=1, corrects=at("2026-11-30 23:58")))])
    assert billed(tmp_path) == {"2026-10": 0, "2026-11": 5, "2026-12": 2 + 7 + 1}


def test_closed_periods_are_read_as_they_were_written() -> None:
    periods = [ClosedPeriod("2026-11", 5, 1, 2, 3), ClosedPeriod("2026-10", 4, 0, 0, 0)]
    assert read_periods(write_periods(periods)) == sorted(periods)


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n", write_periods([]) + "2026-13,1,1,1,1\n", write_periods([]) + "2026-11,x,1,1,1\n",
     write_periods([]) + "2026-11,1,1\n", write_periods([]) + 2 * "2026-11,1,1,1,1\n"],
)  # fmt: skip
def test_a_list_of_closed_periods_with_something_else_in_it_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(PeriodError, match=r"periods\.csv"):
        read_periods(text)
    make_ledger(tmp_path, [("t", row())])
    (tmp_path / "closed_periods").mkdir()
    (tmp_path / "closed_periods" / "periods.csv").write_text(text)
    with pytest.raises(LedgerError, match=r"periods\.csv"):
        Ledger(str(tmp_path))
