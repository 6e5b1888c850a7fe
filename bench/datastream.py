"""A PyFlink DataStream job as PyFlink's documentation shows it: every record and every timer in a Python function.

Two images are taken to weigh half of `SizeBytes` each, as the SQL job does.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import flink
from bench.crossings import OUT_OF_ORDERNESS_MS, SCHEMAS, STEP_MS, WINDOW_MS, crossing, line

flink.prepare()

from pyflink.common import Configuration, Duration, Types, WatermarkStrategy  # noqa: E402 - after flink.prepare
from pyflink.common.watermark_strategy import TimestampAssigner  # noqa: E402 - as above
from pyflink.datastream import (  # noqa: E402 - as above
    KeyedProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.file_system import FileSource, StreamFormat  # noqa: E402 - as above
from pyflink.datastream.state import MapState, MapStateDescriptor  # noqa: E402 - as above

_LATEST_IN_MILLISECONDS: Final = 10**14
_WRITE_UNIT_BYTES: Final = 1024

_COST_TYPE: Final = Types.TUPLE([Types.STRING(), Types.STRING(), Types.LONG(), Types.LONG()])
_WCU_BY_STEP: Final = MapStateDescriptor("wcu_by_step", Types.LONG(), Types.LONG())

Cost = tuple[str, str, int, int]
"""Table, partition key, time in milliseconds and write capacity units of a change."""


def cost(text: str) -> Cost:
    """What a record says."""
    change = json.loads(text)
    body = change["dynamodb"]
    table = change["tableName"]
    schema = SCHEMAS.get(table)
    name = schema.partition_key if schema else next(iter(body["Keys"]))
    at_ms = body["ApproximateCreationDateTime"]
    images = 2 if change["eventName"] == "MODIFY" else 1
    wcu = 0 if change["userIdentity"] else -(-(body["SizeBytes"] // images) // _WRITE_UNIT_BYTES)
    return table, body["Keys"][name]["S"], at_ms // 1000 if at_ms > _LATEST_IN_MILLISECONDS else at_ms, wcu


class _WrittenAt(TimestampAssigner):
    def extract_timestamp(self, value: Cost, record_timestamp: int) -> int:
        return value[2]


class _FindCrossings(KeyedProcessFunction):
    """Sums up what a key consumes in each step, and looks through a window's steps when it is over."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self._wcu_by_step: MapState = runtime_context.get_map_state(_WCU_BY_STEP)

    def process_element(self, value: Cost, ctx: KeyedProcessFunction.Context) -> None:
        _, _, at_ms, wcu = value
        step = at_ms // STEP_MS
        self._wcu_by_step.put(step, (self._wcu_by_step.get(step) or 0) + wcu)
        ctx.timer_service().register_event_time_timer(at_ms - at_ms % WINDOW_MS + WINDOW_MS - 1)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        window = {step: wcu for step, wcu in self._wcu_by_step.items() if step * STEP_MS <= timestamp}
        for step in window:
            self._wcu_by_step.remove(step)
        table, partition_key = ctx.get_current_key()
        found = crossing(table, partition_key, window)
        if found is not None:
            yield line(found)


def main(recording: Path) -> None:
    """Print the crossings in a recording."""
    configuration = Configuration()
    configuration.set_string("parallelism.default", str(flink.PARALLELISM))
    configuration.set_string("python.execution-mode", "process")
    configuration.set_string("python.executable", sys.executable)
    environment = StreamExecutionEnvironment.get_execution_environment(configuration)
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), str(recording.resolve())).build()
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_millis(OUT_OF_ORDERNESS_MS))
    over = (
        environment.from_source(source, WatermarkStrategy.no_watermarks(), "recording")
        .map(cost, output_type=_COST_TYPE)
        .assign_timestamps_and_watermarks(watermarks.with_timestamp_assigner(_WrittenAt()))
        .key_by(lambda each: (each[0], each[1]), key_type=Types.TUPLE([Types.STRING(), Types.STRING()]))
        .process(_FindCrossings(), output_type=Types.STRING())
    )
    with over.execute_and_collect("bench") as lines:
        for text in lines:
            sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # PyFlink's threads outlive an ordinary exit.
    os._exit(0)
