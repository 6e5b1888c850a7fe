"""All the shards that one subtask reads, together: in which order, how far, and what that promises.

It guarantees: each record is handed on once between two checkpoints, and after a failure from the last one on; the
records of a shard in their order; a shard after both of its parents, where one subtask reads all three; no shard more
than the drift ahead of the slowest; and a low-water mark that is below all that is still to come, at a standstill as
long as it cannot be known. Polls run in threads ahead of what is handed on; nothing that only they know is kept.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from random import Random
from typing import Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from connectors.kinesis.client import KinesisClient, KinesisError, refusal
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.low_water import Progress, inherited
from connectors.kinesis.polling import Cursor, Fetched, Gone, Outcome, Troubled, backoff_ms, poll
from connectors.kinesis.positions import OLDEST, after
from connectors.kinesis.records import NO_TIME_MS, Gap, ReadRecords, Row, ShardBatch
from connectors.kinesis.shards import Shard, may_begin, slots_beside
from connectors.kinesis.state import ShardState, SlotState

POLLS_AT_A_TIME: Final = 8
# Answers have up to 10 MiB, so this bounds the memory.
_MOST_ANSWERS: Final = 16
# How long a turn lasts at most, beyond the batch in hand: a checkpoint waits for it.
_TURN_MS: Final = 200
# How soon to look again whether a poll under way has come back.
_LOOK_AGAIN_MS: Final = 20
_LOOK_AGAIN_IDLE_MS: Final = 1_000

log = logging.getLogger(__name__)


class Counts(Protocol):
    """Where what happens is counted."""

    def count(self, name: str, number: int = 1) -> None:
        """Count something of this name."""

    def watch(self, shard_id: str, lag_ms: Callable[[], int]) -> None:
        """Show how far behind a shard is, from now on."""


class OpenShard:
    """A shard of which not everything is read, or whose children are not known yet."""

    def __init__(self, slot: int, state: ShardState) -> None:
        self.slot = slot
        self.shard_id = state.shard_id
        self.parent_ids = state.parent_ids
        self.cursor = Cursor(state.position)
        self.progress = state.progress
        self.memory = state.memory
        self.inherited = state.inherited
        self.begun = state.begun
        self.finished_ms = state.finished_ms
        self.poll: Future[Outcome] | None = None
        self.due_ms = 0
        self.is_behind = True

    @property
    def is_read(self) -> bool:
        """Whether there are records to be had from it, now or later."""
        return self.begun and self.finished_ms is None

    def memories(self) -> tuple[bytes, ...]:
        """What its children inherit: its reader's memory, or, where it had no record, that of its own parents."""
        return (self.memory,) if self.memory else self.inherited

    def state(self) -> ShardState:
        """What a checkpoint holds of it."""
        return ShardState(
            self.shard_id,
            self.parent_ids,
            self.cursor.position,
            self.progress,
            self.begun,
            self.finished_ms,
            self.memory,
            self.inherited,
        )


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
        self._slots_to_come: set[int] | None = None
        self._slots: dict[int, SlotState] = {}
        self._shards: dict[str, OpenShard] = {}
        self._listed: dict[str, Shard] | None = None
        self._listing: Future[tuple[list[Shard], int]] | None = None
        self._list_at_ms = 0
        self._listing_attempts = 0
        self._retention_ms: int | None = None
        self._low_water_ms = NO_TIME_MS
        self._marked_ms = NO_TIME_MS
        self._pool = ThreadPoolExecutor(POLLS_AT_A_TIME, thread_name_prefix="kinesis")
        self._random = Random()  # noqa: S311 - jitter

    def close(self) -> None:
        """Stop; polls under way are given up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def knows(self, slot: int) -> bool:
        """Whether the slot was given."""
        return slot in self._slots

    def give(self, slot: int, state: SlotState) -> None:
        """Have a slot read, from its state on.

        Raises:
            KinesisError: The slot is another subtask's.
        """
        if self._slots_to_come is None:
            self._slots_to_come = slots_beside(slot, self._subtasks)
        if slot not in self._slots_to_come:
            message = f"slot {slot} of the stream came to a subtask that reads others"
            raise KinesisError(message)
        self._slots_to_come.remove(slot)
        self._slots[slot] = state
        for shard in state.shards:
            self._open(slot, shard)
        if self._listed is not None:
            self._find_new(slot, self._listed.values())
        self._begin()

    def state(self, slot: int) -> SlotState:
        """What a checkpoint holds of a slot: exactly what is in the rows given out so far."""
        known = self._slots[slot]
        shards = tuple(shard.state() for shard in self._shards.values() if shard.slot == slot)
        return SlotState(shards, max(known.late_before_ms, self._marked_ms), known.begun)

    def next_turn_ms(self, slot: int) -> int:
        """When the slot should have its next turn."""
        now_ms = self._clock_ms()
        if any(shard.poll for shard in self._read_in(slot)):
            return now_ms + _LOOK_AGAIN_MS
        at_ms = min((shard.due_ms for shard in self._read_in(slot)), default=now_ms + _LOOK_AGAIN_IDLE_MS)
        if self._listed is None or self._listing:
            at_ms = now_ms + _LOOK_AGAIN_MS
        return min(max(at_ms, now_ms + 1), now_ms + _LOOK_AGAIN_IDLE_MS)

    def turn(self, slot: int) -> Iterator[Row]:
        """The rows of what has come of a slot's shards, and, where time has gone on, of the new low-water mark.

        Raises:
            KinesisError: The stream cannot be read, and not by waiting.
        """
        self._discover()
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
        if self._slots_to_come != set() or self._listed is None:
            return NO_TIME_MS
        return min((shard.progress.cursor_ms for shard in self._holding()), default=NO_TIME_MS)

    # What there is to read.

    def _discover(self) -> None:
        now_ms = self._clock_ms()
        if self._listing is None and now_ms >= self._list_at_ms:
            self._listing = self._pool.submit(lambda: (self._client.shards(), self._client.retention_ms()))
        if self._listing is None or not self._listing.done():
            return
        listing, self._listing = self._listing, None
        self._list_at_ms = now_ms + self._config.discovery_interval_ms
        try:
            shards, self._retention_ms = listing.result()
        except (BotoCoreError, ClientError) as error:
            self._listing_attempts += 1
            if refused := refusal(error, self._client.stream):
                raise KinesisError(refused) from error
            self._list_at_ms = now_ms + backoff_ms(self._listing_attempts, self._random)
            self._counts.count("listing_errors")
            log.warning("stream %s: listing its shards failed, trying again: %s", self._client.stream, error)
            return
        self._listing_attempts = 0
        self._listed = {shard.shard_id: shard for shard in shards}
        for slot in self._slots:
            self._find_new(slot, shards)
        self._begin()
        self._forget()

    def _find_new(self, slot: int, listed: Iterable[Shard]) -> None:
        known = self._slots[slot]
        position = OLDEST if known.begun else self._config.start
        for shard in listed:
            if shard.slot == slot and shard.shard_id not in self._shards:
                self._open(slot, ShardState(shard.shard_id, shard.parent_ids, position, Progress()))
        self._slots[slot] = SlotState((), known.late_before_ms, begun=True)

    def _open(self, slot: int, state: ShardState) -> None:
        shard = OpenShard(slot, state)
        self._shards[shard.shard_id] = shard
        if shard.is_read:
            self._watch(shard)

    def _begin(self) -> None:
        """Begin the shards whose parents are read to their end; none before all slots are here to tell of parents."""
        if self._slots_to_come != set():
            return
        finished = {shard.shard_id for shard in self._shards.values() if shard.finished_ms is not None}
        for shard in self._shards.values():
            if not shard.begun and may_begin(shard.parent_ids, self._shards, finished):
                parents = [self._shards[parent] for parent in shard.parent_ids if parent in self._shards]
                shard.progress = inherited([parent.progress for parent in parents])
                shard.inherited = tuple(each for parent in parents for each in parent.memories())
                shard.begun = True
                self._watch(shard)

    def _watch(self, shard: OpenShard) -> None:
        self._counts.watch(shard.shard_id, lambda: _lag_ms(shard, self._clock_ms()))

    def _forget(self) -> None:
        """Let go of finished shards that the stream no longer lists, so that state does not grow."""
        for shard in list(self._shards.values()):
            if shard.finished_ms is not None and shard.shard_id not in (self._listed or ()):
                del self._shards[shard.shard_id]

    def _finish(self, shard: OpenShard) -> None:
        shard.finished_ms = self._clock_ms()
        self._counts.count("finished_shards")
        # Its children are there, and waiting.
        self._list_at_ms = 0
        self._begin()

    # Polls.

    def _read_in(self, slot: int) -> Iterator[OpenShard]:
        return (shard for shard in self._shards.values() if shard.slot == slot and shard.is_read)

    def _start_polls(self) -> None:
        # Not before the retention is known, by which a checkpoint is told to be too old.
        if self._listed is None:
            return
        now_ms = self._clock_ms()
        read = sorted((shard for shard in self._shards.values() if shard.is_read), key=_low_water_of)
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
        return _low_water_of(shard) > _low_water_of(slowest) + self._config.max_drift_ms

    def _next_with_answer(self, slot: int, ends_ms: int) -> OpenShard | None:
        """The slowest shard that has an answer and is not ahead; where more is known to come, it is waited for."""
        slowest = min((shard for shard in self._shards.values() if shard.is_read), key=_low_water_of, default=None)
        if slowest is None:
            return None
        while True:
            asked = [shard for shard in self._read_in(slot) if shard.poll and not self._is_ahead(shard, slowest)]
            come = [shard for shard in asked if shard.poll and shard.poll.done()]
            if come:
                return min(come, key=_low_water_of)
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
                horizon_ms = self._clock_ms() - (self._retention_ms or 0)
                yield from self._tell_gap(Gap(shard.shard_id, shard.progress.cursor_ms, horizon_ms))
                self._finish(shard)

    def _take_records(self, shard: OpenShard, fetched: Fetched) -> Iterator[Row]:
        answer = fetched.answer
        yield from self._look_for_gap(shard, fetched)
        position = shard.cursor.position
        if answer.records:
            batch = ShardBatch(
                shard.shard_id,
                answer.records,
                shard.progress.newest_ms,
                max(self._slots[shard.slot].late_before_ms, self._marked_ms),
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
            self._finish(shard)
            return
        shard.is_behind = answer.behind_ms > 0
        shard.due_ms = 0 if shard.is_behind else fetched.asked_at_ms + self._config.poll_interval_ms
        self._pass_time(shard, fetched.asked_at_ms - answer.behind_ms)

    def _pass_time(self, shard: OpenShard, cursor_ms: int) -> None:
        delay_ms = shard.progress.delay_ms
        if delay_ms is None:
            # A shard without events: those of the others tell how old events are in this stream.
            delays = [each.progress.delay_ms for each in self._shards.values() if each.progress.delay_ms is not None]
            # Where there has been none at all no window waits, but other subtasks may.
            delay_ms = max(delays, default=None if self._subtasks == 1 else 0)
        shard.progress = shard.progress.with_cursor(
            cursor_ms, delay_ms, self._config.margin_ms, self._config.out_of_orderness_ms
        )

    def _look_for_gap(self, shard: OpenShard, fetched: Fetched) -> Iterator[Row]:
        read_until_ms = shard.progress.cursor_ms
        if self._retention_ms is None or read_until_ms == NO_TIME_MS:
            return
        horizon_ms = fetched.asked_at_ms - self._retention_ms
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
        if self._slots_to_come != set() or self._listed is None:
            return
        holding = self._holding()
        if holding:
            low_water_ms = min(map(_low_water_of, holding))
        elif self._subtasks == 1:
            return
        else:
            low_water_ms = self._clock_ms() - self._config.margin_ms - self._config.out_of_orderness_ms
        self._low_water_ms = max(self._low_water_ms, low_water_ms)

    def _holding(self) -> list[OpenShard]:
        """The shards from which there is more to come, or from whose children, where nothing is known of those."""
        return [shard for shard in self._shards.values() if shard.begun and not self._is_succeeded(shard)]

    def _is_succeeded(self, shard: OpenShard) -> bool:
        """Whether a shard is read to its end and those who go on from there hold the low-water mark in its place."""
        if shard.finished_ms is None:
            return False
        children = [child for child in (self._listed or {}).values() if shard.shard_id in child.parent_ids]
        if not children:
            return False
        if all(self._is_held_by(child) for child in children):
            return True
        # Another subtask finds its child at its own next listing.
        return self._clock_ms() > shard.finished_ms + 2 * self._config.discovery_interval_ms

    def _is_held_by(self, child: Shard) -> bool:
        known = self._shards.get(child.shard_id)
        return known is not None and known.begun


def _low_water_of(shard: OpenShard) -> int:
    return shard.progress.low_water_ms


def _lag_ms(shard: OpenShard, now_ms: int) -> int:
    """How far reading is behind in a shard that is still read."""
    return max(0, now_ms - shard.progress.cursor_ms) if shard.is_read and shard.progress.cursor_ms else 0
