"""AWS's own Kinesis source, `KinesisStreamsSource`, for whoever has its jar.

A thin wrapper of the table connector `kinesis` with its polling reader and raw bytes. What it guarantees is what AWS's
source does: each record exactly once into state with checkpoints on, and the order of a partition key over splits and
merges. Of a record it gives the bytes alone: its table connector lists time of arrival and shard as metadata, and
fails where they are asked for (seen with 6.1-SNAPSHOT on Flink 2.3). So all shards count as one here, and one that is
behind the others by more than the out-of-orderness, as when catching up, has its records late; a checkpoint older than
the stream's retention is not noticed; and time goes on without records when none came for the discovery interval.
Records are made rows one by one in one subtask. Where any of that matters, use the Python source.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns
from typing import Final

import msgspec
from py4j.protocol import Py4JJavaError
from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.state import ValueState, ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table, TableDescriptor
from pyflink.table.types import DataType

from connectors.kinesis.client import KinesisClient, KinesisError
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.low_water import Progress
from connectors.kinesis.positions import Position, PositionKind
from connectors.kinesis.records import NO_TIME_MS, KinesisRecord, ReadRecords, ShardBatch
from connectors.kinesis.source import row_type, table_schema

_QUOTE: Final = "'"
# Its second listing fails where the first has not come back by then.
_LEAST_DISCOVERY_MS: Final = 10_000
_FACTORY: Final = "org.apache.flink.connector.kinesis.table.KinesisDynamicTableFactory"
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

    On the managed service the jar of the package is on the class path of the job already, and `jar` the name of a file
    that is not there.

    Raises:
        KinesisError: There is no such jar, or the stream cannot be found.
    """
    if jar is not None and jar.is_file():
        streams.add_jars(jar.resolve().as_uri())  # for where the job runs
        tables.execute_sql(f"ADD JAR '{str(jar.resolve()).replace(_QUOTE, 2 * _QUOTE)}'")  # for where it is planned
    elif not _is_on_class_path():
        message = _MISSING if jar is None else f"{jar}: no such file; {_MISSING}"
        raise KinesisError(message)
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


def _is_on_class_path() -> bool:
    loader = get_gateway().jvm.java.lang.Thread.currentThread().getContextClassLoader()
    try:
        loader.loadClass(_FACTORY)
    except Py4JJavaError:
        return False
    return True


def _descriptor(config: KinesisConfig, arn: str) -> TableDescriptor:
    schema = Schema.new_builder().column("data", DataTypes.BYTES())
    options = {
        "stream.arn": arn,
        "aws.region": config.region or arn.split(":")[3],
        "source.reader.empty-records-fetch-interval": f"{config.poll_interval_ms} ms",
        "source.shard.discovery.interval": f"{max(config.discovery_interval_ms, _LEAST_DISCOVERY_MS)} ms",
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


class _Kept(msgspec.Struct, frozen=True):
    """What is kept: the progress of the stream, and the low-water mark given out."""

    progress: Progress = Progress()
    low_water_ms: int = NO_TIME_MS


class ReadOneByOne(KeyedProcessFunction):
    """Rows from records as they come, and marks from timers; the positions are AWS's source's."""

    def __init__(self, config: KinesisConfig, read_records: ReadRecords) -> None:
        self._config = config
        self._read_records = read_records

    def open(self, runtime_context: RuntimeContext) -> None:
        """Prepare what a worker needs before its first record."""
        self._state: ValueState = runtime_context.get_state(ValueStateDescriptor("kept", Types.STRING()))
        self._kept: _Kept | None = None
        self._last_came_ms = _now_ms()
        self._timer_ms = 0
        self._read_records.open()

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        """The rows of one record."""
        kept, now_ms = self._restored(), _now_ms()
        record = KinesisRecord(value[0], "", now_ms / 1000)
        batch = ShardBatch(self._config.stream, [record], kept.progress.newest_ms, kept.low_water_ms, kept.low_water_ms)
        read = self._read_records.read(batch)
        for row in read.rows:
            yield Row(*row)
        progress = kept.progress.with_records(read.progress_ms, now_ms, self._config.out_of_orderness_ms)
        self._kept = _Kept(progress, kept.low_water_ms)
        self._last_came_ms = now_ms
        if not self._timer_ms:
            self._set_timer(now_ms, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """A mark, where time has gone on; what it promises is kept with it."""
        if self._timer_ms not in (0, timestamp):
            return
        kept, now_ms = self._restored(), _now_ms()
        progress = kept.progress
        if now_ms > self._last_came_ms + self._config.discovery_interval_ms:
            margin_ms, out_of_orderness_ms = self._config.margin_ms, self._config.out_of_orderness_ms
            progress = progress.with_cursor(now_ms, progress.delay_ms, margin_ms, out_of_orderness_ms)
        if progress.low_water_ms > kept.low_water_ms:
            yield Row(*self._read_records.mark(progress.low_water_ms))
        self._kept = _Kept(progress, progress.low_water_ms)
        self._state.update(msgspec.json.encode(self._kept).decode())
        self._set_timer(now_ms, ctx)

    def _restored(self) -> _Kept:
        if self._kept is None:
            text = self._state.value()
            self._kept = _Kept() if text is None else msgspec.json.decode(text, type=_Kept)
        return self._kept

    def _set_timer(self, now_ms: int, ctx: KeyedProcessFunction.Context) -> None:
        self._timer_ms = now_ms + self._config.poll_interval_ms
        ctx.timer_service().register_processing_time_timer(self._timer_ms)


def _now_ms() -> int:
    return time_ns() // 1_000_000
