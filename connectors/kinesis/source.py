"""The Kinesis source in Python: a Flink operator that polls shards and keeps their positions in keyed state.

It guarantees, with checkpoints on: the effect of each record on state exactly once over failures, restores and
rescaling; the order of records in a shard, and over a split or merge where one subtask reads parents and children,
which with one subtask is always; no row older than the low-water mark of a row before it of the same subtask; records
that the stream dropped before they were read are counted, logged and told to the job. After a merge across the border
of two subtasks a child can be read while its other parent still is: nothing is lost, counted twice or late by that.

The graph is a slow tick for each slot of the stream's hash keys, keyed so that each subtask owns neighbouring slots;
from then on timers do the reading. In process mode rows and timers pass at the end of a bundle, so each bundle time
(`python.fn-execution.bundle.time`, 1 s if it is not set) is added to the time from arrival to row; in thread mode
there are no bundles.
"""

from collections.abc import Callable, Iterator, Mapping
from time import time_ns

from pyflink.common import Row, Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ValueState, ValueStateDescriptor
from pyflink.metrics import MetricGroup
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table, TableDescriptor
from pyflink.table.types import DataType

from connectors.kinesis.client import KinesisClient
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.key_groups import keys_of_groups
from connectors.kinesis.records import ReadRecords
from connectors.kinesis.shards import SLOTS
from connectors.kinesis.state import read_state, write_state
from connectors.kinesis.subtask import POLLS_AT_A_TIME, Subtask
from connectors.published_metrics import PUBLISHED, SOURCE_COUNTERS


def kinesis_table(
    streams: StreamExecutionEnvironment,
    tables: StreamTableEnvironment,
    config: KinesisConfig,
    read_records: ReadRecords,
    columns: Mapping[str, DataType],
    *,
    subtasks: int = 1,
    uid: str = "kinesis",
) -> Table:
    """The rows that a job makes of a stream's records, as a table that never ends.

    Args:
        streams: Where to build.
        tables: The same environment's tables.
        config: The stream.
        read_records: What the job makes of records; it is pickled.
        columns: The columns of its rows, each STRING, BIGINT or BYTES.
        subtasks: How many read side by side, each its part of the stream's hash keys; at most `SLOTS`. It may differ
            from that of the checkpoint that the job is restored from. One keeps all shards in one order.
        uid: Names the source in the job, and its state in checkpoints.
    """
    ticks = TableDescriptor.for_connector("datagen").schema(Schema.new_builder().column("tick", "INT").build())
    ticks = ticks.option("rows-per-second", "1").option("scan.parallelism", "1")
    keys = keys_of_groups(SLOTS)
    read = (
        tables.to_data_stream(tables.from_descriptor(ticks.build()))
        .flat_map(lambda _: keys, output_type=Types.INT())
        .key_by(lambda key: key, key_type=Types.INT())
        .process(ReadShards(config, read_records, keys, subtasks), output_type=row_type(columns))
        .name(uid)
        .uid(uid)
        .set_parallelism(subtasks)
        .set_max_parallelism(SLOTS)
    )
    return tables.from_data_stream(read, table_schema(columns))


def row_type(columns: Mapping[str, DataType]) -> TypeInformation:
    """The type of rows with these columns."""
    return Types.ROW_NAMED(list(columns), [_type_of(name, column) for name, column in columns.items()])


def table_schema(columns: Mapping[str, DataType]) -> Schema:
    """The schema of a table with these columns."""
    schema = Schema.new_builder()
    for name, column in columns.items():
        schema.column(name, column)
    return schema.build()


def _type_of(name: str, column: DataType) -> TypeInformation:
    if column == DataTypes.STRING():
        return Types.STRING()
    if column == DataTypes.BIGINT():
        return Types.LONG()
    if column == DataTypes.BYTES():
        return Types.PRIMITIVE_ARRAY(Types.BYTE())
    message = f"column {name}: the Kinesis source gives STRING, BIGINT and BYTES, not {column}"
    raise TypeError(message)


class _Metrics:
    """Counts as metrics of the operator; per shard, how far behind it is."""

    def __init__(self, group: MetricGroup) -> None:
        self._group = group.add_group(PUBLISHED).add_group("kinesis")
        self._counters = {name: self._group.counter(name) for name in SOURCE_COUNTERS}

    def count(self, name: str, number: int = 1) -> None:
        self._counters[name].inc(number)

    def watch(self, shard_id: str, lag_ms: Callable[[], int]) -> None:
        self._group.add_group("shard", shard_id).gauge("millisBehindLatest", lag_ms)


class ReadShards(KeyedProcessFunction):
    """Rows from the shards of the slots that a subtask owns; one key is one slot.

    Args:
        config: The stream.
        read_records: What the job makes of records.
        keys: The key of each slot.
        subtasks: How many subtasks there are; in thread mode PyFlink's context does not tell.
    """

    def __init__(self, config: KinesisConfig, read_records: ReadRecords, keys: list[int], subtasks: int) -> None:
        self._config = config
        self._read_records = read_records
        self._subtasks = subtasks
        self._slots = {key: slot for slot, key in enumerate(keys)}

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first tick."""
        self._state: ValueState = runtime_context.get_state(ValueStateDescriptor("shards", Types.STRING()))
        self._armed: dict[int, int] = {}  # when the next timer of each slot is due
        self._read_records.open()
        self._subtask = Subtask(
            self._config,
            self._read_records,
            KinesisClient(self._config, POLLS_AT_A_TIME),
            _Metrics(runtime_context.get_metrics_group()),
            _now_ms,
            subtasks=self._subtasks,
        )

    def close(self) -> None:
        """Stop polling."""
        if hasattr(self, "_subtask"):
            self._subtask.close()

    def process_element(self, value: int, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """A tick of a slot: the first one begins it, later ones find its timer running."""
        slot = self._slots[ctx.get_current_key()]
        if slot not in self._armed:
            yield from self._turn(slot, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """The next turn of a slot."""
        slot = self._slots[ctx.get_current_key()]
        # One that was restored is not waited for, and may come besides.
        if self._armed.get(slot, timestamp) == timestamp:
            yield from self._turn(slot, ctx)

    def _turn(self, slot: int, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        remembered = self._state.value()
        if not self._subtask.knows(slot):
            self._subtask.give(slot, read_state(remembered))
        for row in self._subtask.turn(slot):
            yield Row(*row)
        state = write_state(self._subtask.state(slot))
        if state != remembered:
            self._state.update(state)
        self._armed[slot] = self._subtask.next_turn_ms(slot)
        ctx.timer_service().register_processing_time_timer(self._armed[slot])


def _now_ms() -> int:
    return time_ns() // 1_000_000
