"""How a job runs, in words that do not need Flink to be loaded."""

from enum import StrEnum


class ExecutionMode(StrEnum):
    """Where Flink runs Python functions."""

    THREAD = "thread"  # inside the JVM: quick to start, but all subtasks share one interpreter
    PROCESS = "process"  # in a process for each subtask: uses every core, and a crash stays outside the JVM


class JobFailedError(Exception):
    """A job that Flink gave up; the message is the innermost cause."""
