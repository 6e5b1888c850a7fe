"""The capacity job on Managed Service for Apache Flink. I/O."""

from collections.abc import Sequence

from pyflink.table import Table

from connectors.recordings.files import RecordingFile
from jobs.capacity.job import build
from jobs.capacity.live import JOB_NAME, define, missing_settings
from jobs.capacity.recorded_stream import recorded_stream
from jobs.managed import start
from jobs.recorded.lanes import plan_lanes
from jobs.runtime import Environment
from jobs.settings import Settings


def main() -> None:
    """Start the job that the application's properties ask for."""
    start(JOB_NAME, missing_settings, define, _outcomes)


def _outcomes(environment: Environment, files: Sequence[RecordingFile], settings: Settings) -> Table:
    lanes = plan_lanes(files, environment.streams.get_parallelism())
    return build(environment, recorded_stream(environment, lanes, settings), settings)
