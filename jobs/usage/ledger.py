"""A ledger to be read: its files, each looked at before any is believed. I/O."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pyarrow
from pyarrow import dataset, parquet

from jobs.usage.ledger_file import COMPACTED, compacted_from
from jobs.usage.ledger_paths import LedgerFile, parse_path
from jobs.usage.ledger_rows import SCHEMA, SCHEMA_VERSION, VERSION_FIELD
from jobs.usage.periods import FILE as PERIODS_FILE
from jobs.usage.periods import ClosedPeriod, PeriodError, read_periods, write_periods
from jobs.usage.store import LedgerStore, StoreError

COMPACTION_PLAN: Final = "_compaction.json"
"""The file that is there while a compaction is under way."""

_READERS: Final = 16
_MOST_PROBLEMS: Final = 10
_WINDOW_START: Final = SCHEMA.names.index("window_start_ms")


class LedgerError(Exception):
    """A ledger that cannot be read; `problems` has what is the matter with each file."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Ledger:
    """The files of a ledger, all of which are whole and of this version.

    Args:
        location: A directory or an S3 prefix.
        region: Of the bucket; None leaves it to the environment.
        endpoint_url: Of S3; None leaves it to the environment.

    Raises:
        LedgerError: There is none, or a file in it is foreign, torn or of another version.
    """

    def __init__(self, location: str, region: str | None = None, endpoint_url: str | None = None) -> None:
        try:
            self.store = LedgerStore(location, region, endpoint_url)
            if not self.store.exists():
                raise LedgerError([f"{location}: no such ledger"])
            paths = [path for path in self.store.paths() if path != PERIODS_FILE]
            self.closed_periods = self._read_periods()
            if self.store.has(COMPACTION_PLAN):
                problem = "a compaction is under way, or was interrupted: then `headroom usage compact` finishes it"
                raise LedgerError([f"{location}: {problem}"])
        except StoreError as error:
            raise LedgerError([str(error)]) from error
        self.files = {path: parse_path(path) for path in paths}
        # What each file stands for: itself, or those that were compacted to it.
        self._stands_for: dict[str, list[LedgerFile]] = {}
        with ThreadPoolExecutor(_READERS) as readers:
            found = list(readers.map(self._problem, paths))
        problems = [f"{location}/{problem}" for problem in [*filter(None, found), *self._overlaps()]]
        if len(problems) > _MOST_PROBLEMS:
            more = len(problems) - _MOST_PROBLEMS
            problems[_MOST_PROBLEMS:] = [f"{location}: {more:,} more problems like these"]
        if problems:
            self.require_uncompacted()
            raise LedgerError(problems)

    def require_uncompacted(self) -> None:
        """Refuse what was read of files that were listed here, where a compaction has changed any of them since.

        Rows may be missing of what was listed in its middle, and be there twice in what was read in its middle.
        Files that a job has added do not matter.

        Raises:
            LedgerError: It has.
        """
        try:
            now = {path for path in self.store.paths() if path != PERIODS_FILE}
        except StoreError as error:
            raise LedgerError([str(error)]) from error
        changed = (self.files.keys() - now) | {path for path in now - self.files.keys() if path.endswith(COMPACTED)}
        if changed:
            raise LedgerError([f"{self.store.location}: was compacted while it was read; do it again"])

    def dataset(self) -> Any:
        """All rows, with the columns of their paths, as a dataset of pyarrow."""
        filesystem, root = self.store.arrow()
        names = [pyarrow.field(name, pyarrow.string()) for name in ("table", "date", "hour")]
        return dataset.dataset(
            [f"{root}/{path}" for path in self.files],
            filesystem=filesystem,
            format="parquet",
            schema=pyarrow.schema([*names, *SCHEMA]),
            # No part of a path stands for no value.
            partitioning=dataset.HivePartitioning(pyarrow.schema(names), null_fallback="/"),
            partition_base_dir=root,
        )

    def close_period(self, period: ClosedPeriod) -> None:
        """Take note of a period that is closed.

        Raises:
            StoreError: It cannot be written.
        """
        self.closed_periods = [*self.closed_periods, period]
        self.store.write(PERIODS_FILE, write_periods(self.closed_periods).encode())

    def _read_periods(self) -> list[ClosedPeriod]:
        if not self.store.has(PERIODS_FILE):
            return []
        try:
            return read_periods(self.store.read(PERIODS_FILE).decode())
        except (PeriodError, UnicodeDecodeError) as error:
            raise LedgerError([f"{self.store.location}/{error}"]) from error

    def _problem(self, path: str) -> str | None:
        file = self.files[path]
        if file is None:
            return f"{path if path.isprintable() else repr(path)}: not a file of a ledger"
        try:
            with self.store.open_file(path) as opened:
                found = parquet.ParquetFile(opened)
                schema, metadata = found.schema_arrow, found.metadata
        except (StoreError, OSError, pyarrow.ArrowException) as error:
            said = str(error).partition(".")[0]
            return f"{path}: torn or damaged: {said}"
        held = compacted_from(schema) or [path]
        self._stands_for[path] = [each for each in map(parse_path, held) if each is not None]
        return _schema_problem(path, schema) or _times_problem(path, file, metadata)

    def _overlaps(self) -> list[str]:
        """Files with rows of the same keys and minutes, which would count twice."""
        by_partition: dict[str, list[tuple[str, LedgerFile]]] = {}
        for path, files in self._stands_for.items():
            for file in files:
                by_partition.setdefault(file.partition, []).append((path, file))
        problems = []
        for files_of_hour in by_partition.values():
            files_of_hour.sort()
            for number, (path, file) in enumerate(files_of_hour):
                other = next((each for each, held in files_of_hour[:number] if held.overlaps(file)), None)
                if other is not None:
                    problems.append(f"{path}: overlaps {other.rpartition('/')[2]}: rows would count twice")
        return problems


def _schema_problem(path: str, schema: Any) -> str | None:
    version = (schema.metadata or {}).get(VERSION_FIELD)
    if version is None:
        return f"{path}: not a file of a ledger: it tells no version"
    if version != str(SCHEMA_VERSION).encode():
        return f"{path}: of version {version.decode(errors='replace')} of the ledger; this reads {SCHEMA_VERSION}"
    if not schema.equals(SCHEMA):
        return f"{path}: has other columns than version {SCHEMA_VERSION} of the ledger"
    return None


def _times_problem(path: str, file: LedgerFile, metadata: Any) -> str | None:
    """Whether it is another file's copy, as far as the times of its rows tell, which stand at its end."""
    groups = (metadata.row_group(number).column(_WINDOW_START).statistics for number in range(metadata.num_row_groups))
    if all(file.start_ms <= each.min and each.max < file.end_ms for each in groups if each and each.has_min_max):
        return None
    return f"{path}: has rows of other times than its name says"
