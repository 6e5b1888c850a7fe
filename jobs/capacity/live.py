"""The capacity job on live streams: from Kinesis to a queue. The graph is the one of a replay; only the ends differ."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from time import time_ns
from typing import Any

from pyflink.common import Row
from pyflink.table import Table
from pyflink.table.expressions import col
from pyflink.table.types import DataType

from connectors.actions import decode
from connectors.kinesis.aws_source import aws_kinesis_table
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.positions import OLDEST, parse_start
from connectors.kinesis.records import Gap, ReadBatch, ReadRecords, ShardBatch
from connectors.kinesis.source import kinesis_table
from connectors.sqs.fifo import group_id
from connectors.sqs.outbox import Message
from connectors.sqs.sink import Destination, send_to_queue
from jobs.capacity.decoded_stream import DECODED_COLUMNS, decoded_stream
from jobs.capacity.job import build
from jobs.capacity.keep import Keep
from jobs.capacity.lane import LaneRow
from jobs.capacity.live_rules import arriving_rules
from jobs.capacity.operators import fast_path, lane_settings
from jobs.capacity.outcomes import OutcomeKind
from jobs.capacity.rules import uses_rules
from jobs.capacity.shard import read_batch
from jobs.runtime import Environment
from jobs.settings import KinesisReader, KinesisSettings, Settings

JOB_NAME = "headroom capacity"
_RULES_POLL_MS = 1_000


def missing_settings(settings: Settings) -> list[str]:
    """What a live run cannot do without, as sentences that name the setting."""
    missing = []
    if settings.kinesis.stream is None:
        missing.append("kinesis.stream: missing; a live run reads a stream")
    if settings.sqs.queue_url is None and not settings.shadow:
        missing.append("sqs.queue_url: missing; give the queue for suspensions, or shadow = true to send none")
    return missing


def define(environment: Environment, settings: Settings, keep_in: Path | None = None) -> None:
    """Define the job from its stream to its queue, for whoever executes it.

    Args:
        environment: Where to build.
        settings: All settings; see `missing_settings`.
        keep_in: The directory for what is found; None for the log.
    """
    decide_and_send(environment, kinesis_source(environment, settings), settings, keep_in)


def kinesis_source(environment: Environment, settings: Settings) -> Table:
    """The decoded stream that the settings name.

    Raises:
        KinesisError: It is to be read by AWS's source, and there is no jar or no stream.
    """
    return changes_table(environment, settings, ReadCosts(settings), DECODED_COLUMNS)


def changes_table(
    environment: Environment, settings: Settings, read_records: ReadRecords, columns: Mapping[str, DataType]
) -> Table:
    """The rows that a job makes of the stream of changes that the settings name.

    Raises:
        KinesisError: It is to be read by AWS's source, and there is no jar or no stream.
    """
    kinesis = settings.kinesis
    config = kinesis_config(kinesis, settings.window.out_of_orderness_ms, time_ns() // 1_000_000)
    ends = environment.streams, environment.tables, config, read_records, columns
    if kinesis.reader is KinesisReader.PYTHON:
        return kinesis_table(*ends, subtasks=kinesis.subtasks)
    return aws_kinesis_table(*ends, Path(kinesis.jar) if kinesis.jar else None)


def decide_and_send(environment: Environment, decoded: Table, settings: Settings, keep_in: Path | None) -> None:
    """Let the job decide on a decoded stream, send what it decides, and keep what it tells."""
    tables = environment.tables
    rules = arriving_rules(environment, settings, rules_config(settings))
    outcomes = build(environment, decoded_stream(environment, decoded), settings, rules)
    is_action = col("kind").in_(OutcomeKind.SUSPENDED.value, OutcomeKind.EXTENDED.value)
    sqs = settings.sqs
    # The graph is the same in shadow: state that was kept in one is found in the other.
    is_closed = settings.shadow and not uses_rules(settings)
    destination = Destination(sqs.queue_url or "", sqs.region, sqs.endpoint_url, is_closed=is_closed)
    sent = send_to_queue(tables.to_data_stream(outcomes.filter(is_action)), destination, as_message, uid="outbox")
    told = outcomes.union_all(tables.from_data_stream(sent))
    tables.to_data_stream(told).process(Keep(keep_in, settings)).set_parallelism(1).name("keep").uid("keep")


def as_message(outcome: Row) -> Message:
    """The message of an outcome that is an action; the group is the key acted on."""
    body = outcome[1]
    action = decode(body.encode())
    return Message(group_id(f"{action.table}:{action.partition_key}"), action.action_id, body, action.not_after_ms)


def kinesis_config(settings: KinesisSettings, out_of_orderness_ms: int, now_ms: int) -> KinesisConfig:
    """How the source reads what the settings say."""
    return KinesisConfig(
        stream=settings.stream or "",
        region=settings.region,
        endpoint_url=settings.endpoint_url,
        start=parse_start(settings.initial_position, now_ms) or OLDEST,
        poll_interval_ms=settings.poll_interval_ms,
        discovery_interval_ms=settings.discovery_interval_ms,
        margin_ms=settings.margin_ms,
        max_drift_ms=settings.max_drift_ms,
        out_of_orderness_ms=out_of_orderness_ms,
    )


def rules_config(settings: Settings) -> KinesisConfig:
    """How a stream of rules is read: all that it holds, for what is known already is passed over."""
    kinesis = settings.kinesis
    return KinesisConfig(settings.rules.stream or "", kinesis.region, kinesis.endpoint_url, OLDEST, _RULES_POLL_MS)


class ReadCosts:
    """Makes rows of a decoded stream from what a shard brings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self) -> None:
        """Prepare the decoder."""
        self._fast_path = fast_path(self._settings)
        self._lane_settings = lane_settings(self._settings)

    def read(self, batch: ShardBatch) -> ReadBatch:
        """The sums of each step and a report."""
        return read_batch(batch, self._fast_path, self._lane_settings)

    def mark(self, low_water_ms: int) -> tuple[Any, ...]:
        """A row that says nothing but the time."""
        return LaneRow(None, None, None, low_water_ms, 0, 0, low_water_ms, None)

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[tuple[Any, ...]]:
        """Nothing: the source counts and logs what the stream dropped, and no suspension depends on it."""
        return ()
