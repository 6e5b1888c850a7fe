"""The usage job as a graph: what readers found in, the ledger's files out. The same for live, replay and tests."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream
from pyflink.table import Schema, Table
from pyflink.table.expressions import col, lit
from pyflink.table.types import DataType

from connectors.recordings.segments import Segment
from jobs.recorded.source import recorded_source as lanes_source
from jobs.runtime import Environment
from jobs.settings import Settings, UsageSettings, UsageSink
from jobs.usage.operators import (
    COMPENSATION_COLUMNS,
    COMPENSATION_TYPE,
    OUTCOME_TYPE,
    USAGE_COLUMNS,
    Deduplicate,
    SendToFirehose,
    WriteFiles,
    open_lane,
)
from jobs.usage.outcomes import OutcomeKind

_SUM_COLUMNS: Final = ("file", "sums", "at_ms")
# A watermark says that nothing at or before it is still to come.
_LOW_WATER: Final = "TO_TIMESTAMP_LTZ(low_water_ms - 1, 3)"


def recorded_source(environment: Environment, lanes: Sequence[Sequence[Segment]], settings: Settings) -> Table:
    """What readers find in a recording, in as many lanes as there are subtasks."""
    return lanes_source(environment, lanes, partial(open_lane, settings=settings), USAGE_COLUMNS)


def build(environment: Environment, source: Table, settings: Settings) -> Table:
    """The outcomes of keeping a ledger where the settings say, as rows of kind and line.

    Args:
        environment: Where to build.
        source: Rows with the columns of `USAGE_COLUMNS`; each row's `low_water_ms` promises that no later row of its
            subtask is older, and becomes the watermark.
        settings: All settings.
    """
    tables = environment.tables
    found = tables.from_data_stream(tables.to_data_stream(source), _timed_schema(USAGE_COLUMNS, _LOW_WATER))
    events = found.filter(col("events").is_not_null).select(col("event_partition"), col("events"), col("at_ms"))
    copies = (
        tables.to_data_stream(events)
        .key_by(lambda batch: batch[0], key_type=Types.LONG())
        .process(Deduplicate(settings), output_type=COMPENSATION_TYPE)
        .name("deduplicate")
        .uid("deduplicate")
    )
    taken_away = tables.from_data_stream(copies, _timed_schema(COMPENSATION_COLUMNS, "SOURCE_WATERMARK()"))
    sums = [table.filter(col("file").is_not_null).select(*map(col, _SUM_COLUMNS)) for table in (found, taken_away)]
    of_files = tables.to_data_stream(sums[0].union_all(sums[1])).key_by(lambda sums: sums[0], key_type=Types.STRING())
    reports = [
        table.filter(col("report").is_not_null).select(lit(kind.value), col("report"))
        for table, kind in ((found, OutcomeKind.REPORT), (taken_away, OutcomeKind.COPIES))
    ]
    return tables.from_data_stream(_kept(of_files, settings.usage)).union_all(reports[0]).union_all(reports[1])


def _kept(of_files: KeyedStream, settings: UsageSettings) -> DataStream:
    if settings.sink is UsageSink.FIREHOSE:
        sent = of_files.process(SendToFirehose(settings), output_type=OUTCOME_TYPE)
        return sent.name("send to Firehose").uid("send-to-firehose")
    written = of_files.process(WriteFiles(settings), output_type=OUTCOME_TYPE)
    return written.name("write ledger files").uid("write-ledger-files")


def _timed_schema(columns: Mapping[str, DataType], watermark: str) -> Schema:
    builder = Schema.new_builder()
    for name, data_type in columns.items():
        builder.column(name, data_type)
    builder.column_by_expression("counted_at", "TO_TIMESTAMP_LTZ(at_ms, 3)")
    return builder.watermark("counted_at", watermark).build()
