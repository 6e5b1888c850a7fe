"""A ledger that is compacted while others read it, write to it or compact it, in every order of their steps."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random

import pytest

from jobs.usage.compaction import compact, finish_compaction, write_file
from jobs.usage.compaction_lock import only_compaction
from jobs.usage.ledger import Ledger, LedgerError
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_paths import file_of
from jobs.usage.ledger_rows import LedgerRow
from jobs.usage.meter import MeterFailedError
from jobs.usage.query import MeterSession
from jobs.usage.store import LedgerStore, StoreError
from tests.usage.ledgers import SPAN_MS, make_ledger, place_in_s3, row
from tests.usage.turns import Turns
from tests.usage_oracle import read_ledger

LATE = 1 << 60
HOURS = ("2026-11-20 10", "2026-11-20 11")
ROWS = [row(f"{hour}:{minute}", key=key, wcu=int(minute)) for hour in HOURS for minute in ("04", "20") for key in "az"]
LATER_ROWS = [row(f"{hour}:50", wcu=3) for hour in HOURS]
WCU = sum(each.wcu for each in ROWS)


def orders() -> Iterator[tuple[list[int], list[LedgerRow]]]:
    """Some steps of one, some of the other, and so on; of files that are compacted for the first time or again."""
    for seed in range(60):
        random = Random(seed)
        runs = [[random.randrange(6)] * random.choice((1, 1, 2, 3, 5, 8, 13, 21)) for _ in range(60)]
        yield [number for run in runs for number in run], random.choice(([], LATER_ROWS))


def compact_all(location: str) -> None:
    """What the command does."""
    store = LedgerStore(location)
    with only_compaction(store) as keep:
        finish_compaction(store)
        compact(Ledger(location), LATE, lambda _done, _of: keep())


def compact_or_refuse(location: str) -> None:
    with suppress(StoreError, LedgerError):
        compact_all(location)


def job_writes(location: str, rows: list[LedgerRow]) -> None:
    store = LedgerStore(location)
    for each in rows:
        path = file_of("t", each.partition_key, "S", each.window_start_ms, span_ms=SPAN_MS, buckets=4).path
        write_file(store, path, write_rows([each]))


@contextmanager
def some_ledger(later: list[LedgerRow] | None = None) -> Iterator[Path]:
    """A ledger; with later rows it was compacted before these came."""
    with tempfile.TemporaryDirectory() as directory:
        ledger = Path(directory, "ledger")
        make_ledger(ledger, [("t", each) for each in ROWS])
        if later:
            compact_all(str(ledger))
            make_ledger(ledger, [("t", each) for each in later])
        yield ledger


def test_of_compactions_that_run_at_once_all_but_one_are_refused_and_no_row_is_lost() -> None:
    for order, later in orders():
        with some_ledger(later) as ledger:
            before = read_ledger(ledger)
            Turns(order).run([partial(compact_or_refuse, str(ledger))] * 2)
            assert read_ledger(ledger) == before
            compact_all(str(ledger))
            assert read_ledger(ledger) == before
            assert len(Ledger(str(ledger)).files) == len(HOURS)


def test_a_job_that_writes_files_again_and_new_ones_while_they_are_compacted_doubles_and_loses_nothing(
    tmp_path: Path,
) -> None:
    make_ledger(tmp_path, [("t", each) for each in [*ROWS, *LATER_ROWS]])
    expected = read_ledger(tmp_path)
    for order, later in orders():
        with some_ledger(later) as ledger:
            jobs = [partial(job_writes, str(ledger), rows) for rows in (ROWS, LATER_ROWS)]
            Turns(order).run([partial(compact_or_refuse, str(ledger)), *jobs])
            compact_all(str(ledger))
            assert read_ledger(ledger) == expected


def test_whoever_reads_while_files_are_compacted_has_all_rows_once_or_is_told_to_do_it_again() -> None:
    found: list[int] = []

    def read(location: str) -> None:
        try:
            found.append(MeterSession(Ledger(location)).total("2026-11")[0])
        except (LedgerError, MeterFailedError) as error:
            assert re.search(r"do it again|a compaction is under way", str(error)), error  # noqa: PT017

    listed_meanwhile: list[tuple[list[int], list[LedgerRow]]] = [
        ([1] * step + [0] * 3 + [1] * 99, []) for step in range(60)
    ]
    for order, later in [*orders(), *listed_meanwhile]:
        with some_ledger(later) as ledger:
            Turns(order).run([partial(read, str(ledger)), partial(compact_or_refuse, str(ledger))])
            assert set(found) <= {WCU + sum(each.wcu for each in later)}
            found.clear()


def test_a_file_that_goes_away_while_it_is_read_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LedgerStore(str(tmp_path))
    store.write("a", b"some")
    assert store.read_if_there("a") == b"some"

    def read(self: LedgerStore, path: str) -> bytes:
        self.remove(path)
        message = "S3 failed"  # as pyarrow has it of an object that is there for its first request and not the second
        raise StoreError(message)

    monkeypatch.setattr(LedgerStore, "read", read)
    assert store.read_if_there("a") is None


STANDS_STILL = """
import sys, time
from jobs.usage.compaction_lock import only_compaction
from jobs.usage.store import LedgerStore
with only_compaction(LedgerStore(sys.argv[1])):
    print("has it", flush=True)
    time.sleep(60)
"""


def test_a_compaction_that_is_killed_lets_go_of_a_directory(tmp_path: Path) -> None:
    location = make_ledger(tmp_path / "ledger", [("t", each) for each in ROWS]).store.location
    before = read_ledger(tmp_path / "ledger")

    with subprocess.Popen([sys.executable, "-c", STANDS_STILL, location], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"has it\n"
        with pytest.raises(StoreError, match=r"ledger: another compaction is under way"):
            compact_all(location)
        process.kill()
    compact_all(location)
    assert read_ledger(tmp_path / "ledger") == before
    assert len(Ledger(location).files) == len(HOURS)


# S3


@pytest.fixture(scope="module")
def s3_ledger() -> Iterator[str]:
    with place_in_s3() as location:
        yield location


def test_in_s3_one_compaction_keeps_out_others_until_it_ends(s3_ledger: str) -> None:
    store = LedgerStore(s3_ledger)
    job_writes(s3_ledger, ROWS)
    with only_compaction(store) as keep:
        keep()
        with pytest.raises(StoreError, match=r"_compaction\.lock: another compaction is under way; if it died, begin"):
            compact_all(s3_ledger)
    compact_all(s3_ledger)
    assert len(Ledger(s3_ledger).files) == len(HOURS)
    assert [path for path in store.paths(hidden=True) if "_compact" in path] == []


def test_in_s3_a_compaction_that_died_is_taken_over_and_learns_of_it_if_it_lives(
    s3_ledger: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LedgerStore(s3_ledger)
    job_writes(s3_ledger, ROWS)
    with only_compaction(store) as keep:
        with only_compaction(store, lease_ms=0):
            monkeypatch.setattr("jobs.usage.compaction_lock._KEPT_AFTER_S", 0.0)
            with pytest.raises(StoreError, match="another compaction took over"):
                keep()
        compact_all(s3_ledger)
    with only_compaction(store):
        pass
