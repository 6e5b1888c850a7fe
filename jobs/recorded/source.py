"""A recording as a source of a job: each subtask reads a lane of it, a few chunks a turn. I/O."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from pyflink.table import Schema, Table, TableDescriptor, TableFunction
from pyflink.table.expressions import call, col
from pyflink.table.types import DataType
from pyflink.table.udf import udtf

from connectors.recordings.files import BLOCK_BYTES
from connectors.recordings.segments import Segment
from jobs.runtime import Environment

_CHUNKS_A_TURN: Final = 2
"""How much of a lane is read in one call, about 2 MiB: in process mode its rows leave when a bundle of calls ends."""


class LaneRow(Protocol):
    """A row that a lane gives out; there is one with a report for each chunk."""

    @property
    def report(self) -> str | None:
        """See `jobs.recorded.reports`."""


OpenLane = Callable[[Sequence[Segment]], Iterator[LaneRow]]
"""Gives the rows of a lane."""


def recorded_source(
    environment: Environment,
    lanes: Sequence[Sequence[Segment]],
    open_lane: OpenLane,
    columns: Mapping[str, DataType],
) -> Table:
    """The rows of a recording, read in as many lanes as there are subtasks."""
    tables = environment.tables
    # Counting gives each subtask every nth number, and no shuffle may come between: a lane's promises about time hold
    # for the subtask that reads it only where that reads no other.
    longest_bytes = max(sum(segment.content_bytes for segment in lane) for lane in lanes)
    last_turn = len(lanes) * (longest_bytes // (_CHUNKS_A_TURN * BLOCK_BYTES) + 1) - 1
    turns = TableDescriptor.for_connector("datagen").schema(Schema.new_builder().column("turn", "BIGINT").build())
    turns = turns.option("fields.turn.kind", "sequence").option("fields.turn.start", "0")
    tables.create_temporary_table("turns", turns.option("fields.turn.end", str(last_turn)).build())
    read_lane = udtf(_ReadLane(lanes, last_turn, open_lane), result_types=list(columns.values()))
    tables.create_temporary_function("read_lane", read_lane)
    rows = call("read_lane", col("turn")).alias(*columns)
    return tables.from_path("turns").join_lateral(rows).select(*map(col, columns))


class _ReadLane(TableFunction):
    """Rows from one of the lanes of a recording, a few chunks a turn.

    The turns of a lane are numbered from the lane's own number on, in steps of the number of lanes.
    """

    def __init__(self, lanes: Sequence[Sequence[Segment]], last_turn: int, open_lane: OpenLane) -> None:
        self._lanes = lanes
        self._last_turn = last_turn
        self._open_lane = open_lane
        self._number: int | None = None
        self._rows: Iterator[Any] = iter(())

    def eval(self, turn: int) -> Iterator[Any]:
        """The rows of the next few chunks, in the last round of all that is left.

        Raises:
            RuntimeError: The subtask has read another lane; rows of this one would come behind a watermark, and be
                lost unseen.
        """
        number = turn % len(self._lanes)
        if self._number is None:
            self._number, self._rows = number, self._open_lane(self._lanes[number])
        if self._number != number:
            message = "two lanes came to one subtask"
            raise RuntimeError(message)
        chunks = 0
        for row in self._rows:
            yield row
            chunks += row.report is not None
            if chunks == _CHUNKS_A_TURN and turn + len(self._lanes) <= self._last_turn:
                return
