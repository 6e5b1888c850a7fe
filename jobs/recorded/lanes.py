"""Lanes: the segments of a recording dealt out to the subtasks that read them. I/O."""

from collections.abc import Sequence
from typing import Final

from connectors.recordings.files import RecordingFile
from connectors.recordings.segments import Segment, plan_segments
from jobs.execution import ExecutionMode
from jobs.recorded.decoded import first_time_ms
from jobs.recorded.open_segments import reading_order

_LONGEST_RUN: Final = 8
_LEAST_ROUNDS: Final = 8


def plan_lanes(files: Sequence[RecordingFile], parallelism: int) -> list[list[Segment]]:
    """The segments of all files dealt out in the order of their times, a lane for each subtask.

    A long recording is dealt in runs of segments: where most of a step is read in one lane, its sums are handed on once
    and not by every lane. What is found is the same.
    """
    segments = [segment for file in files for segment in plan_segments(file, first_time_ms)]
    segments.sort(key=reading_order)
    run = min(_LONGEST_RUN, max(1, len(segments) // (parallelism * _LEAST_ROUNDS)))
    return [
        [segment for number, segment in enumerate(segments) if number // run % parallelism == lane]
        for lane in range(parallelism)
    ]


def plan_lanes_of_job(
    files: Sequence[RecordingFile], parallelism: int, execution_mode: ExecutionMode
) -> list[list[Segment]]:
    """The lanes of a job's subtasks.

    In thread mode all subtasks share one interpreter, and two that want it wait for each other at every row: there one
    of them reads everything and the others have empty lanes.
    """
    if execution_mode is ExecutionMode.THREAD:
        return [*plan_lanes(files, 1), *([] for _ in range(parallelism - 1))]
    return plan_lanes(files, parallelism)
