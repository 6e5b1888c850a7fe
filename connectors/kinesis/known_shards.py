"""The shards that one subtask knows: those of its slots, from the state of the slots and from the stream's listing.

A shard begins after both of its parents are read to their end, where they are the subtask's too, and is let go of once
it is read to its end and no longer listed.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import Protocol

from botocore.exceptions import BotoCoreError, ClientError

from connectors.kinesis.client import KinesisClient, KinesisError, refusal
from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.low_water import Progress, inherited
from connectors.kinesis.open_shard import OpenShard
from connectors.kinesis.polling import backoff_ms
from connectors.kinesis.positions import OLDEST
from connectors.kinesis.shards import Shard, may_begin, slots_beside
from connectors.kinesis.state import ShardState, SlotState

log = logging.getLogger(__name__)


class Counts(Protocol):
    """Where what happens is counted."""

    def count(self, name: str, number: int = 1) -> None:
        """Count something of this name."""

    def watch(self, shard_id: str, lag_ms: Callable[[], int]) -> None:
        """Show how far behind a shard is, from now on."""


class KnownShards:
    """Gives the shards that there are to read.

    Args:
        config: The stream.
        client: The stream's client.
        counts: Where what happens is counted.
        clock_ms: The time.
        pool: Where the stream is listed.
        random: Of the pauses between tries.
        subtasks: How many there are; which of them this is, the first slot tells.

    Attributes:
        retention_ms: How long the stream keeps records; None before it was listed.
    """

    def __init__(
        self,
        config: KinesisConfig,
        client: KinesisClient,
        counts: Counts,
        clock_ms: Callable[[], int],
        pool: ThreadPoolExecutor,
        random: Random,
        subtasks: int,
    ) -> None:
        self._config = config
        self._client = client
        self._counts = counts
        self._clock_ms = clock_ms
        self._pool = pool
        self._random = random
        self._subtasks = subtasks
        self._slots_to_come: set[int] | None = None
        self._slots: dict[int, SlotState] = {}
        self._shards: dict[str, OpenShard] = {}
        self._listed: dict[str, Shard] | None = None
        self._listing: Future[tuple[list[Shard], int]] | None = None
        self._list_at_ms = 0
        self._listing_attempts = 0
        self.retention_ms: int | None = None

    @property
    def is_listed(self) -> bool:
        """Whether the stream was listed, and with that the retention is known."""
        return self._listed is not None

    @property
    def is_listing(self) -> bool:
        """Whether it is being listed now."""
        return self._listing is not None

    @property
    def is_complete(self) -> bool:
        """Whether all slots are here and the stream was listed, so that nothing unknown is to be read."""
        return self._slots_to_come == set() and self.is_listed

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

    def late_before_ms(self, slot: int) -> int:
        """What the state of a slot, as it was given, has promised not to come any more."""
        return self._slots[slot].late_before_ms

    def state(self, slot: int, late_before_ms: int) -> SlotState:
        """What a checkpoint holds of a slot, from which nothing earlier than that is promised to come."""
        shards = tuple(shard.state() for shard in self._shards.values() if shard.slot == slot)
        return SlotState(shards, max(self.late_before_ms(slot), late_before_ms), self._slots[slot].begun)

    def read(self) -> Iterator[OpenShard]:
        """The shards from which there are records to be had."""
        return (shard for shard in self._shards.values() if shard.is_read)

    def read_in(self, slot: int) -> Iterator[OpenShard]:
        """Those of a slot."""
        return (shard for shard in self.read() if shard.slot == slot)

    def delays_ms(self) -> list[int]:
        """How old events are when they arrive, of each shard that has had some."""
        return [shard.progress.delay_ms for shard in self._shards.values() if shard.progress.delay_ms is not None]

    def holding(self) -> list[OpenShard]:
        """The shards from which there is more to come, or from whose children, where nothing is known of those."""
        return [shard for shard in self._shards.values() if shard.begun and not self._is_succeeded(shard)]

    def discover(self) -> None:
        """Take note of what the stream's listing says, and have it listed when that is due.

        Raises:
            KinesisError: The stream cannot be listed, and not by waiting.
        """
        now_ms = self._clock_ms()
        if self._listing is None and now_ms >= self._list_at_ms:
            self._listing = self._pool.submit(lambda: (self._client.shards(), self._client.retention_ms()))
        if self._listing is None or not self._listing.done():
            return
        listing, self._listing = self._listing, None
        self._list_at_ms = now_ms + self._config.discovery_interval_ms
        try:
            shards, self.retention_ms = listing.result()
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

    def finish(self, shard: OpenShard) -> None:
        """A shard is read to its end."""
        shard.finished_ms = self._clock_ms()
        self._counts.count("finished_shards")
        # Its children are there, and waiting.
        self._list_at_ms = 0
        self._begin()

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
        self._counts.watch(shard.shard_id, lambda: shard.lag_ms(self._clock_ms()))

    def _forget(self) -> None:
        """Let go of finished shards that the stream no longer lists, so that state does not grow."""
        for shard in list(self._shards.values()):
            if shard.finished_ms is not None and shard.shard_id not in (self._listed or ()):
                del self._shards[shard.shard_id]

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
