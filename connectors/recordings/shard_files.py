"""Parquet files of a recording under way: a file for each shard between two commits, whole or not there. I/O.

Records are written to hidden files. A commit closes them, then replaces the position file, which names them and holds
the position they reach; only then do they get their names. So whenever the process is killed, what has a name is whole
and goes exactly up to the position: whoever opens the directory again finishes a commit that was under way, and drops
what no commit names.
"""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow
import pyarrow.parquet

from connectors.kinesis.records import KinesisRecord

POSITION_FILE: Final = ".headroom-record.json"
_LOCK_FILE: Final = ".headroom-record.lock"
_UNNAMED_SUFFIX: Final = ".parquet.unfinished"
_GROUP_BYTES: Final = 4 << 20
_SCHEMA: Final = pyarrow.schema(
    [
        pyarrow.field("data", pyarrow.binary(), nullable=False),
        pyarrow.field("arrival_time_ms", pyarrow.int64(), nullable=False),
        pyarrow.field("shard_id", pyarrow.string(), nullable=False),
        pyarrow.field("sequence_number", pyarrow.string(), nullable=False),
    ]
)


class RecordingDirectoryError(Exception):
    """A directory that cannot be recorded into; the message names it and says why."""


class Committed(msgspec.Struct, frozen=True):
    """The position file.

    Attributes:
        source: Which stream this is, in words that a person can compare.
        states: The state of each slot, as `connectors.kinesis.state` writes it.
        names: The files of this commit: hidden name, name.
        commits: How many commits there have been.
    """

    source: str
    states: dict[int, str] = {}
    names: dict[str, str] = {}
    commits: int = 0


@dataclass(slots=True)
class _OpenFile:
    shard_id: str
    hidden: Path
    writer: Any
    first_arrival_ms: int
    waiting: list[KinesisRecord] = field(default_factory=list)
    waiting_bytes: int = 0


class ShardFiles:
    """The files of a directory, one open for each shard that gave records since the last commit.

    Args:
        directory: Made where it is missing. One that holds something else than a recording of this stream is refused.
        source: Which stream is recorded.

    Raises:
        RecordingDirectoryError: The directory is another stream's, is in use, or cannot be written to.
    """

    def __init__(self, directory: Path, source: str) -> None:
        self._directory = directory
        self._open: dict[str, _OpenFile] = {}
        self.open_bytes = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(directory)
        except OSError as error:
            raise _unusable(directory, error) from error
        try:
            self.committed = self._read_position(source)
            self._name(self.committed.names)
            for left in directory.glob(f".*{_UNNAMED_SUFFIX}"):
                left.unlink()
        except RecordingDirectoryError:
            os.close(self._lock)
            raise
        except OSError as error:
            os.close(self._lock)
            raise _unusable(directory, error) from error

    def _read_position(self, source: str) -> Committed:
        path = self._directory / POSITION_FILE
        if not path.exists():
            others = [each.name for each in self._directory.iterdir() if each.name != _LOCK_FILE]
            if others:
                message = (
                    f"{self._directory}: holds {min(others)} and no recording to go on with; give another directory"
                )
                raise RecordingDirectoryError(message)
            return Committed(source)
        try:
            committed = msgspec.json.decode(path.read_bytes(), type=Committed)
        except msgspec.DecodeError as error:
            message = f"{path}: not a position file: {error}"
            raise RecordingDirectoryError(message) from error
        if committed.source != source:
            message = f"{self._directory}: holds a recording of {committed.source}, not of {source}"
            raise RecordingDirectoryError(message)
        return committed

    @property
    def goes_on(self) -> bool:
        """Whether there is a recording to go on with."""
        return self.committed.commits > 0

    def write(self, shard_id: str, records: Sequence[KinesisRecord]) -> None:
        """Add records of a shard."""
        file = self._open.get(shard_id)
        if file is None:
            name = f".{self.committed.commits + 1:06d}-{shard_id}{_UNNAMED_SUFFIX}"
            hidden = self._directory / name
            writer = pyarrow.parquet.ParquetWriter(
                hidden, _SCHEMA, compression="zstd", use_dictionary=["shard_id"], write_statistics=["arrival_time_ms"]
            )
            file = self._open[shard_id] = _OpenFile(shard_id, hidden, writer, records[0].arrival_time_ms)
        size_bytes = sum(len(record.data) for record in records)
        file.waiting += records
        file.waiting_bytes += size_bytes
        self.open_bytes += size_bytes
        if file.waiting_bytes >= _GROUP_BYTES:
            _flush(file)

    def commit(self, states: dict[int, str]) -> int:
        """Give the open files their names, and go on from these states; tells how many files there are more.

        A killed process leaves either all of that or nothing.
        """
        commits = self.committed.commits + 1
        names = {file.hidden.name: _name_of(file, commits) for file in self._open.values()}
        for file in self._open.values():
            _flush(file)
            file.writer.close()
            _sync(file.hidden)
        self.committed = Committed(self.committed.source, states, names, commits)
        unfinished = self._directory / f"{POSITION_FILE}.unfinished"
        unfinished.write_bytes(msgspec.json.encode(self.committed))
        _sync(unfinished)
        unfinished.replace(self._directory / POSITION_FILE)
        _sync(self._directory)
        self._name(names)
        self._open.clear()
        self.open_bytes = 0
        return len(names)

    def _name(self, names: dict[str, str]) -> None:
        for hidden, name in names.items():
            unnamed = self._directory / hidden
            if unnamed.exists() and not (self._directory / name).exists():
                unnamed.rename(self._directory / name)

    def close(self) -> None:
        """Let go of the directory; what is not committed is dropped."""
        for file in self._open.values():
            file.writer.close()
            file.hidden.unlink(missing_ok=True)
        self._open.clear()
        os.close(self._lock)


def _unusable(directory: Path, error: OSError) -> RecordingDirectoryError:
    return RecordingDirectoryError(f"{error.filename or directory}: {error.strerror}")


def _locked(directory: Path) -> int:
    lock = os.open(directory / _LOCK_FILE, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        message = f"{directory}: another recording is being made there"
        raise RecordingDirectoryError(message) from error
    return lock


def _flush(file: _OpenFile) -> None:
    if not file.waiting:
        return
    columns = [
        pyarrow.array([record.data for record in file.waiting], pyarrow.binary()),
        pyarrow.array([record.arrival_time_ms for record in file.waiting], pyarrow.int64()),
        pyarrow.array([file.shard_id] * len(file.waiting), pyarrow.string()),
        pyarrow.array([record.sequence_number for record in file.waiting], pyarrow.string()),
    ]
    file.writer.write_table(pyarrow.Table.from_arrays(columns, schema=_SCHEMA))
    file.waiting = []
    file.waiting_bytes = 0


def _sync(path: Path) -> None:
    """Have what was written on the disk, so that a name never outlives what it stands for."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _name_of(file: _OpenFile, commits: int) -> str:
    return f"{commits:06d}-{file.shard_id}-{file.first_arrival_ms}.parquet"
