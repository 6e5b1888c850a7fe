"""The Spot job as a graph: what messages tell in, outcomes out. The same for live, replay and tests."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from pyflink.common import Row, Types
from pyflink.datastream import FlatMapFunction
from pyflink.table import Schema, Table, TableDescriptor
from pyflink.table.expressions import col

from jobs.runtime import Environment
from jobs.settings import Settings
from jobs.spot.operators import EVIDENCE, OUTCOME_TYPE, ROUTED_COLUMNS, ROUTED_TYPE, Listen, Weigh
from jobs.spot.timeline import TimelineRow, read_timeline

_ROWS_A_TURN: Final = 5_000
"""How much of a timeline is read in one call: in process mode its rows leave when a bundle of calls ends."""


def recorded_source(environment: Environment, timeline: Path, row_count: int) -> Table:
    """The routed stream of a recording, in the order of its times.

    One subtask reads it, for only so is there one order. Its records are few beside those of a capacity stream.
    """
    tables = environment.tables
    turns = TableDescriptor.for_connector("datagen").schema(Schema.new_builder().column("turn", "BIGINT").build())
    turns = turns.option("fields.turn.kind", "sequence").option("fields.turn.start", "0")
    turns = turns.option("fields.turn.end", str(row_count // _ROWS_A_TURN)).option("scan.parallelism", "1")
    routed = (
        tables.to_data_stream(tables.from_descriptor(turns.build()))
        .flat_map(_ReadTimeline(timeline), output_type=ROUTED_TYPE)
        .name("timeline")
        .uid("timeline")
        .set_parallelism(1)
    )
    return tables.from_data_stream(routed)


class _ReadTimeline(FlatMapFunction):
    """The rows of a timeline, some at each turn."""

    def __init__(self, timeline: Path) -> None:
        self._timeline = timeline
        self._rows: Iterator[TimelineRow] | None = None

    def flat_map(self, value: Row) -> Iterator[Row]:
        """The next rows. No row after one is older, so the time of each is a low-water mark."""
        if self._rows is None:
            self._rows = read_timeline(self._timeline)
        for subject, kind, at_ms, told in islice(self._rows, _ROWS_A_TURN):
            yield Row(subject, kind, at_ms, told, at_ms, None)


def build(environment: Environment, routed: Table, settings: Settings) -> Table:
    """The outcomes of a routed stream, as rows of kind and line.

    An action about an instance leaves as soon as it is certain, in whatever order its events come. Markets are weighed
    in the order of event time.

    Args:
        environment: Where to build.
        routed: Rows with the columns of `ROUTED_COLUMNS`; each row's `low_water_ms` promises that no later row of its
            subtask is older, and becomes the watermark.
        settings: All settings.
    """
    tables = environment.tables
    timed = tables.from_data_stream(tables.to_data_stream(routed), _timed_schema())
    told = timed.filter(col("subject").is_not_null).select(col("subject"), col("kind"), col("value"))
    listened = (
        tables.to_data_stream(told)
        .key_by(lambda row: row[0], key_type=Types.STRING())
        .process(Listen(settings), output_type=OUTCOME_TYPE)
        .name("listen")
        .uid("listen")
    )
    weighed = (
        listened.get_side_output(EVIDENCE)
        .key_by(lambda row: row[0], key_type=Types.STRING())
        .process(Weigh(settings), output_type=OUTCOME_TYPE)
        .name("weigh")
        .uid("weigh")
    )
    # Pools are few, and what is told of them is little.
    weighed.set_parallelism(1)
    reports = timed.filter(col("report").is_not_null).select(col("kind"), col("report"))
    return tables.from_data_stream(listened.union(weighed)).union_all(reports)


def _timed_schema() -> Schema:
    builder = Schema.new_builder()
    for name, data_type in ROUTED_COLUMNS.items():
        builder.column(name, data_type)
    builder.column_by_expression("happened_at", "TO_TIMESTAMP_LTZ(at_ms, 3)")
    # A watermark says that nothing at or before it is still to come.
    builder.watermark("happened_at", "TO_TIMESTAMP_LTZ(low_water_ms - 1, 3)")
    return builder.build()
