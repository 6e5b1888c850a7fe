"""What Flink calls: thin shells around the lane, the duplicates and the files."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor
from pyflink.table import DataTypes
from pyflink.table.types import DataType

from connectors.dynamodb.change_facts import FactPath
from connectors.firehose import put_records
from connectors.recordings.segments import Segment
from jobs.recorded.tables import table_schemas
from jobs.settings import Settings, UsageSettings, WeighImages
from jobs.text_as_bytes import text_of
from jobs.usage.deduplicate import (
    CopiesReport,
    Copy,
    Events,
    conflict_line,
    find_copies,
    write_copies_report,
)
from jobs.usage.facts import WINDOW_MS, EventBatch, UsageRow, decode_batch, encode_batch
from jobs.usage.lane import LaneSettings, UsageLane
from jobs.usage.ledger import is_compacted
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_paths import LedgerFile, bucket_of, file_of
from jobs.usage.ledger_rows import LedgerRow, encode_row, sort_order
from jobs.usage.outcomes import OutcomeKind, write_file_report
from jobs.usage.seen_events import SeenArray, SeenEvents
from jobs.usage.store import LedgerStore

USAGE_COLUMNS: Final[dict[str, DataType]] = {
    "table_name": DataTypes.STRING(),
    "partition_key": DataTypes.STRING(),
    "partition_key_type": DataTypes.STRING(),
    "window_start_ms": DataTypes.BIGINT(),
    "event_name": DataTypes.STRING(),
    "corrects_ms": DataTypes.BIGINT(),
    "wcu": DataTypes.BIGINT(),
    "writes": DataTypes.BIGINT(),
    "bytes_written": DataTypes.BIGINT(),
    "changes": DataTypes.BIGINT(),
    "event_partition": DataTypes.BIGINT(),
    "events": DataTypes.BYTES(),
    "at_ms": DataTypes.BIGINT(),
    "low_water_ms": DataTypes.BIGINT(),
    "report": DataTypes.STRING(),
}
"""The columns of what readers give out: those of `UsageRow`."""

COMPENSATION_COLUMNS: Final = {
    name: kind for name, kind in USAGE_COLUMNS.items() if name not in ("event_partition", "events", "low_water_ms")
}
"""What is taken away from sums, as rows like the sums; or, without a table, a report of the copies found."""

_STRINGS: Final = frozenset({"table_name", "partition_key", "partition_key_type", "event_name", "report"})
COMPENSATION_TYPE: Final = Types.ROW_NAMED(
    list(COMPENSATION_COLUMNS), [Types.STRING() if name in _STRINGS else Types.LONG() for name in COMPENSATION_COLUMNS]
)

TEXTS_OF_ROWS: Final = ("table_name", "partition_key")
"""The columns of the ledger's rows that reach Python as bytes, see `jobs.text_as_bytes`."""

OUTCOME_TYPE: Final = Types.ROW_NAMED(["kind", "line"], [Types.STRING(), Types.STRING()])


def fact_path(settings: Settings) -> FactPath:
    """The decoder that the settings ask for."""
    return FactPath(table_schemas(settings), weigh_always=settings.decode.weigh_images is WeighImages.ALWAYS)


def open_lane(segments: Sequence[Segment], settings: Settings) -> Iterator[UsageRow]:
    """The rows of a lane of a recording."""
    lane_settings = LaneSettings(settings.window.out_of_orderness_ms, settings.decode.future_tolerance_ms)
    return UsageLane(segments, fact_path(settings), lane_settings).rows()


