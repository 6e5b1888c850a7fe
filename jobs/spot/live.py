"""The Spot job on live streams: from Kinesis to a queue. The graph is the one of a replay; only the ends differ."""

from collections.abc import Iterable
from pathlib import Path
from time import time_ns

from pyflink.common import Row
from pyflink.table import Table
from pyflink.table.expressions import col

from connectors.kinesis.records import Gap, ReadBatch, ShardBatch
from connectors.kinesis.records import Row as KinesisRow
from connectors.kinesis.source import kinesis_table
from connectors.spot_action_messages import decode
from connectors.spot_actions import ReplaceInstance
from connectors.sqs.fifo import group_id
from connectors.sqs.outbox import Message
from connectors.sqs.sink import Destination, send_to_queue
from jobs.capacity.live import kinesis_config, missing_settings
from jobs.runtime import Environment
from jobs.settings import Settings
from jobs.spot.job import build
from jobs.spot.keep import Keep
from jobs.spot.operators import ROUTED_COLUMNS
from jobs.spot.outcomes import OutcomeKind
from jobs.spot.shard import mark_row, read_batch

__all__ = ["JOB_NAME", "ReadTold", "as_message", "define", "missing_settings"]

JOB_NAME = "headroom spot"


def define(environment: Environment, settings: Settings, keep_in: Path | None = None) -> None:
    """Define the job from its stream to its queue, for whoever executes it.

    Args:
        environment: Where to build.
        settings: All settings; see `missing_settings`.
        keep_in: The directory for what is found; None for the log.
    """
    tables = environment.tables
    told = outcomes = build(environment, _source(environment, settings), settings)
    if settings.sqs.queue_url is not None and not settings.shadow:
        actions = tables.to_data_stream(outcomes.filter(col("kind") == OutcomeKind.ACTION.value))
        destination = Destination(settings.sqs.queue_url, settings.sqs.region, settings.sqs.endpoint_url)
        sent = send_to_queue(actions, destination, as_message, uid="outbox")
        told = outcomes.union_all(tables.from_data_stream(sent))
    tables.to_data_stream(told).process(Keep(keep_in, settings)).set_parallelism(1).name("keep").uid("keep")


def as_message(outcome: Row) -> Message:
    """The message of an outcome that is an action; the group is the instance or the pool acted on."""
    body = outcome[1]
    action = decode(body.encode())
    where = f"{action.account}:{action.region}"
    about = action.instance_id if isinstance(action, ReplaceInstance) else f"{action.instance_type}:{action.zone}"
    return Message(group_id(f"{where}:{about}"), action.action_id, body, action.not_after_ms)


def _source(environment: Environment, settings: Settings) -> Table:
    out_of_orderness_ms = settings.spot.market.out_of_orderness_ms
    config = kinesis_config(settings.kinesis, out_of_orderness_ms, time_ns() // 1_000_000)
    return kinesis_table(
        environment.streams,
        environment.tables,
        config,
        ReadTold(settings),
        ROUTED_COLUMNS,
        subtasks=settings.kinesis.subtasks,
    )


class ReadTold:
    """Makes rows of a routed stream from what a shard brings."""

    def __init__(self, settings: Settings) -> None:
        self._future_tolerance_ms = settings.decode.future_tolerance_ms

    def open(self) -> None:
        """Nothing to prepare."""

    def read(self, batch: ShardBatch) -> ReadBatch:
        """What each subject is told, and reports."""
        return read_batch(batch, self._future_tolerance_ms)

    def mark(self, low_water_ms: int) -> KinesisRow:
        """A row that says nothing but the time."""
        return mark_row(low_water_ms)

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[KinesisRow]:
        """Nothing: the source counts and logs what the stream dropped. Actions so old would be void."""
        return ()
