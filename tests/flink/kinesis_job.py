"""A job that adds up a test stream's events in keyed state, run as a process of its own so that it can be killed.

Takes its arguments as JSON; on its input "savepoint DIRECTORY" stops it with a savepoint and prints where that is.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext
from pyflink.datastream.state import ValueState, ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes

from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.positions import OLDEST
from connectors.kinesis.source import kinesis_table
from jobs.execution import ExecutionMode
from jobs.runtime import local_environment
from tests.kinesis_streams import REGION, STREAM, ReadEvents

COLUMNS = {"n": DataTypes.BIGINT(), "at_ms": DataTypes.BIGINT(), "low_water_ms": DataTypes.BIGINT()}
COLUMNS |= {"kind": DataTypes.STRING()}
KEYS = 8


class AddUp(KeyedProcessFunction):
    """How many events came to a key, and the sum of their numbers, appended to a file at each."""

    def __init__(self, out: str) -> None:
        self._out = out

    def open(self, runtime_context: RuntimeContext) -> None:
        descriptor = ValueStateDescriptor("sums", Types.TUPLE([Types.LONG(), Types.LONG()]))
        self._sums: ValueState = runtime_context.get_state(descriptor)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator[str]:
        count, total = self._sums.value() or (0, 0)
        count, total = count + 1, total + value[0]
        self._sums.update((count, total))
        with Path(self._out).open("a") as file:
            file.write(f"{value[0] % KEYS} {count} {total} {value[3]}\n")
        return iter(())


def main(arguments: dict[str, Any]) -> None:
    environment = local_environment(parallelism=2, execution_mode=ExecutionMode(arguments["mode"]))
    options = {
        "execution.checkpointing.interval": "300 ms",
        "execution.checkpointing.dir": Path(arguments["checkpoints"]).as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": "5",
        "restart-strategy.fixed-delay.delay": "100 ms",
        "python.fn-execution.bundle.time": "50",
    }
    if arguments["restore_from"]:
        options["execution.state-recovery.path"] = Path(arguments["restore_from"]).as_uri()
    configuration = Configuration()
    for name, value in options.items():
        configuration.set_string(name, value)
    environment.streams.configure(configuration)
    # The margin keeps time from going on by the clock while something is killed: what is late here is so by an error.
    config = KinesisConfig(
        STREAM, REGION, arguments["url"], OLDEST, poll_interval_ms=50, discovery_interval_ms=300, margin_ms=3_600_000
    )
    subtasks = arguments["subtasks"]
    rows = kinesis_table(environment.streams, environment.tables, config, ReadEvents(), COLUMNS, subtasks=subtasks)
    events = environment.tables.to_data_stream(rows.where(rows.n >= 0))
    added = events.key_by(lambda row: row[0] % KEYS, key_type=Types.LONG()).process(AddUp(arguments["out"]))
    added.uid("add-up")
    client = environment.streams.execute_async("test")
    sys.stdout.write("running\n")
    sys.stdout.flush()
    for line in sys.stdin:
        kind = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
        directory = Path(line.split()[1]).as_uri()
        sys.stdout.write(f"{client._j_job_client.stopWithSavepoint(False, directory, kind).get()}\n")
        break
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
