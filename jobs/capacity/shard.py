"""A shard of a live stream: what each poll of it brought, summed up per key and step. Pure.

Its progress is the newest time so far in it, but never beyond the arrival of the record that has it: a clock that is
ahead closes nobody's windows. A change is late when it is behind the progress by more than the out-of-orderness, or
behind what the subtask has promised about time already.

A change that comes twice counts once, however often a producer or a stream repeats it: a repetition has the same time
as the first copy, so what must be remembered are the changes of the last out-of-orderness, for any older repetition is
late.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from connectors.dynamodb.change import Malformed
from connectors.dynamodb.clock import wrong_clock_reason
from connectors.dynamodb.fast_path import FastPath, WriteCost, event_id
from jobs.capacity.lane import Key, LaneRow, LaneSettings, report_row, step_rows
from jobs.capacity.reports import Report, late_line, malformed_line

# Changes that are remembered to be counted once: a shard takes 1,000 a second. Beyond so many the oldest are forgotten,
# and would count again.
_MOST_REMEMBERED: Final = 200_000


class Arrived(NamedTuple):
    """A record of a stream, as it came: `arrived_ms` is the time at which the stream took it."""

    data: bytes
    arrived_ms: int
    sequence_number: str


class ShardMemory(msgspec.Struct, array_like=True):
    """What outlives a restart.

    Attributes:
        progress_ms: The newest time so far.
        counted: Changes that may come again and still be in time, by their times.
    """

    progress_ms: int = 0
    counted: dict[int, list[bytes]] = msgspec.field(default_factory=dict)


class Shard:
    """Sums up what polls of one shard bring.

    Args:
        shard_id: Its name, for the positions of what counts for nothing.
        fast_path: Tells what each record cost.
        settings: The step, and the bounds on disorder.
        memory: What `memory` gave before a restart.
    """

    def __init__(self, shard_id: str, fast_path: FastPath, settings: LaneSettings, memory: bytes | None = None) -> None:
        remembered = msgspec.msgpack.decode(memory, type=ShardMemory) if memory else ShardMemory()
        self.progress_ms = remembered.progress_ms
        self._counted = {at_ms: set(ids) for at_ms, ids in remembered.counted.items()}
        self._shard_id = shard_id
        self._fast_path = fast_path
        self._settings = settings

    def memory(self) -> bytes:
        """What a successor has to know."""
        counted = {at_ms: sorted(ids) for at_ms, ids in self._counted.items()}
        return msgspec.msgpack.encode(ShardMemory(self.progress_ms, counted))

    @property
    def low_water_ms(self) -> int:
        """The time before which this shard brings nothing that counts."""
        return self.progress_ms - self._settings.out_of_orderness_ms

    def caught_up(self, until_ms: int) -> None:
        """Take note that everything that arrived until then has been read."""
        self.progress_ms = max(self.progress_ms, until_ms)

    def take(self, records: Sequence[Arrived], low_water_ms: int) -> "Taken":
        """What a poll brought.

        Args:
            records: In the order of the shard.
            low_water_ms: What the subtask has promised: no change before it counts.
        """
        report = Report()
        report.counts.read_bytes = sum(len(record.data) for record in records)
        costs, others = self._fast_path.decode_all([record.data for record in records])
        for document, outcome in others:
            if isinstance(outcome, Malformed):
                self._malformed(report, records[document], outcome.reason)
            else:
                report.counts.ignored += 1
        sums: dict[int, dict[Key, list[int]]] = {}
        for cost in costs:
            self._count(cost, records[cost.document], low_water_ms, sums, report)
        self._forget()
        return Taken(sums, report, self._settings.step_ms)

    def _count(
        self,
        cost: WriteCost,
        record: Arrived,
        low_water_ms: int,
        sums: dict[int, dict[Key, list[int]]],
        report: Report,
    ) -> None:
        """Put a change to its step, unless it is late, came before, or has a wrong clock."""
        counts, at_ms = report.counts, cost.at_ms
        if at_ms - record.arrived_ms > self._settings.future_tolerance_ms:
            self._malformed(report, record, wrong_clock_reason(at_ms))
            return
        counts.changes += 1
        counts.size_mismatch += cost.size_mismatch
        counts.seen(at_ms, at_ms)
        self.progress_ms = max(self.progress_ms, min(at_ms, record.arrived_ms))
        if at_ms < max(self.low_water_ms, low_water_ms):
            counts.late += 1
            report.late.append(late_line(cost, self.progress_ms - at_ms, self._position(record)))
            return
        identity = event_id(record.data)
        if identity is not None:
            of_this_time = self._counted.setdefault(at_ms, set())
            if identity in of_this_time:
                counts.duplicates += 1
                return
            of_this_time.add(identity)
        total = sums.setdefault(at_ms // self._settings.step_ms, {}).setdefault(
            (cost.table, cost.partition_key, cost.partition_key_type), [0, 0]
        )
        if cost.wcu:
            total[0] += cost.wcu
            total[1] += 1

    def _forget(self) -> None:
        """Drop the identities of changes whose repetitions would be late."""
        low_water_ms = self.low_water_ms
        self._counted = {at_ms: ids for at_ms, ids in self._counted.items() if at_ms >= low_water_ms}
        if sum(map(len, self._counted.values())) > _MOST_REMEMBERED:
            times = sorted(self._counted)
            for at_ms in times[: len(times) // 2]:
                del self._counted[at_ms]

    def _malformed(self, report: Report, record: Arrived, reason: str) -> None:
        report.counts.malformed += 1
        report.malformed.append(malformed_line(reason, self._position(record), record.data))

    def _position(self, record: Arrived) -> dict[str, str | int]:
        return {"shard": self._shard_id, "sequence_number": record.sequence_number}


class Taken:
    """What one poll brought."""

    def __init__(self, sums: dict[int, dict[Key, list[int]]], report: Report, step_ms: int) -> None:
        self._sums = sums
        self._report = report
        self._step_ms = step_ms

    def rows(self, before_ms: int, after_ms: int) -> Iterator[LaneRow]:
        """The sums of each step, and the report.

        Args:
            before_ms: The low-water mark with which the poll was taken.
            after_ms: The one from now on.
        """
        for step in sorted(self._sums):
            yield from step_rows(self._sums[step], step, self._step_ms, before_ms)
        yield report_row(self._report, after_ms)
