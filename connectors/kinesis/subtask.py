"""All the shards that one subtask reads, together: in which order, how far, and what that promises.

It guarantees: each record is handed on once between two checkpoints, and after a failure from the last one on; the
records of a shard in their order; a shard after both of its parents, where one subtask reads all three; no shard more
than the drift ahead of the slowest; and a low-water mark that is below all that is still to come, at a standstill as
long as it cannot be known. Polls run in threads ahead of what is handed on; nothing that only they know is kept.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from operator import attrgetter
from random import Random
from typing import Final

from connectors.kinesis.client import KinesisClient
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.known_shards import Counts, KnownShards
from connectors.kinesis.open_shard import OpenShard
from connectors.kinesis.polling import Cursor, Fetched, Gone, Troubled, backoff_ms, poll
from connectors.kinesis.positions import after
from connectors.kinesis.records import NO_TIME_MS, Gap, ReadRecords, Row, ShardBatch
from connectors.kinesis.state import SlotState

POLLS_AT_A_TIME: Final = 8
# Answers have up to 10 MiB, so this bounds the memory.
_MOST_ANSWERS: Final = 16
# How long a turn lasts at most, beyond the batch in hand: a checkpoint waits for it.
_TURN_MS: Final = 200
# How soon to look again whether a poll under way has come back.
_LOOK_AGAIN_MS: Final = 20
_LOOK_AGAIN_IDLE_MS: Final = 1_000
_BY_LOW_WATER: Final = attrgetter("low_water_ms")

log = logging.getLogger(__name__)


class Subtask:
    """Reads the shards of the slots that it is given.

    Args:
        config: The stream.
        read_records: What the job makes of records; open.
        client: The stream's client, good for `POLLS_AT_A_TIME` calls at once.
        counts: Where what happens is counted.
        clock_ms: The time.
        subtasks: How many there are; which of them this is, the first slot tells.
    """

    def __init__(
        self,
        config: KinesisConfig,
        read_records: ReadRecords,
        client: KinesisClient,
        counts: Counts,
        clock_ms: Callable[[], int],
        *,
        subtasks: int = 1,
    ) -> None:
        self._config = config
        self._read_records = read_records
        self._client = client
        self._counts = counts
        self._clock_ms = clock_ms
        self._subtasks = subtasks
        self._low_water_ms = NO_TIME_MS
        self._marked_ms = NO_TIME_MS
        self._pool = ThreadPoolExecutor(POLLS_AT_A_TIME, thread_name_prefix="kinesis")
        self._random = Random()  # noqa: S311 - jitter
        self._known = KnownShards(config, client, counts, clock_ms, self._pool, self._random, subtasks)

    def close(self) -> None:
        """Stop; polls under way are given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def knows(self, slot: int) -> bool:
        """Whether the slot was given."""
        return self._known.knows(slot)

    def give(self, slot: int, state: SlotState) -> None:
        """Have a slot read, from its state on.

        Raises:
            KinesisError: The slot is another subtask's.
        """
        self._known.give(slot, state)

    def state(self, slot: int) -> SlotState:
        """What a checkpoint holds of a slot: exactly what is in the rows given out so far."""
        return self._known.state(slot, self._marked_ms)

    def next_turn_ms(self, slot: int) -> int:
        """When the slot should have its next turn."""
        now_ms = self._clock_ms()
        if any(shard.poll for shard in self._known.read_in(slot)):
            return now_ms + _LOOK_AGAIN_MS
        at_ms = min((shard.due_ms for shard in self._known.read_in(slot)), default=now_ms + _LOOK_AGAIN_IDLE_MS)
        if not self._known.is_listed or self._known.is_listing:
            at_ms = now_ms + _LOOK_AGAIN_MS
        return min(max(at_ms, now_ms + 1), now_ms + _LOOK_AGAIN_IDLE_MS)

    def turn(self, slot: int) -> Iterator[Row]:
        """The rows of what has come of a slot's shards, and, where time has gone on, of the new low-water mark.

        Raises:
            KinesisError: The stream cannot be read, and not by waiting.
        """
        self._known.discover()
        ends_ms = self._clock_ms() + _TURN_MS
        while True:
            self._start_polls()
            shard = self._next_with_answer(slot, ends_ms)
            if shard is None:
                break
            yield from self._take(shard)
            if self._clock_ms() >= ends_ms:
                break
        self._advance()
        if self._low_water_ms > self._marked_ms:
            self._marked_ms = self._low_water_ms
            yield self._read_records.mark(self._low_water_ms)

    def arrived_until_ms(self) -> int:
        """The arrival time before which everything is read, in all shards; `NO_TIME_MS` while that is not known."""
        if not self._known.is_complete:
            return NO_TIME_MS
        return min((shard.progress.cursor_ms for shard in self._known.holding()), default=NO_TIME_MS)

    # Polls.

    def _start_polls(self) -> None:
        # Not before the retention is known, by which a checkpoint is told to be too old.
        if not self._known.is_listed:
            return
        now_ms = self._clock_ms()
        read = sorted(self._known.read(), key=_BY_LOW_WATER)
        polls = sum(shard.poll is not None for shard in read)
        for number, shard in enumerate(read):
            if shard.poll or shard.due_ms > now_ms or self._is_ahead(shard, read[0]):
                continue
            # The slowest is always polled: the others may all be waiting for it.
            if polls >= _MOST_ANSWERS and number > 0:
                return
            shard.poll = self._pool.submit(poll, self._client, shard.shard_id, shard.cursor, self._clock_ms)
            polls += 1

    def _is_ahead(self, shard: OpenShard, slowest: OpenShard) -> bool:
        return shard.low_water_ms > slowest.low_water_ms + self._config.max_drift_ms

    def _next_with_answer(self, slot: int, ends_ms: int) -> OpenShard | None:
        """The slowest shard that has an answer and is not ahead; where more is known to come, it is waited for."""
        slowest = min(self._known.read(), key=_BY_LOW_WATER, default=None)
        if slowest is None:
            return None
        while True:
            asked = [shard for shard in self._known.read_in(slot) if shard.poll and not self._is_ahead(shard, slowest)]
            come = [shard for shard in asked if shard.poll and shard.poll.done()]
            if come:
                return min(come, key=_BY_LOW_WATER)
            behind = [shard.poll for shard in asked if shard.poll and shard.is_behind]
            left_ms = ends_ms - self._clock_ms()
            if not behind or left_ms <= 0 or not wait(behind, left_ms / 1000, "FIRST_COMPLETED").done:
                return None

    # What came.

    def _take(self, shard: OpenShard) -> Iterator[Row]:
        polled, shard.poll = shard.poll, None
        match polled and polled.result():
            case Fetched() as fetched:
                yield from self._take_records(shard, fetched)
            case Troubled() as troubled:
                shard.cursor = shard.cursor.after_trouble(troubled.trouble)
                shard.due_ms = self._clock_ms() + backoff_ms(shard.cursor.attempts, self._random)
                self._counts.count(troubled.trouble.value)
                log.warning("shard %s: %s, trying again: %s", shard.shard_id, troubled.trouble.value, troubled.reason)
            case Gone():
                horizon_ms = self._clock_ms() - (self._known.retention_ms or 0)
                yield from self._tell_gap(Gap(shard.shard_id, shard.progress.cursor_ms, horizon_ms))
                self._known.finish(shard)

    def _take_records(self, shard: OpenShard, fetched: Fetched) -> Iterator[Row]:
        answer = fetched.answer
        yield from self._look_for_gap(shard, fetched)
        position = shard.cursor.position
        if answer.records:
            batch = ShardBatch(
                shard.shard_id,
                answer.records,
                shard.progress.newest_ms,
                max(self._known.late_before_ms(shard.slot), self._marked_ms),
                self._marked_ms,
                shard.memory,
                shard.inherited,
            )
            rows, progress_ms, shard.memory = self._read_records.read(batch)
            shard.inherited = ()
            yield from rows
            last = answer.records[-1]
            position = after(last.sequence_number)
            shard.progress = shard.progress.with_records(
                progress_ms, last.arrival_time_ms, self._config.out_of_orderness_ms
            )
            self._counts.count("records", len(answer.records))
            self._counts.count("bytes", sum(len(record.data) for record in answer.records))
        shard.cursor = Cursor(position, fetched.iterator)
        if fetched.iterator is None:
            self._known.finish(shard)
            return
        shard.is_behind = answer.behind_ms > 0
        shard.due_ms = 0 if shard.is_behind else fetched.asked_at_ms + self._config.poll_interval_ms
        self._pass_time(shard, fetched.asked_at_ms - answer.behind_ms)

    def _pass_time(self, shard: OpenShard, cursor_ms: int) -> None:
        delay_ms = shard.progress.delay_ms
        if delay_ms is None:
            # A shard without events: those of the others tell how old events are in this stream.
            # Where there has been none at all no window waits, but other subtasks may.
            delay_ms = max(self._known.delays_ms(), default=None if self._subtasks == 1 else 0)
        shard.progress = shard.progress.with_cursor(
            cursor_ms, delay_ms, self._config.margin_ms, self._config.out_of_orderness_ms
        )

    def _look_for_gap(self, shard: OpenShard, fetched: Fetched) -> Iterator[Row]:
        read_until_ms = shard.progress.cursor_ms
        if self._known.retention_ms is None or read_until_ms == NO_TIME_MS:
            return
        horizon_ms = fetched.asked_at_ms - self._known.retention_ms
        records = fetched.answer.records
        until_ms = records[0].arrival_time_ms if records else horizon_ms
        # Where older records are still given, the stream has not dropped them yet.
        if read_until_ms < horizon_ms <= until_ms:
            yield from self._tell_gap(Gap(shard.shard_id, read_until_ms, until_ms))

    def _tell_gap(self, gap: Gap) -> Iterable[Row]:
        self._counts.count("retention_gaps")
        log.error(
            "shard %s: what arrived between %d and %d (ms of the epoch), if anything, the stream dropped before it"
            " was read: it is older than the stream's retention",
            gap.shard_id,
            gap.after_ms,
            gap.until_ms,
        )
        return self._read_records.missed(gap, self._marked_ms)

    # What is promised.

    def _advance(self) -> None:
        """Raise the low-water mark to what all shards together promise, if that is known."""
        if not self._known.is_complete:
            return
        holding = self._known.holding()
        if holding:
            low_water_ms = min(shard.low_water_ms for shard in holding)
        elif self._subtasks == 1:
            return
        else:
            low_water_ms = self._clock_ms() - self._config.margin_ms - self._config.out_of_orderness_ms
        self._low_water_ms = max(self._low_water_ms, low_water_ms)
