"""What a checkpoint holds of the shards of a slot, as text that outlives changes of the program. Pure."""

import msgspec

from connectors.kinesis.low_water import Progress
from connectors.kinesis.positions import Position
from connectors.kinesis.records import NO_TIME_MS


class ShardState(msgspec.Struct, frozen=True):
    """A shard that the stream still lists.

    Attributes:
        position: Up to where its records are in the state of all that follows the source.
        begun: Whether it is being read; otherwise it waits for its parents.
        finished_ms: When it was read to its end, by the clock; None before.
        memory: What the job's reader wants to know of it.
        inherited: What the reader wanted to know of its parents; empty from the first record on.
    """

    shard_id: str
    parent_ids: tuple[str, ...]
    position: Position
    progress: Progress
    begun: bool = False
    finished_ms: int | None = None
    memory: bytes = b""
    inherited: tuple[bytes, ...] = ()


class SlotState(msgspec.Struct, frozen=True):
    """The shards whose first hash key lies in a slot.

    Attributes:
        late_before_ms: What the rows of its subtask have promised: nothing older comes.
        begun: Whether its shards have been listed; those that appear later are read from their beginning.
    """

    shards: tuple[ShardState, ...] = ()
    late_before_ms: int = NO_TIME_MS
    begun: bool = False


def write_state(state: SlotState) -> str:
    """The state as one line of JSON."""
    return msgspec.json.encode(state).decode()


def read_state(text: str | None) -> SlotState:
    """The state from its text; that of a slot never seen from None."""
    return SlotState() if text is None else msgspec.json.decode(text, type=SlotState)
