"""The start of a job on Managed Service for Apache Flink: settings from property groups, ends chosen by them. I/O."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyflink.table import DataTypes, Schema, Table, TableDescriptor
from pyflink.table.expressions import col, concat

from connectors.recordings.files import RecordingError, RecordingFile, find_recordings
from jobs.application_properties import CHECK_GROUP, application_properties
from jobs.execution import ExecutionMode
from jobs.runtime import Environment, managed_environment
from jobs.settings import Settings
from jobs.settings.properties import PropertiesError, from_groups

DefineLive = Callable[[Environment, Settings], Any]
"""Defines a job from its stream to its ends."""

OutcomesOfRecording = Callable[[Environment, Sequence[RecordingFile], Settings], Table]
"""The outcomes of a job on a recording, as rows of kind and line."""


def start(
    name: str,
    missing_settings: Callable[[Settings], list[str]],
    define: DefineLive,
    outcomes: OutcomesOfRecording,
) -> None:
    """Start the job that the application's properties ask for; where they are wrong, say all that is, and exit.

    Args:
        name: The job's, as Flink shows it.
        missing_settings: What a live run cannot do without, as sentences.
        define: The live job.
        outcomes: The job on a recording, which `headroom package check` runs.
    """
    try:
        groups = application_properties()
        settings = from_groups(groups)
        if CHECK_GROUP in groups:
            _run_on_recording(groups[CHECK_GROUP], settings, outcomes)
            return
        if missing := missing_settings(settings):
            raise PropertiesError(missing)
        environment = managed_environment(ExecutionMode.PROCESS)
        if problems := beyond_parallelism(settings, environment.streams.get_parallelism()):
            raise PropertiesError(problems)
    except (PropertiesError, RecordingError) as error:
        # One line each in the application's log, which is where an operator looks.
        sys.exit(str(error))
    define(environment, settings)
    environment.streams.execute(name)


def beyond_parallelism(settings: Settings, parallelism: int) -> list[str]:
    """What takes more slots than an application of this parallelism has, as sentences; it would wait for them forever.

    Source: Managed Flink has one slot for each unit of parallelism,
    https://docs.aws.amazon.com/managed-flink/latest/java/how-scaling.html
    """
    subtasks = settings.kinesis.subtasks
    if subtasks <= parallelism:
        return []
    return [f"kinesis.subtasks: {subtasks} is above the application's parallelism, {parallelism}"]


def _run_on_recording(ends: Mapping[str, str], settings: Settings, outcomes: OutcomesOfRecording) -> None:
    missing = [key for key in ("recording", "out") if not ends.get(key)]
    if missing:
        raise PropertiesError([f"group {CHECK_GROUP}, key {key}: missing" for key in missing])
    files = find_recordings([Path(ends["recording"])])
    environment = managed_environment(ExecutionMode.PROCESS)
    told = outcomes(environment, files, settings).select(concat(col("kind"), " ", col("line")).alias("line"))
    lines = TableDescriptor.for_connector("filesystem").format("raw").option("path", ends["out"])
    schema = Schema.new_builder().column("line", DataTypes.STRING()).build()
    environment.tables.create_temporary_table("outcome_lines", lines.schema(schema).build())
    told.execute_insert("outcome_lines").wait()
