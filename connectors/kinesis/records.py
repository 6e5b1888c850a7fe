"""What is read from a shard, and what a job makes of it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import msgspec

NO_TIME_MS = 0
"""The progress of a shard of which nothing is known yet."""

Row = tuple[Any, ...]
"""The columns of a row that a job's reader gives out."""


class KinesisRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as GetRecords gives it, read straight from its JSON.

    Attributes:
        data: The payload, without the base64 that JSON puts around it.
        arrival_time_s: When Kinesis took it, seconds of the epoch; approximate, says AWS.
        sequence_number: Its place in its shard: a whole number as text.
        partition_key: What the producer gave Kinesis to choose the shard by; not the key of a DynamoDB item.
    """

    data: bytes = msgspec.field(name="Data")
    sequence_number: str = msgspec.field(name="SequenceNumber")
    arrival_time_s: float = msgspec.field(name="ApproximateArrivalTimestamp", default=0.0)
    partition_key: str = msgspec.field(name="PartitionKey", default="")

    @property
    def arrival_time_ms(self) -> int:
        """When Kinesis took it, milliseconds of the epoch."""
        return round(self.arrival_time_s * 1000)


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """Records of one shard in their order, and what bounds the times of what is made of them.

    Attributes:
        records: At least one.
        progress_ms: The newest event time in the shard before these records; `NO_TIME_MS` where none is known.
        late_before_ms: Whatever is older than this is late, because it has been promised that nothing older comes.
            Late is also what is behind the shard's own progress by more than the out-of-orderness.
        low_water_ms: What a row made of this batch carries as its low-water mark: no later row of the subtask is older.
        memory: What the reader gave with the batch before this one of the same shard; empty at first.
        inherited: With the first batch of a shard, what the reader last gave for each of its parents.
    """

    shard_id: str
    records: Sequence[KinesisRecord]
    progress_ms: int
    late_before_ms: int
    low_water_ms: int
    memory: bytes = b""
    inherited: tuple[bytes, ...] = ()


class ReadBatch(NamedTuple):
    """What a job made of a batch: rows, and the newest event time in the shard (the former one where none is newer).

    `memory` is what the reader wants to know of this shard at its next batch, also after a restart.
    """

    rows: Iterable[Row]
    progress_ms: int
    memory: bytes = b""


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that the stream dropped, for they were older than its retention, before they were read.

    Attributes:
        after_ms: Arrival time up to which the shard had been read; `NO_TIME_MS` where that is not known.
        until_ms: Arrival time from which on the stream still holds its records.
    """

    shard_id: str
    after_ms: int
    until_ms: int


class ReadRecords(Protocol):
    """What a job supplies: it turns records into rows, once for each record. It is pickled and sent to each subtask.

    All its rows have the same columns. It has no memory that results depend on but
    what it gives out with each batch: after a failure a new one goes on.
    """

    def open(self) -> None:
        """Prepare what cannot be pickled; called in the subtask, before the first batch."""

    def read(self, batch: ShardBatch) -> ReadBatch:
        """The rows of a batch, and how far the shard's event time is. It must not raise for what a record holds."""

    def mark(self, low_water_ms: int) -> Row:
        """A row without data that only carries a low-water mark forward."""

    def missed(self, gap: Gap, low_water_ms: int) -> Iterable[Row]:
        """The rows, if any, that tell of records lost. The source counts and logs each gap whether or not there are."""
