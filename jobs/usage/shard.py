"""What a batch of records of one shard of a live stream puts into the ledger. Pure.

When a change arrived is told by the records of its shard alone, so that a job that reads them again after a failure, at
another time and in other batches, makes the same rows of them: a correction stays in the minute that it was put to. It
arrived when the newest change so far was written, but no earlier than the pause before it allows: a shard that has been
still is waited for as long as `kinesis.margin` says, and the source promises no more about time than that.
"""

from dataclasses import dataclass

import msgspec

from connectors.dynamodb.change import Ignored, Malformed
from connectors.dynamodb.change_facts import ChangeFact, FactPath
from connectors.dynamodb.clock import wrong_clock_reason
from connectors.kinesis.records import NO_TIME_MS, KinesisRecord, ReadBatch, ShardBatch
from jobs.recorded.reports import Report, malformed_line, write_report
from jobs.usage.collector import UsageCollector
from jobs.usage.facts import Event, UsageRow, report_row
from jobs.usage.minute_sums import FileLayout


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """What reading a shard must know of the settings."""

    out_of_orderness_ms: int
    future_tolerance_ms: int
    margin_ms: int
    layout: FileLayout


class _Memory(msgspec.Struct, array_like=True):
    """What is known of a shard from its records before.

    Attributes:
        records: How many there were.
        record_arrived_ms: When Kinesis took the last of them.
        heard_ms: When a change would have arrived, as the ledger has it, had it come with that one.
    """

    records: int = 0
    record_arrived_ms: int = NO_TIME_MS
    heard_ms: int = NO_TIME_MS


_DECODER = msgspec.msgpack.Decoder(_Memory)


def read_batch(batch: ShardBatch, fact_path: FactPath, settings: ShardSettings) -> ReadBatch:
    """The rows of a batch: sums of its minutes, the events that they are made of, and last a report.

    Args:
        batch: Records, and what was found of their shard before.
        fact_path: Tells what the ledger keeps of each record.
        settings: The bounds on disorder.
    """
    reading = _Reading(batch, settings)
    facts, others = fact_path.decode_all([record.data for record in batch.records])
    outcomes: dict[int, ChangeFact | Malformed | Ignored] = dict(others)
    outcomes |= {fact.document: fact for fact in facts}
    for document, record in enumerate(batch.records):
        reading.take(outcomes[document], record)
    return ReadBatch(reading.rows(), reading.progress_ms, msgspec.msgpack.encode(reading.memory))


def mark_row(low_water_ms: int) -> UsageRow:
    """A row that says nothing but the time."""
    return report_row(low_water_ms)


class _Reading:
    """A batch being read."""

    def __init__(self, batch: ShardBatch, settings: ShardSettings) -> None:
        self.report = Report()
        self.report.counts.read_bytes = sum(len(record.data) for record in batch.records)
        self.progress_ms = batch.progress_ms
        self.memory = _DECODER.decode(batch.memory) if batch.memory else _Memory()
        self._batch = batch
        self._settings = settings
        self._collector = UsageCollector(settings.out_of_orderness_ms, settings.layout, batch.low_water_ms)
        # What is older has been promised not to come; with clocks that agree no record is that late unheard.
        self._promised_ms = batch.late_before_ms + settings.out_of_orderness_ms

    def take(self, outcome: ChangeFact | Malformed | Ignored, record: KinesisRecord) -> None:
        """Let time go on to a record, and count what it holds."""
        memory, record_arrived_ms = self.memory, record.arrival_time_ms
        if self.progress_ms != NO_TIME_MS and memory.record_arrived_ms != NO_TIME_MS:
            pause_ms = record_arrived_ms - memory.record_arrived_ms - self._settings.margin_ms
            memory.heard_ms = max(memory.heard_ms, self.progress_ms + pause_ms)
        memory.record_arrived_ms = record_arrived_ms
        if isinstance(outcome, ChangeFact):
            self._change(outcome, record)
        elif isinstance(outcome, Malformed):
            self._malformed(record, outcome.reason)
        else:
            self.report.counts.ignored += 1
        memory.records += 1

    def rows(self) -> list[UsageRow]:
        """What the batch came to."""
        return [*self._collector.rest(), self._collector.report_row(write_report(self.report))]

    def _change(self, fact: ChangeFact, record: KinesisRecord) -> None:
        counts, at_ms, memory = self.report.counts, fact.at_ms, self.memory
        if at_ms - record.arrival_time_ms > self._settings.future_tolerance_ms:
            self._malformed(record, wrong_clock_reason(at_ms))
            return
        # A clock that is ahead closes nobody's minutes.
        self.progress_ms = max(self.progress_ms, min(at_ms, record.arrival_time_ms))
        memory.heard_ms = max(memory.heard_ms, self.progress_ms)
        arrived_ms = max(memory.heard_ms, self._promised_ms)
        key = fact.table, fact.partition_key, fact.partition_key_type
        origin = self._batch.shard_id, 0
        counts.late += self._collector.add(
            Event(
                fact.event_id,
                key,
                origin,
                memory.records,
                arrived_ms,
                at_ms,
                fact.wcu,
                fact.new_bytes,
                fact.event_name,
            )
        )
        counts.changes += 1
        counts.without_event_id += not fact.event_id
        counts.size_mismatch += fact.size_mismatch
        counts.seen(at_ms, at_ms)

    def _malformed(self, record: KinesisRecord, reason: str) -> None:
        position: dict[str, str | int] = {
            "shard": self._batch.shard_id,
            "sequence_number": record.sequence_number,
        }
        self.report.counts.malformed += 1
        self.report.malformed.append(malformed_line(reason, position, record.data))
