"""The usage job on a live stream: from Kinesis to the ledger. Its graph is that of a replay; only the ends differ."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from connectors.kinesis.records import Gap, ReadBatch, ShardBatch
from jobs.capacity.live import changes_table
from jobs.runtime import Environment
from jobs.settings import Settings
from jobs.usage.job import build
from jobs.usage.keep import Keep
from jobs.usage.operators import USAGE_COLUMNS, fact_path, file_layout
from jobs.usage.shard import ShardSettings, mark_row, read_batch
from jobs.usage.store import absolute_location

JOB_NAME = "headroom usage"


def missing_settings(settings: Settings) -> list[str]:
    """What a live run cannot do without, as sentences that name the setting."""
    return [] if settings.kinesis.stream else ["kinesis.stream: missing; a live run reads a stream"]


def define(environment: Environment, settings: Settings, keep_in: Path | None = None) -> None:
    """Define the job from its stream to its ledger, for whoever executes it.

    Args:
        environment: Where to build.
        settings: All settings; see `missing_settings`.
        keep_in: The directory for what is found; None for the log.

    Raises:
        KinesisError: The stream is to be read by AWS's source, and there is no jar or no stream.
    """
    tables = environment.tables
    # The processes of a job have other working directories.
    here = {"ledger": absolute_location(settings.usage.ledger)}
    settings = settings.model_copy(update={"usage": settings.usage.model_copy(update=here)})
    found = changes_table(environment, settings, ReadUsage(settings), USAGE_COLUMNS)
    told = tables.to_data_stream(build(environment, found, settings))
    told.process(Keep(keep_in)).set_parallelism(1).name("keep").uid("keep")


class ReadUsage:
    """Makes rows of the usage job from what a shard brings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self) -> None:
        """Prepare the decoder."""
        settings = self._settings
        self._fact_path = fact_path(settings)
        self._shard_settings = ShardSettings(
            settings.window.out_of_orderness_ms,
            settings.decode.future_tolerance_ms,
            settings.kinesis.margin_ms,
            file_layout(settings.usage),
        )

    def read(self, batch: ShardBatch) -> ReadBatch:
        """Sums of minutes, the events that they are made of, and a report."""
        return read_batch(batch, self._fact_path, self._shard_settings)

    def mark(self, low_water_ms: int) -> tuple[Any, ...]:
        """A row that says nothing but the time."""
        return mark_row(low_water_ms)

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[tuple[Any, ...]]:
        """Nothing: the source counts and logs what the stream dropped; reconciliation with CloudWatch shows it too."""
        return ()
