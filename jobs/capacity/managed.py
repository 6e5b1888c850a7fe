"""The capacity job on Managed Service for Apache Flink: settings from property groups, ends chosen by them. I/O."""

import sys
from collections.abc import Mapping
from pathlib import Path

from pyflink.table import DataTypes, Schema, TableDescriptor
from pyflink.table.expressions import col, concat

from connectors.recordings.files import RecordingError, find_recordings
from jobs.application_properties import CHECK_GROUP, application_properties
from jobs.capacity.job import build
from jobs.capacity.live import JOB_NAME, define, missing_settings
from jobs.capacity.recorded_stream import recorded_stream
from jobs.execution import ExecutionMode
from jobs.recorded.lanes import plan_lanes
from jobs.runtime import managed_environment
from jobs.settings import Settings
from jobs.settings.properties import PropertiesError, from_groups


def main() -> None:
    """Build the job that the application's properties ask for, and start it."""
    try:
        groups = application_properties()
        settings = from_groups(groups)
        if CHECK_GROUP in groups:
            run_on_recording(groups[CHECK_GROUP], settings)
        else:
            run_on_streams(settings)
    except (PropertiesError, RecordingError) as error:
        # One line each in the application's log, which is where an operator looks.
        sys.exit(str(error))


def run_on_streams(settings: Settings) -> None:
    """Start the job from its stream to its queue.

    Raises:
        PropertiesError: The settings do not name them.
    """
    if missing := missing_settings(settings):
        raise PropertiesError(missing)
    environment = managed_environment(ExecutionMode.PROCESS)
    define(environment, settings)
    environment.streams.execute(JOB_NAME)


def run_on_recording(ends: Mapping[str, str], settings: Settings) -> None:
    """Run the job over a recording to its end; `headroom package check` looks at what it wrote.

    Raises:
        PropertiesError: The ends are not named.
        RecordingError: There is no such recording.
    """
    missing = [key for key in ("recording", "out") if not ends.get(key)]
    if missing:
        raise PropertiesError([f"group {CHECK_GROUP}, key {key}: missing" for key in missing])
    files = find_recordings([Path(ends["recording"])])
    environment = managed_environment(ExecutionMode.PROCESS)
    lanes = plan_lanes(files, environment.streams.get_parallelism())
    outcomes = build(environment, recorded_stream(environment, lanes, settings), settings)
    lines = TableDescriptor.for_connector("filesystem").format("raw").option("path", ends["out"])
    schema = Schema.new_builder().column("line", DataTypes.STRING()).build()
    environment.tables.create_temporary_table("outcome_lines", lines.schema(schema).build())
    told = outcomes.select(concat(col("kind"), " ", col("line")).alias("line"))
    told.execute_insert("outcome_lines").wait()
