"""A recording as the decoded stream of the capacity job."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from pyflink.table import DataTypes, Table
from pyflink.table.expressions import col
from pyflink.table.types import DataType

from connectors.recordings.segments import Segment
from jobs.capacity.decoded_stream import DECODED_COLUMNS, DecodedStream, decoded_stream, timed_rows
from jobs.capacity.job import sql
from jobs.capacity.operators import rows_of_steps, rows_of_windows
from jobs.recorded.source import recorded_source
from jobs.runtime import Environment
from jobs.settings import Settings, WindowKind

_WINDOW_COLUMNS: Final[dict[str, DataType]] = {
    "table_name": DataTypes.STRING(),
    "partition_key": DataTypes.STRING(),
    "partition_key_type": DataTypes.STRING(),
    "at_ms": DataTypes.BIGINT(),
    "wcu": DataTypes.BIGINT(),
    "steps": DataTypes.STRING(),
    "low_water_ms": DataTypes.BIGINT(),
    "report": DataTypes.STRING(),
}
"""The columns of `WindowRow`."""

_STEP_COLUMNS: Final = {name: kind for name, kind in DECODED_COLUMNS.items() if name != "report"}


def recorded_stream(environment: Environment, lanes: Sequence[Sequence[Segment]], settings: Settings) -> DecodedStream:
    """The decoded stream of a recording, read in as many lanes as there are subtasks."""
    if settings.window.kind is WindowKind.HOP:
        rows = recorded_source(environment, lanes, partial(rows_of_steps, settings=settings), DECODED_COLUMNS)
        return decoded_stream(environment, rows)
    rows = recorded_source(environment, lanes, partial(rows_of_windows, settings=settings), _WINDOW_COLUMNS)
    return _near_limit(environment, rows, settings)


def _near_limit(environment: Environment, rows: Table, settings: Settings) -> DecodedStream:
    """What of windows told as a whole can matter: the steps of those that came near a limit.

    Nothing has to be decided before a recorded window is over, and almost all keys are far from their limits in all
    windows, so most of the stream is left out before the windows look into it step by step.
    """
    tables = environment.tables
    timed = timed_rows(environment, rows, _WINDOW_COLUMNS)
    # Lanes are translated into operators by now. What follows has one subtask, or windows of one would come behind
    # later ones of another, and be late; there is little for it to do.
    tables.get_config().set("table.exec.resource.default-parallelism", "1")
    tables.create_temporary_view("window_sums", timed.filter(col("table_name").is_not_null))
    steps = tables.sql_query(sql("windows_near_limit.sql", settings))
    return DecodedStream(
        write_costs=timed_rows(environment, steps, _STEP_COLUMNS),
        reports=timed.filter(col("report").is_not_null).select(col("report")),
    )
