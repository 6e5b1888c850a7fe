"""Decoded change records as the graph takes them: what was written, with its time, and reports of all the rest."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pyflink.table import DataTypes, Schema, Table
from pyflink.table.expressions import col
from pyflink.table.types import DataType

from jobs.runtime import Environment

DECODED_COLUMNS: Final[dict[str, DataType]] = {
    "table_name": DataTypes.STRING(),
    "partition_key": DataTypes.STRING(),
    "partition_key_type": DataTypes.STRING(),
    "at_ms": DataTypes.BIGINT(),
    "wcu": DataTypes.BIGINT(),
    "writes": DataTypes.BIGINT(),
    "low_water_ms": DataTypes.BIGINT(),
    "report": DataTypes.STRING(),
}
"""The columns of decoded rows: those of `LaneRow`."""


@dataclass(frozen=True, slots=True)
class DecodedStream:
    """The two sides of a decoded stream.

    Attributes:
        write_costs: What each partition key wrote in each step: `table_name`, `partition_key`, `partition_key_type`,
            `written_at` (event time, with a watermark), `wcu`, `writes`.
        reports: Lines of `jobs.recorded.reports` in a column `report`.
    """

    write_costs: Table
    reports: Table


def decoded_stream(environment: Environment, rows: Table) -> DecodedStream:
    """Both sides of decoded rows.

    Args:
        environment: Where to build.
        rows: Rows with the columns of `DECODED_COLUMNS`; a row has either a table or, perhaps, a report.
    """
    timed = timed_rows(environment, rows, DECODED_COLUMNS)
    return DecodedStream(
        write_costs=timed.filter(col("table_name").is_not_null),
        reports=timed.filter(col("report").is_not_null).select(col("report")),
    )


def timed_rows(environment: Environment, rows: Table, columns: Mapping[str, DataType]) -> Table:
    """The rows with event time in a column `written_at`, from their `at_ms`, and a watermark from `low_water_ms`.

    Args:
        environment: Where to build.
        rows: Rows with these columns; each row's `low_water_ms` promises that no later row of its subtask is older.
        columns: What the columns hold.
    """
    tables = environment.tables
    return tables.from_data_stream(tables.to_data_stream(rows), _timed_schema(columns.items()))


def _timed_schema(columns: Iterable[tuple[str, DataType]]) -> Schema:
    builder = Schema.new_builder()
    for name, data_type in columns:
        builder.column(name, data_type)
    builder.column_by_expression("written_at", "TO_TIMESTAMP_LTZ(at_ms, 3)")
    # A watermark says that nothing at or before it is still to come.
    builder.watermark("written_at", "TO_TIMESTAMP_LTZ(low_water_ms - 1, 3)")
    return builder.build()
