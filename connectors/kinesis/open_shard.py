"""A shard that is being read: how far it is, and what is asked of it."""

from concurrent.futures import Future

from connectors.kinesis.polling import Cursor, Outcome
from connectors.kinesis.state import ShardState


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
    def low_water_ms(self) -> int:
        """No event is still to come from it that is earlier."""
        return self.progress.low_water_ms

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

    def lag_ms(self, now_ms: int) -> int:
        """How far reading is behind while it is still read."""
        return max(0, now_ms - self.progress.cursor_ms) if self.is_read and self.progress.cursor_ms else 0
