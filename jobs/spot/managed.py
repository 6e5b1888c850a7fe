"""The Spot job on Managed Service for Apache Flink. I/O."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyflink.table import Table

from connectors.recordings.files import RecordingFile
from jobs.managed import start
from jobs.runtime import Environment
from jobs.settings import Settings
from jobs.spot.job import build, recorded_source
from jobs.spot.live import JOB_NAME, define, missing_settings
from jobs.spot.timeline import Timeline


def main() -> None:
    """Start the job that the application's properties ask for."""
    start(JOB_NAME, missing_settings, define, _outcomes)


def _outcomes(environment: Environment, files: Sequence[RecordingFile], settings: Settings) -> Table:
    # Read by the job after this has returned, and gone with the temporary directory that the check makes.
    timeline = Timeline(Path(tempfile.mkdtemp(prefix="headroom-spot-")) / "timeline.sqlite")
    for file in files:
        for _ in timeline.read(file):
            pass  # a check does not tell of malformed records
    row_count = timeline.complete()
    return build(environment, recorded_source(environment, timeline.path, row_count), settings)
