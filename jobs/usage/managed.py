"""The usage job on Managed Service for Apache Flink. I/O."""

import tempfile
from collections.abc import Iterator, Sequence

from pyflink.table import Table

from connectors.recordings.files import RecordingFile
from jobs.managed import start
from jobs.recorded.lanes import plan_lanes
from jobs.runtime import Environment
from jobs.settings import Settings, UsageSink
from jobs.usage import live
from jobs.usage.job import build, recorded_source


def main() -> None:
    """Start the job that the application's properties ask for."""
    start(live.JOB_NAME, _missing_settings, live.define, _outcomes)


def _missing_settings(settings: Settings) -> list[str]:
    return [*live.missing_settings(settings), *_unkept(settings)]


def _unkept(settings: Settings) -> Iterator[str]:
    """A ledger in a directory of a machine that goes away with the job."""
    ledger = settings.usage.ledger
    if settings.usage.sink is UsageSink.PARQUET and not ledger.startswith("s3://"):
        yield f"usage.ledger: {ledger} is a directory; on the managed service give s3://bucket/prefix"


def _outcomes(environment: Environment, files: Sequence[RecordingFile], settings: Settings) -> Table:
    # Written by the job after this has returned, and gone with the temporary directory that the check makes.
    here = {"ledger": tempfile.mkdtemp(prefix="headroom-usage-"), "sink": UsageSink.PARQUET}
    settings = settings.model_copy(update={"usage": settings.usage.model_copy(update=here)})
    lanes = plan_lanes(files, environment.streams.get_parallelism())
    return build(environment, recorded_source(environment, lanes, settings), settings)
