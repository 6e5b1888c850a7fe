"""What a batch of records of one shard of a live stream holds, summed up per key and step. Pure.

A shard's progress is the newest time so far in it, but never beyond the arrival of the record that has it: a clock that
is ahead closes nobody's windows. A change is late when it is behind the progress by more than the out-of-orderness, or
behind what the subtask has promised about time already.

A change that comes twice counts once, however often a producer or a stream repeats it: a repetition has the same time
as the first copy, so what must be remembered are the changes of the last out-of-orderness, for any older repetition is
late. A shard of a split or merge goes on with what its parents remembered, as far as one subtask reads them all.
"""

from typing import Final

import msgspec

from connectors.dynamodb.change import Malformed
from connectors.dynamodb.clock import wrong_clock_reason
from connectors.dynamodb.fast_path import FastPath, WriteCost, event_id
from connectors.kinesis.records import KinesisRecord, ReadBatch, ShardBatch
from jobs.capacity.lane import LaneRow, LaneSettings, report_row, step_rows
from jobs.recorded.distinct import Key
from jobs.recorded.reports import Report, late_line, malformed_line

# Changes that are remembered to be counted once: a shard takes 1,000 a second. Beyond so many the oldest are forgotten,
# and would count again.
_MOST_REMEMBERED: Final = 200_000

_Remembered = dict[int, list[bytes]]
_MEMORY: Final = msgspec.msgpack.Decoder(_Remembered)


def read_batch(batch: ShardBatch, fast_path: FastPath, settings: LaneSettings) -> ReadBatch:
    """The rows of a batch: the sums of each step, and last a report.

    Args:
        batch: Records, and what was found of their shard before.
        fast_path: Tells what each record cost.
        settings: The step, and the bounds on disorder.
    """
    summing = _Summing(batch, settings)
    costs, others = fast_path.decode_all([record.data for record in batch.records])
    for document, outcome in others:
        if isinstance(outcome, Malformed):
            summing.malformed(batch.records[document], outcome.reason)
        else:
            summing.report.counts.ignored += 1
    for cost in costs:
        summing.count(cost, batch.records[cost.document])
    return ReadBatch(summing.rows(), summing.progress_ms, summing.memory())


class _Summing:
    """A batch being read."""

    def __init__(self, batch: ShardBatch, settings: LaneSettings) -> None:
        self.report = Report()
        self.report.counts.read_bytes = sum(len(record.data) for record in batch.records)
        self.progress_ms = batch.progress_ms
        self._batch = batch
        self._settings = settings
        self._sums: dict[int, dict[Key, list[int]]] = {}
        self._counted: dict[int, set[bytes]] = {}
        for memory in filter(None, (batch.memory, *batch.inherited)):
            for at_ms, identities in _MEMORY.decode(memory).items():
                self._counted.setdefault(at_ms, set()).update(identities)

    def count(self, cost: WriteCost, record: KinesisRecord) -> None:
        """Put a change to its step, unless it has a wrong clock, is late or came before."""
        counts, at_ms, arrived_ms = self.report.counts, cost.at_ms, record.arrival_time_ms
        if at_ms - arrived_ms > self._settings.future_tolerance_ms:
            self.malformed(record, wrong_clock_reason(at_ms))
            return
        counts.changes += 1
        counts.size_mismatch += cost.size_mismatch
        counts.seen(at_ms, at_ms)
        self.progress_ms = max(self.progress_ms, min(at_ms, arrived_ms))
        if at_ms < max(self._late_before_ms(), self._batch.late_before_ms):
            counts.late += 1
            self.report.late.append(late_line(cost, self.progress_ms - at_ms, self._position(record)))
        elif self._is_first(record, at_ms):
            key = (cost.table, cost.partition_key, cost.partition_key_type)
            total = self._sums.setdefault(at_ms // self._settings.step_ms, {}).setdefault(key, [0, 0])
            if cost.wcu:
                total[0] += cost.wcu
                total[1] += 1
        else:
            counts.duplicates += 1

    def malformed(self, record: KinesisRecord, reason: str) -> None:
        """A record that is no change."""
        self.report.counts.malformed += 1
        self.report.malformed.append(malformed_line(reason, self._position(record), record.data))

    def rows(self) -> list[LaneRow]:
        """What the batch came to."""
        low_water_ms = self._batch.low_water_ms
        rows: list[LaneRow] = []
        for step in sorted(self._sums):
            rows += step_rows(self._sums[step], step, self._settings.step_ms, low_water_ms)
        return [*rows, report_row(self.report, low_water_ms)]

    def memory(self) -> bytes:
        """The identities of changes whose repetitions would not be late."""
        late_before_ms = self._late_before_ms()
        times = sorted(at_ms for at_ms in self._counted if at_ms >= late_before_ms)
        while sum(len(self._counted[at_ms]) for at_ms in times) > _MOST_REMEMBERED:
            times = times[len(times) // 2 + 1 :]
        return msgspec.msgpack.encode({at_ms: sorted(self._counted[at_ms]) for at_ms in times})

    def _late_before_ms(self) -> int:
        return self.progress_ms - self._settings.out_of_orderness_ms

    def _is_first(self, record: KinesisRecord, at_ms: int) -> bool:
        identity = event_id(record.data)
        if identity is None:
            return True
        of_this_time = self._counted.setdefault(at_ms, set())
        if identity in of_this_time:
            return False
        of_this_time.add(identity)
        return True

    def _position(self, record: KinesisRecord) -> dict[str, str | int]:
        return {"shard": self._batch.shard_id, "sequence_number": record.sequence_number}
