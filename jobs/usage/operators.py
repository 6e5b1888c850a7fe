"""What Flink calls: thin shells around the lane, the duplicates and the files."""

from collections.abc import Iterator, Sequence
from typing import Final

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
from jobs.usage.compaction import write_file
from jobs.usage.deduplicate import (
    CopiesReport,
    Events,
    conflict_line,
    find_copies,
    taken_away,
    write_copies_report,
)
from jobs.usage.facts import EventBatch, UsageRow, decode_batch, encode_batch
from jobs.usage.lane import LaneSettings, UsageLane
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_rows import encode_row, sort_order
from jobs.usage.minute_sums import FileLayout, MinuteSums, added_up, decode_sums, encode_sums, ledger_rows
from jobs.usage.outcomes import OutcomeKind, write_file_report
from jobs.usage.seen_events import SeenArray, SeenEvents
from jobs.usage.store import LedgerStore

USAGE_COLUMNS: Final[dict[str, DataType]] = {
    "file": DataTypes.STRING(),
    "sums": DataTypes.BYTES(),
    "event_partition": DataTypes.BIGINT(),
    "events": DataTypes.BYTES(),
    "at_ms": DataTypes.BIGINT(),
    "low_water_ms": DataTypes.BIGINT(),
    "report": DataTypes.STRING(),
}
"""The columns of what readers give out: those of `UsageRow`."""

COMPENSATION_COLUMNS: Final = {name: USAGE_COLUMNS[name] for name in ("file", "sums", "at_ms", "report")}
"""What is taken away from sums, as rows like the sums; or, without a file, a report of the copies found."""

COMPENSATION_TYPE: Final = Types.ROW_NAMED(
    list(COMPENSATION_COLUMNS), [Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE()), Types.LONG(), Types.STRING()]
)

OUTCOME_TYPE: Final = Types.ROW_NAMED(["kind", "line"], [Types.STRING(), Types.STRING()])


def fact_path(settings: Settings) -> FactPath:
    """The decoder that the settings ask for."""
    return FactPath(table_schemas(settings), weigh_always=settings.decode.weigh_images is WeighImages.ALWAYS)


def file_layout(settings: UsageSettings) -> FileLayout:
    """How keys and times are dealt to files."""
    return FileLayout(settings.file_span_ms, settings.buckets)


def open_lane(segments: Sequence[Segment], settings: Settings) -> Iterator[UsageRow]:
    """The rows of a lane of a recording."""
    lane_settings = LaneSettings(
        settings.window.out_of_orderness_ms, settings.decode.future_tolerance_ms, file_layout(settings.usage)
    )
    return UsageLane(segments, fact_path(settings), lane_settings).rows()


class Deduplicate(KeyedProcessFunction):
    """Takes away from the sums what copies of events added to them, before the minutes of these sums are over.

    Batches wait in state until no event can come any more that arrived before theirs; then each event is looked up
    among those that were counted, which are in state too, and in memory.
    """

    def __init__(self, settings: Settings) -> None:
        self._out_of_orderness_ms = settings.window.out_of_orderness_ms
        self._horizon_ms = settings.usage.horizon_ms
        self._layout = file_layout(settings.usage)

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
        copies = list(find_copies(events, seen, self._horizon_ms))
        for number in before - set(seen.arrays):
            self._seen.remove(number)
        for number in set(seen.arrays) - before:
            self._seen.put(number, seen.arrays[number].to_bytes())
        for path, sums in taken_away(copies, self._out_of_orderness_ms, self._layout):
            yield Row(path, encode_sums(sums), sums.last_ms, None)
        if copies:
            conflicts = [conflict_line(copy) for copy in copies if copy.is_conflict]
            yield Row(None, None, timestamp, write_copies_report(CopiesReport(len(copies), conflicts)))

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


class _ArrivingSums:
    """Sums of a file that wait in state until their minute is over."""

    def __init__(self, runtime_context: RuntimeContext) -> None:
        self._waiting = runtime_context.get_list_state(ListStateDescriptor("arriving", Types.PICKLED_BYTE_ARRAY()))

    def add(self, sums: bytes) -> None:
        """Keep some."""
        self._waiting.add(sums)

    def over(self, timestamp: int) -> list[MinuteSums]:
        """Those of minutes that are over, added up; they are kept no longer."""
        waiting = [(decode_sums(each), each) for each in self._waiting]
        over = [sums for sums, _ in waiting if sums.last_ms <= timestamp]
        if over:
            self._waiting.clear()
            for sums, encoded in waiting:
                if sums.last_ms > timestamp:
                    self._waiting.add(encoded)
        return added_up(over)


class WriteFiles(KeyedProcessFunction):
    """Writes each file of the ledger once its time is over, and tells of it. Its keys are paths."""

    def __init__(self, settings: UsageSettings) -> None:
        self._settings = settings
        self._layout = file_layout(settings)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first row."""
        self._store = LedgerStore(self._settings.ledger, self._settings.region, self._settings.endpoint_url)
        self._arriving = _ArrivingSums(runtime_context)
        self._minutes = runtime_context.get_list_state(ListStateDescriptor("minutes", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Keep sums until their file is written."""
        _, sums, at_ms = value
        self._arriving.add(bytes(sums))
        ctx.timer_service().register_event_time_timer(at_ms)
        ctx.timer_service().register_event_time_timer(self._layout.end_ms(at_ms) - 1)
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Add up a minute that is over; write the file when that was its last."""
        for minute in self._arriving.over(timestamp):
            self._minutes.add(encode_sums(minute))
        if timestamp != self._layout.end_ms(timestamp) - 1:
            return
        rows = ledger_rows(map(decode_sums, self._minutes))
        self._minutes.clear()
        if not rows:
            return
        path = ctx.get_current_key()
        write_file(self._store, path, write_rows(rows))
        yield Row(OutcomeKind.FILE.value, write_file_report(path, rows))


class SendToFirehose(KeyedProcessFunction):
    """Sends rows of the ledger to Data Firehose when their minute is over; they wait in state until it takes them."""

    def __init__(self, settings: UsageSettings) -> None:
        self._settings = settings

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first row."""
        import boto3

        settings = self._settings
        self._client = boto3.client("firehose", region_name=settings.region, endpoint_url=settings.endpoint_url)
        self._arriving = _ArrivingSums(runtime_context)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """Keep sums until they are sent."""
        _, sums, at_ms = value
        self._arriving.add(bytes(sums))
        ctx.timer_service().register_event_time_timer(at_ms)
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Send what there is of a minute."""
        minutes = self._arriving.over(timestamp)
        rows = sorted(ledger_rows(minutes), key=sort_order)
        if not rows:
            return
        stream, table = self._settings.delivery_stream, minutes[0].table
        put_records(self._client, stream, [encode_row(table, row) for row in rows])
        yield Row(OutcomeKind.FILE.value, write_file_report(f"firehose:{stream}", rows))
