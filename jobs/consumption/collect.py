"""The consumption in a recording, read in several processes without Flink. I/O."""

import os
import signal
from array import array
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final

import numpy as np

from connectors.dynamodb.fast_path import FastPath
from connectors.recordings.files import RecordingError, RecordingFile
from connectors.recordings.segments import PAGE_BYTES, Segment
from jobs.capacity.lane import Lane, LaneSettings
from jobs.consumption.series import Consumption, Numbers, Spans
from jobs.recorded.distinct import Key
from jobs.recorded.lanes import plan_lanes
from jobs.recorded.reports import Counts, Report, read_report
from jobs.recorded.tables import table_schemas
from jobs.settings import Settings, WeighImages

_ASK_EVERY_S: Final = 0.2


class CollectError(Exception):
    """Reading came to nothing; the message says why."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What was found in one lane."""

    keys: list[Key]
    on_time: Spans
    late: Spans
    counts: Counts


def collect(
    files: Sequence[RecordingFile],
    settings: Settings,
    span_ms: int,
    *,
    on_progress: Callable[[int], None] = lambda read_bytes: None,
    processes: int | None = None,
) -> Consumption:
    """What each partition key of the recording consumed, by the rules of the capacity job.

    Args:
        files: The recording.
        settings: How records are decoded, and how late a change may come.
        span_ms: The length of the spans that are summed up.
        on_progress: Told how many bytes were read so far.
        processes: How many read side by side; as many as there are cores, where the recording is worth it.

    Raises:
        CollectError: A process that read was ended, by lack of memory as a rule.
        RecordingError: A file cannot be read further.
    """
    wanted = processes or len(os.sched_getaffinity(0))
    content_bytes = sum(file.content_bytes for file in files)
    lanes = [lane for lane in plan_lanes(files, min(wanted, 1 + content_bytes // PAGE_BYTES)) if lane]
    if len(lanes) == 1:
        read = [_read_lane(lanes[0], settings, span_ms, on_progress)]
    else:
        read = _read_side_by_side(lanes, settings, span_ms, on_progress)
    return _put_together(read, span_ms)


def _read_side_by_side(
    lanes: Sequence[Sequence[Segment]], settings: Settings, span_ms: int, on_progress: Callable[[int], None]
) -> list[_Read]:
    # Started anew and not forked: a fork of a process with threads, as a progress bar has them, may stand still.
    context = get_context("spawn")
    read_bytes, stop = context.Value("q", 0), context.Event()
    with ProcessPoolExecutor(len(lanes), context, _begin_worker, (read_bytes, stop)) as pool:
        try:
            futures = [pool.submit(_read_lane_in_worker, lane, settings, span_ms) for lane in lanes]
            for _ in _while_running(futures):
                on_progress(read_bytes.value)
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            message = "a process that read the recording was ended from outside, by lack of memory as a rule"
            raise CollectError(message) from error
        finally:
            stop.set()


def _while_running(futures: Sequence[Future[_Read]]) -> Iterator[None]:
    """Comes back now and then until all are done or one has failed."""
    running: set[Future[_Read]] = set(futures)
    while running:
        done, running = wait(running, _ASK_EVERY_S)
        if any(future.exception() for future in done):
            return
        yield


_worker: dict[str, Any] = {}
"""What a worker process shares with the one that started it: `read_bytes` and `stop`."""


def _begin_worker(read_bytes: Any, stop: Any) -> None:
    # An interruption is for the process that started this one; it says stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _worker.update(read_bytes=read_bytes, stop=stop)


def _read_lane_in_worker(segments: Sequence[Segment], settings: Settings, span_ms: int) -> _Read:
    told = 0

    def on_progress(read_bytes: int) -> None:
        nonlocal told
        with _worker["read_bytes"].get_lock():
            _worker["read_bytes"].value += read_bytes - told
        told = read_bytes
        if _worker["stop"].is_set():
            message = "stopped"
            raise CollectError(message)

    return _read_lane(segments, settings, span_ms, on_progress)


def _read_lane(
    segments: Sequence[Segment], settings: Settings, span_ms: int, on_progress: Callable[[int], None]
) -> _Read:
    fast_path = FastPath(table_schemas(settings), weigh_always=settings.decode.weigh_images is WeighImages.ALWAYS)
    bounds = LaneSettings(span_ms, settings.window.out_of_orderness_ms, settings.decode.future_tolerance_ms)
    lane = Lane(segments, fast_path, bounds)
    numbers: dict[Key, int] = {}
    on_time, late = _Rows(span_ms), _Rows(span_ms)
    counts = Counts()
    with _told_as_recording_error():
        for row in lane.rows():
            table, partition_key, key_type, at_ms, wcu, writes, _, report = row
            if table is not None and partition_key is not None and key_type is not None:
                number = numbers.setdefault((table, partition_key, key_type), len(numbers))
                on_time.add(number, at_ms, wcu, writes)
            elif report is not None:
                found = read_report(report)
                counts.add(found.counts)
                _add_late(found, numbers, late)
                on_progress(counts.read_bytes)
    return _Read(list(numbers), on_time.spans(), late.spans(), counts)


@contextmanager
def _told_as_recording_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise RecordingError(message) from error


def _add_late(report: Report, numbers: dict[Key, int], late: "_Rows") -> None:
    for line in report.late:
        key = (line["table"], line["partition_key"], line["partition_key_type"])
        late.add(numbers.setdefault(key, len(numbers)), line["at_ms"], line["wcu"], 1 if line["wcu"] else 0)


class _Rows:
    """Rows as they come, held in little memory."""

    def __init__(self, span_ms: int) -> None:
        self._span_ms = span_ms
        self._columns = [array("q") for _ in range(4)]

    def add(self, *row: int) -> None:
        """One more: key, time, units, writes."""
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def spans(self) -> Spans:
        """All of them, summed up."""
        key, at_ms, wcu, writes = (np.array(column, dtype=np.int64) for column in self._columns)
        return Spans.summed(key, at_ms // self._span_ms * self._span_ms, wcu, writes)


def _put_together(read: Sequence[_Read], span_ms: int) -> Consumption:
    keys = sorted({key for each in read for key in each.keys})
    places = {key: place for place, key in enumerate(keys)}
    numbers = [np.array([places[key] for key in each.keys], dtype=np.int64) for each in read]
    counts = Counts()
    for each in read:
        counts.add(each.counts)
    on_time = _merged([each.on_time for each in read], numbers)
    return Consumption(keys, span_ms, on_time, _merged([each.late for each in read], numbers), counts)


def _merged(parts: Sequence[Spans], numbers: Sequence[Numbers]) -> Spans:
    def joined(columns: Sequence[Numbers]) -> Numbers:
        return np.concatenate([np.empty(0, np.int64), *columns])

    return Spans.summed(
        joined([number[part.key] for part, number in zip(parts, numbers, strict=True)]),
        joined([part.start_ms for part in parts]),
        joined([part.wcu for part in parts]),
        joined([part.writes for part in parts]),
    )
