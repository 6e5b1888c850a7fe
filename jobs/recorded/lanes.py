"""Lanes: the segments of a recording dealt out to the subtasks that read them. I/O."""

from collections.abc import Sequence
from typing import Final

from connectors.recordings.files import RecordingFile
from connectors.recordings.segments import Segment, plan_segments
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
