"""AWS's own Kinesis source, `KinesisStreamsSource`, for whoever has its jar.

A thin wrapper of the table connector `kinesis` with its polling reader, raw bytes and the metadata that it gives: time
of arrival, shard, sequence number. What it guarantees is what AWS's source does: each record exactly once into state
with checkpoints on, and the order of a partition key over splits and merges. Beside the Python source it does not tell
of a checkpoint that is older than the stream's retention, and not how far a shard is behind: a shard that has brought
nothing for the discovery interval is taken to have nothing, so one that is held up for longer can find its records
late. Records are made rows one by one in one subtask.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import Final

import msgspec
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ValueState, ValueStateDescriptor
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table, TableDescriptor
from pyflink.table.types import DataType

from connectors.kinesis.client import KinesisClient, KinesisError
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.low_water import Progress
from connectors.kinesis.positions import Position, PositionKind
from connectors.kinesis.records import NO_TIME_MS, KinesisRecord, ReadRecords, ShardBatch
from connectors.kinesis.source import row_type, table_schema

_MISSING: Final = (
    'the reader "aws" needs AWS\'s connector for Flink 2 as a jar: give kinesis.jar the file '
    "flink-sql-connector-aws-kinesis-streams (version 6 or above; on Maven Central, or built from the sources of "
    'apache/flink-connector-aws), or use kinesis.reader = "python", which needs none'
)


def aws_kinesis_table(
    streams: StreamExecutionEnvironment,
    tables: StreamTableEnvironment,
    config: KinesisConfig,
    read_records: ReadRecords,
    columns: Mapping[str, DataType],
    jar: Path | None,
) -> Table:
    """The same rows as `connectors.kinesis.source.kinesis_table`, from AWS's source.

    Raises:
        KinesisError: There is no such jar, or the stream cannot be found.
    """
    if jar is None or not jar.is_file():
        message = _MISSING if jar is None else f"{jar}: no such file; {_MISSING}"
        raise KinesisError(message)
    streams.add_jars(jar.resolve().as_uri())
    records = tables.from_descriptor(_descriptor(config, KinesisClient(config).arn()))
    read = (
        tables.to_data_stream(records)
        .key_by(lambda _: 0, key_type=Types.INT())
        .process(ReadOneByOne(config, read_records), output_type=row_type(columns))
        .name("kinesis")
        .uid("kinesis-aws")
        .set_parallelism(1)
    )
    return tables.from_data_stream(read, table_schema(columns))


def _descriptor(config: KinesisConfig, arn: str) -> TableDescriptor:
    schema = Schema.new_builder().column("data", DataTypes.BYTES())
    schema = schema.column_by_metadata("arrived_at", DataTypes.TIMESTAMP_LTZ(3), "timestamp")
    schema = schema.column_by_metadata("sequence_number", DataTypes.STRING(), "sequence-number")
    schema = schema.column_by_metadata("shard_id", DataTypes.STRING(), "shard-id")
    options = {
        "stream.arn": arn,
        "aws.region": config.region or arn.split(":")[3],
        "source.reader.empty-records-fetch-interval": f"{config.poll_interval_ms} ms",
        "source.shard.discovery.interval": f"{config.discovery_interval_ms} ms",
        **_start_options(config.start),
    }
    if config.endpoint_url:
        options["aws.endpoint"] = config.endpoint_url
    descriptor = TableDescriptor.for_connector("kinesis").schema(schema.build()).format("raw")
    for name, value in options.items():
        descriptor = descriptor.option(name, value)
    return descriptor.build()


def _start_options(start: Position) -> dict[str, str]:
    if start.kind is not PositionKind.AT_TIMESTAMP:
        return {"source.init.position": start.kind.value}
    at = datetime.fromtimestamp(start.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {"source.init.position": start.kind.value, "source.init.timestamp": at}


class _Shards(msgspec.Struct):
    """What is kept: the progress of each shard, and the low-water mark given out."""

    progress: dict[str, Progress] = {}
    low_water_ms: int = NO_TIME_MS


class ReadOneByOne(KeyedProcessFunction):
    """Rows from records as they come, and marks from timers; the positions are AWS's source's."""

    def __init__(self, config: KinesisConfig, read_records: ReadRecords) -> None:
        self._config = config
        self._read_records = read_records

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first record."""
        self._state: ValueState = runtime_context.get_state(ValueStateDescriptor("shards", Types.STRING()))
        self._shards: _Shards | None = None
        self._last_come_ms: dict[str, int] = {}
        self._timer_ms = 0
        self._read_records.open()

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """The rows of one record."""
        data, arrived_at, sequence_number, shard_id = value
        record = KinesisRecord(data, sequence_number, arrived_at.seconds + arrived_at.nanos / 1e9)
        shards = self._restored()
        before = shards.progress.get(shard_id, Progress())
        low_water_ms = shards.low_water_ms
        read = self._read_records.read(ShardBatch(shard_id, [record], before.newest_ms, low_water_ms, low_water_ms))
        for row in read.rows:
            yield Row(*row)
        out_of_orderness_ms = self._config.out_of_orderness_ms
        shards.progress[shard_id] = before.with_records(read.progress_ms, record.arrival_time_ms, out_of_orderness_ms)
        now_ms = time_ns() // 1_000_000
        self._last_come_ms[shard_id] = now_ms
        if not self._timer_ms:
            self._set_timer(now_ms, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """A mark, where time has gone on; what it promises is kept with it."""
        if self._timer_ms not in (0, timestamp):
            return
        now_ms = time_ns() // 1_000_000
        shards = self._restored()
        shards.progress = {shard_id: self._passed(shard_id, now_ms) for shard_id in shards.progress}
        low_water_ms = min((each.low_water_ms for each in shards.progress.values()), default=NO_TIME_MS)
        if low_water_ms > shards.low_water_ms:
            shards.low_water_ms = low_water_ms
            yield Row(*self._read_records.mark(low_water_ms))
        self._state.update(msgspec.json.encode(shards).decode())
        self._set_timer(now_ms, ctx)

    def _restored(self) -> _Shards:
        if self._shards is None:
            text = self._state.value()
            self._shards = _Shards() if text is None else msgspec.json.decode(text, type=_Shards)
        return self._shards

    def _passed(self, shard_id: str, now_ms: int) -> Progress:
        """The progress of a shard now; one restored counts as if a record had come at the restart."""
        config, progress = self._config, self._restored().progress[shard_id]
        if now_ms < self._last_come_ms.setdefault(shard_id, now_ms) + config.discovery_interval_ms:
            return progress
        return progress.with_cursor(now_ms, progress.delay_ms, config.margin_ms, config.out_of_orderness_ms)

    def _set_timer(self, now_ms: int, ctx: KeyedProcessFunction.Context) -> None:
        self._timer_ms = now_ms + self._config.poll_interval_ms
        ctx.timer_service().register_processing_time_timer(self._timer_ms)
