"""Compaction: the small files of an hour of a table made one, without a moment at which rows are lost for good. I/O.

Neither a directory nor S3 can swap several files for one in a step. So the new file is first written under a hidden
name, then a plan says what is to be done, and from there on any run can finish: it removes the old files, and puts the
new one in place. Meanwhile rows of the hour are missing for those who read the files directly; none is ever there
twice. `Ledger` refuses to read a ledger with a plan in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from pyarrow import parquet

from jobs.settings.durations import HOUR_MS
from jobs.usage.ledger import COMPACTION_PLAN as PLAN
from jobs.usage.ledger import Ledger
from jobs.usage.ledger_file import compacted_from, join_files, read_rows
from jobs.usage.ledger_paths import LedgerFile, parse_path
from jobs.usage.store import LedgerStore, StoreError, told_as_store_error

_STAGED: Final = "_compacted.staged"


class _Plan(msgspec.Struct):
    """What is to be done: remove these files, then put the staged one in place as another."""

    remove: list[str]
    place: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """What was done: hours that were compacted, and the files and bytes before and after."""

    hours: int = 0
    files_before: int = 0
    bytes_before: int = 0
    bytes_after: int = 0


def finish_compaction(store: LedgerStore) -> bool:
    """Finish what an earlier run has begun; whether there was anything."""
    plan = _plan(store)
    if plan is None:
        return False
    for path in plan.remove:
        store.remove(path)
    if store.has(_STAGED):
        store.write(plan.place, store.read(_STAGED))
    store.remove(PLAN)
    store.remove(_STAGED)
    return True


def compact(ledger: Ledger, before_ms: int, on_progress: Callable[[int, int], None]) -> Compacted:
    """Make the files of each hour of each table one.

    Args:
        ledger: What to compact.
        before_ms: Only hours that ended by then, since later ones may still be written.
        on_progress: Told how many hours of how many are done.
    """
    by_hour: dict[str, list[LedgerFile]] = {}
    for file in filter(None, ledger.files.values()):
        by_hour.setdefault(file.partition, []).append(file)
    due = [files for files in by_hour.values() if len(files) > 1 and _hour_end_ms(files) <= before_ms]
    done = Compacted()
    for number, files in enumerate(due):
        before, after = _compact_hour(ledger.store, files)
        done = Compacted(
            done.hours + 1, done.files_before + len(files), done.bytes_before + before, done.bytes_after + after
        )
        on_progress(number + 1, len(due))
    return done


def write_file(store: LedgerStore, path: str, content: bytes) -> None:
    """Put a file of the ledger in place, but for one that comes again after a restore and is compacted by now."""
    if is_compacted(store, path):
        return
    store.write(path, content)
    # A compaction that has read an earlier one of the same rows may have removed that before this came.
    if is_compacted(store, path):
        store.remove(path)


def is_compacted(store: LedgerStore, path: str) -> bool:
    """Whether a file's rows are in a compacted file, or in what a plan is about to put in its place.

    Asked in this order, since a plan goes away only when all that it says is done.
    """
    plan = _plan(store)
    if plan is not None and path in plan.remove:
        return True
    file = parse_path(path)
    if file is None or not store.has(file.compacted.path):
        return False
    target = file.compacted.path
    with told_as_store_error(f"{store.location}/{target}"), store.open_file(target) as opened:
        return path in compacted_from(parquet.read_schema(opened))


def _plan(store: LedgerStore) -> _Plan | None:
    content = store.read_if_there(PLAN)
    try:
        return None if content is None else msgspec.json.decode(content, type=_Plan)
    except msgspec.DecodeError as error:
        message = f"{store.location}/{PLAN}: not the plan of a compaction: {error}"
        raise StoreError(message) from error


def _hour_end_ms(files: Sequence[LedgerFile]) -> int:
    return files[0].start_ms // HOUR_MS * HOUR_MS + HOUR_MS


def _compact_hour(store: LedgerStore, files: Sequence[LedgerFile]) -> tuple[int, int]:
    contents = [store.read(file.path) for file in files]
    tables = []
    for file, each in zip(files, contents, strict=True):
        with told_as_store_error(f"{store.location}/{file.path}"):
            tables.append(read_rows(each))
    content = join_files(tables, [file.path for file in files])
    target = files[0].compacted
    store.write(_STAGED, content)
    plan = _Plan([file.path for file in files if file != target], target.path)
    store.write(PLAN, msgspec.json.encode(plan))
    finish_compaction(store)
    return sum(map(len, contents)), len(content)