class Deduplicate(KeyedProcessFunction):
    """Takes away from the sums what copies of events added to them, before the minutes of these sums are over.

    Batches wait in state until no event can come any more that arrived before theirs; then each event is looked up
    among those that were counted, which are in state too, and in memory.
    """

    def __init__(self, settings: Settings) -> None:
        self._out_of_orderness_ms = settings.window.out_of_orderness_ms
        self._horizon_ms = settings.usage.horizon_ms

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first batch."""
        self._waiting = runtime_context.get_list_state(ListStateDescriptor("waiting", Types.PICKLED_BYTE_ARRAY()))
        self._seen = runtime_context.get_map_state(MapStateDescriptor("seen", Types.INT(), Types.PICKLED_BYTE_ARRAY()))
        self._in_memory: dict[int, SeenEvents] = {}

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Keep a batch until it is due; nothing is told yet."""
        _, events, due_ms = value
        self._waiting.add(bytes(events))
        ctx.timer_service().register_event_time_timer(due_ms)
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """What is taken away for the copies among the events that are due."""
        events = self._due(timestamp + self._out_of_orderness_ms)
        partition = ctx.get_current_key()
        seen = self._in_memory.get(partition)
        if seen is None:
            kept = {number: SeenArray.from_bytes(array) for number, array in self._seen.items()}
            seen = self._in_memory[partition] = SeenEvents(kept)
        before = set(seen.arrays)
        report = CopiesReport()
        for copy in find_copies(events, seen, self._horizon_ms):
            report.duplicates += 1
            if copy.is_conflict:
                report.conflicts.append(conflict_line(copy))
            yield _compensation(copy, self._out_of_orderness_ms)
        for number in before - set(seen.arrays):
            self._seen.remove(number)
        for number in set(seen.arrays) - before:
            self._seen.put(number, seen.arrays[number].to_bytes())
        if report.duplicates:
            yield Row(*[None] * 10, timestamp, write_copies_report(report))

    def _due(self, arrived_ms: int) -> Events:
        """The events that arrived by then; those after it go on waiting."""
        due: list[EventBatch] = []
        later: list[EventBatch] = []
        for each in self._waiting:
            batch = decode_batch(each)
            (due if batch.last_arrived_ms() <= arrived_ms else later).append(batch)
        self._waiting.clear()
        if later:
            self._waiting.update([encode_batch(batch) for batch in later])
        return Events(due)


def _compensation(copy: Copy, out_of_orderness_ms: int) -> Row:
    window_ms, corrects_ms = copy.windows_ms(out_of_orderness_ms)
    sums = (-copy.wcu, -1 if copy.wcu else 0, -copy.new_bytes, -1)
    return Row(*copy.key, window_ms, copy.event_name, corrects_ms, *sums, window_ms + WINDOW_MS - 1, None)


def ledger_row(row: Row) -> LedgerRow:
    """The row of the ledger that a row of the query `ledger.sql` says."""
    _, partition_key, key_type, window_start_ms, event_name, corrects_ms, wcu, writes, bytes_written = row
    return LedgerRow(
        text_of(partition_key), key_type, window_start_ms, event_name, wcu, writes, bytes_written, corrects_ms
    )


class WriteFiles(KeyedProcessFunction):
    """Writes each file of the ledger once its time is over, and tells of it."""

    def __init__(self, settings: UsageSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first row."""
        self._store = LedgerStore(self._settings.ledger, self._settings.region, self._settings.endpoint_url)
        self._rows = runtime_context.get_list_state(ListStateDescriptor("rows", Types.PICKLED_BYTE_ARRAY()))

    def path_of(self, row: Row) -> str:
        """The path of the file that a row belongs to."""
        return self._file(row).path

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Keep a row until its file is written."""
        self._rows.add(tuple(ledger_row(value)))
        ctx.timer_service().register_event_time_timer(self._file(value).end_ms - 1)
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Write the file."""
        rows = [LedgerRow(*row) for row in self._rows]
        self._rows.clear()
        path = ctx.get_current_key()
        # After a restore a file comes again that may be part of a compacted one by now.
        if not is_compacted(self._store, path):
            self._store.write(path, write_rows(rows))
        yield Row(OutcomeKind.FILE.value, write_file_report(path, rows))

    def _file(self, row: Any) -> LedgerFile:
        span_ms, buckets = self._settings.file_span_ms, self._settings.buckets
        key = text_of(row[0]), text_of(row[1]), row[2]
        return file_of(*key, row[3], span_ms=span_ms, buckets=buckets)


class SendToFirehose(KeyedProcessFunction):
    """Sends rows of the ledger to Data Firehose when their minute is over; they wait in state until it takes them."""

    def __init__(self, settings: UsageSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first row."""
        import boto3

        settings = self._settings
        self._client = boto3.client("firehose", region_name=settings.region, endpoint_url=settings.endpoint_url)
        self._rows = runtime_context.get_list_state(ListStateDescriptor("rows", Types.PICKLED_BYTE_ARRAY()))

    def part_of(self, row: Row) -> int:
        """The part of all keys that is sent together."""
        return bucket_of(text_of(row[0]), text_of(row[1]), row[2], self._settings.buckets)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Keep a row until it is sent."""
        self._rows.add((text_of(value[0]), tuple(ledger_row(value))))
        ctx.timer_service().register_event_time_timer(value[3] + WINDOW_MS - 1)
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Send what there is."""
        rows = [(table, LedgerRow(*row)) for table, row in self._rows]
        if not rows:
            return
        rows.sort(key=lambda each: (each[0], sort_order(each[1])))
        stream = self._settings.delivery_stream
        put_records(self._client, stream, [encode_row(table, row) for table, row in rows])
        self._rows.clear()
        yield Row(OutcomeKind.FILE.value, write_file_report(f"firehose:{stream}", [row for _, row in rows]))
