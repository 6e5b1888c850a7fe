"""Recording: a stream's records into Parquet files, from where the last run of it ended. I/O."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import sleep, time_ns
from typing import Final

from connectors.kinesis.client import KinesisClient, KinesisError
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.records import Gap, ReadBatch, Row, ShardBatch
from connectors.kinesis.shards import SLOTS
from connectors.kinesis.state import read_state, write_state
from connectors.kinesis.subtask import POLLS_AT_A_TIME, Subtask
from connectors.recordings.shard_files import ShardFiles

_SLOTS: Final = range(SLOTS)


@dataclass(frozen=True, slots=True)
class Bounds:
    """When files are finished, and when all is.

    Attributes:
        until_ms: Arrival time up to which to record; None for no end.
        ends_ms: The time at which to stop, however far that is; None for no end.
        rotate_ms: How long a file is written at most.
        rotate_bytes: How much is written, in all files together, before they are finished.
    """

    until_ms: int | None
    ends_ms: int | None
    rotate_ms: int
    rotate_bytes: int


@dataclass(slots=True)
class Recorded:
    """What has been recorded in this run.

    Attributes:
        gaps: Stretches of shards that the stream had dropped before they were recorded.
        lag_ms: How far the slowest shard is behind; None where that is not known yet.
    """

    records: int = 0
    size_bytes: int = 0
    files: int = 0
    shards: int = 0
    gaps: int = 0
    lag_ms: int | None = None


class _IntoFiles:
    """Writes what is read; time is the time of arrival, so shards are recorded side by side."""

    def __init__(self, files: ShardFiles, recorded: Recorded) -> None:
        self._files = files
        self._recorded = recorded

    def open(self) -> None:
        """Nothing to prepare."""

    def read(self, batch: ShardBatch) -> ReadBatch:
        """No rows; the records are in the shard's file."""
        self._files.write(batch.shard_id, batch.records)
        self._recorded.records += len(batch.records)
        self._recorded.size_bytes += sum(len(record.data) for record in batch.records)
        return ReadBatch((), batch.records[-1].arrival_time_ms)

    def mark(self, low_water_ms: int) -> Row:
        """A row that nobody reads."""
        return (low_water_ms,)

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[Row]:
        """No rows; the gap is counted."""
        self._recorded.gaps += 1
        return ()


class _Lags:
    """Counts for nobody; knows the shards."""

    def __init__(self) -> None:
        self.numbers: Counter[str] = Counter()
        self.lags: dict[str, Callable[[], int]] = {}

    def count(self, name: str, number: int = 1) -> None:
        self.numbers[name] += number

    def watch(self, shard_id: str, lag_ms: Callable[[], int]) -> None:
        self.lags[shard_id] = lag_ms


def record(
    config: KinesisConfig,
    directory: Path,
    bounds: Bounds,
    *,
    is_stopped: Callable[[], bool],
    on_progress: Callable[[Recorded], None],
) -> Recorded:
    """Record a stream until a bound is reached or it is stopped.

    Args:
        config: The stream; where to start holds for a new recording.
        directory: Where its files are, and get their names only when they are whole.
        bounds: When files are finished, and when all is.
        is_stopped: Whether to finish now; asked several times a second.
        on_progress: Told of what was recorded so far, as often.

    Raises:
        RecordingDirectoryError: The directory cannot be used.
        KinesisError: The stream cannot be read. What was read before is kept.
        OSError: A file cannot be written. What was committed before is kept.
    """
    recorded, lags = Recorded(), _Lags()
    files = ShardFiles(directory, source_of(config))
    client = KinesisClient(config, POLLS_AT_A_TIME)
    subtask = Subtask(config, _IntoFiles(files, recorded), client, lags, _now_ms)
    try:
        states = files.committed.states
        for slot in _SLOTS:
            subtask.give(slot, read_state(states.get(slot)))
        committed_ms = _now_ms()
        try:
            while not (is_stopped() or _is_over(subtask, bounds)):
                for slot in _SLOTS:
                    for _ in subtask.turn(slot):
                        pass
                now_ms = _now_ms()
                if now_ms >= committed_ms + bounds.rotate_ms or files.open_bytes >= bounds.rotate_bytes:
                    recorded.files += files.commit(_states(subtask))
                    committed_ms = now_ms
                recorded.shards = len(lags.lags)
                recorded.lag_ms = max((lag_ms() for lag_ms in lags.lags.values()), default=None)
                on_progress(recorded)
                sleep(max(0, min(map(subtask.next_turn_ms, _SLOTS)) - _now_ms()) / 1000)
        except KinesisError:
            # A poll has failed, not what becomes of its records: the files are where the states are.
            files.commit(_states(subtask))
            raise
        recorded.files += files.commit(_states(subtask))
    finally:
        subtask.close()
        files.close()
    return recorded


def source_of(config: KinesisConfig) -> str:
    """Which stream a recording is of."""
    place = config.endpoint_url or config.region or "the Region of the environment"
    return f"stream {config.stream} at {place}"


def _states(subtask: Subtask) -> dict[int, str]:
    return {slot: write_state(subtask.state(slot)) for slot in _SLOTS}


def _is_over(subtask: Subtask, bounds: Bounds) -> bool:
    if bounds.ends_ms is not None and _now_ms() >= bounds.ends_ms:
        return True
    return bounds.until_ms is not None and subtask.arrived_until_ms() >= bounds.until_ms


def _now_ms() -> int:
    return time_ns() // 1_000_000
