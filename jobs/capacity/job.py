"""The capacity job as a graph: decoded change records in, outcomes out. The same for live, replay and tests."""

from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from string import Template

from pyflink.table import Schema, Table
from pyflink.table.expressions import col, lit

from connectors.recordings.segments import Segment
from jobs.capacity.limits import Limits
from jobs.capacity.operators import DECODED_COLUMNS, OUTCOME_TYPE, Decide, open_lane
from jobs.capacity.outcomes import OutcomeKind
from jobs.recorded.source import recorded_source as lanes_source
from jobs.runtime import Environment
from jobs.settings import Settings


def recorded_source(environment: Environment, lanes: Sequence[Sequence[Segment]], settings: Settings) -> Table:
    """The decoded stream of a recording, read in as many lanes as there are subtasks."""
    return lanes_source(environment, lanes, partial(open_lane, settings=settings), DECODED_COLUMNS)


def build(environment: Environment, decoded: Table, settings: Settings) -> Table:
    """The outcomes of a decoded stream, as rows of kind and line.

    Args:
        environment: Where to build.
        decoded: Rows with the columns of `DECODED_COLUMNS`; each row's `low_water_ms` promises that no later row of
            its subtask is older, and becomes the watermark.
        settings: All settings.
    """
    tables = environment.tables
    timed = tables.from_data_stream(tables.to_data_stream(decoded), _timed_schema())
    tables.create_temporary_view("write_costs", timed.filter(col("table_name").is_not_null))
    totals = tables.to_data_stream(tables.sql_query(windows_sql(settings)))
    decided = (
        totals.key_by(lambda total: (total[0], total[1], total[2]))
        .process(Decide(settings), output_type=OUTCOME_TYPE)
        .name("decide")
        .uid("decide")
    )
    # Keys near their limit are few, and one subtask's worth of Python is enough for them.
    decided.set_parallelism(1)
    reports = timed.filter(col("report").is_not_null).select(lit(OutcomeKind.REPORT.value), col("report"))
    return tables.from_data_stream(decided).union_all(reports)


def windows_sql(settings: Settings) -> str:
    """The query that sums up windows, from its SQL file."""
    window = settings.window
    text = files(__package__).joinpath("windows.sql").read_text(encoding="utf-8")
    return Template(text).substitute(
        window_function=window.kind.upper(),
        step_s=_seconds(window.step_ms),
        size_s=_seconds(window.size_ms),
        lowest_warn_wcu=Limits(settings.limits).lowest_warn_wcu,
    )


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms // 1000}.{duration_ms % 1000:03d}"


def _timed_schema() -> Schema:
    builder = Schema.new_builder()
    for name, data_type in DECODED_COLUMNS.items():
        builder.column(name, data_type)
    builder.column_by_expression("written_at", "TO_TIMESTAMP_LTZ(at_ms, 3)")
    # A watermark says that nothing at or before it is still to come.
    builder.watermark("written_at", "TO_TIMESTAMP_LTZ(low_water_ms - 1, 3)")
    return builder.build()
