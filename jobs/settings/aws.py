"""The settings of the streams and queues of a live run. Pure."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from connectors.kinesis.positions import parse_start
from connectors.kinesis.shards import SLOTS
from jobs.settings.durations import HOUR_MS, MINUTE_MS, SECOND_MS
from jobs.settings.section import Conflict, DurationMs, Section, Unit
from jobs.settings.toml_text import shown

StreamName = Annotated[str, Unit("stream name"), Field(min_length=1)]
FilePath = Annotated[str, Unit("path"), Field(min_length=1)]
Url = Annotated[str, Unit("URL"), Field(min_length=1)]
RegionName = Annotated[str, Unit("AWS Region"), Field(min_length=1)]


def url_conflicts(name: str, url: str | None) -> Iterator[Conflict]:
    """An address without a scheme."""
    if url is not None and not url.startswith(("https://", "http://")):
        yield Conflict((name,), f"{shown(url)} does not begin with https:// or http://")


class KinesisReader(StrEnum):
    """What reads a stream."""

    PYTHON = "python"
    AWS = "aws"


class KinesisSettings(Section):
    """The stream that a live run reads."""

    stream: StreamName | None = Field(
        default=None, description="Stream of change records that a live run reads.", examples=["conversations-changes"]
    )
    region: RegionName | None = Field(
        default=None,
        description="Region of the stream; without it that of any AWS client (AWS_REGION).",
        examples=["eu-west-1"],
    )
    endpoint_url: Url | None = Field(
        default=None,
        description="Endpoint in place of AWS's own, for emulators and VPC endpoints.",
        examples=["http://localhost:5000"],
    )
    initial_position: Annotated[str, Unit("word or time")] = Field(
        default="latest",
        min_length=1,
        description='Where reading begins without a checkpoint: "latest", "trim_horizon" (the oldest that is there), '
        'or a time, such as "2026-11-20T10:00:00+00:00".',
    )
    reader: Annotated[KinesisReader, Unit("word"), Field(strict=False)] = Field(
        default=KinesisReader.PYTHON,
        description="python: polls shards in Python and needs nothing more; aws: AWS's source for Flink, from jar.",
    )
    jar: FilePath | None = Field(
        default=None,
        description='Jar with AWS\'s source for Flink and all it needs, for reader = "aws".',
        examples=["flink-sql-connector-aws-kinesis-streams.jar"],
    )
    poll_interval_ms: DurationMs = Field(
        default=250,
        ge=50,
        le=MINUTE_MS,
        description="How often a shard is asked that had nothing more to give; Kinesis answers five times a second, "
        "all readers of a shard together.",
    )
    margin_ms: DurationMs = Field(
        default=SECOND_MS,
        ge=0,
        le=HOUR_MS,
        description="How long a shard that has nothing more to give is waited for, beside window.out_of_orderness, "
        "before its windows close.",
    )
    subtasks: Annotated[int, Unit("subtasks"), Field(ge=1, le=SLOTS)] = Field(
        default=1,
        description='How many subtasks read the stream with reader = "python", each its part of the hash keys; one '
        "keeps all shards in one order. On Managed Flink at most the application's parallelism.",
    )
    discovery_interval_ms: DurationMs = Field(
        default=10 * SECOND_MS,
        ge=SECOND_MS,
        le=HOUR_MS,
        description='How often reader = "python" looks for new shards; those of a split or merge are found at once.',
    )
    max_drift_ms: DurationMs = Field(
        default=30 * SECOND_MS,
        ge=SECOND_MS,
        le=HOUR_MS,
        description="How far a shard may be ahead in event time of the slowest shard of its subtask.",
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """A position that is none, an endpoint that is no address, or a reader without its jar."""
        position = values.get("initial_position")
        if position is not None and parse_start(position, now_ms=1) is None:
            text = f'{shown(position)} is neither "latest", "trim_horizon" nor a time'
            yield Conflict(("initial_position",), text)
        yield from url_conflicts("endpoint_url", values.get("endpoint_url"))
        if values.get("reader") == KinesisReader.AWS and values.get("jar") is None:
            yield Conflict(("jar",), 'missing; reader = "aws" takes AWS\'s source for Flink from a jar')


class SqsSettings(Section):
    """Where suspensions are sent."""

    queue_url: Url | None = Field(
        default=None,
        description="FIFO queue that a live run sends suspensions to; it may be missing where shadow = true.",
        examples=["https://sqs.eu-west-1.amazonaws.com/123456789012/headroom-actions.fifo"],
    )
    region: RegionName | None = Field(
        default=None,
        description="Region of the queue; without it that of any AWS client (AWS_REGION).",
        examples=["eu-west-1"],
    )
    endpoint_url: Url | None = Field(
        default=None,
        description="Endpoint in place of AWS's own, for emulators and VPC endpoints.",
        examples=["http://localhost:5000"],
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """A queue that is no FIFO queue, or no address."""
        queue_url = values.get("queue_url")
        if queue_url is not None and not queue_url.endswith(".fifo"):
            text = f"{shown(queue_url)} is no FIFO queue, whose name would end in .fifo"
            yield Conflict(("queue_url",), f"{text}; only there the actions of a key stay in order")
        for name in ("queue_url", "endpoint_url"):
            yield from url_conflicts(name, values.get(name))
