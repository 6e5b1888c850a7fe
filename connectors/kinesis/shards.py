"""Shards of a stream: who owns which, and which may be begun. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

SLOTS: Final = 16
"""Into so many equal parts the hash keys of a stream are divided; a part is read by one subtask, so this is the most
subtasks. It is part of what checkpoints mean, so it does not change."""

_HASH_KEY_BITS: Final = 128


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as ListShards tells it.

    Attributes:
        parent_ids: Those it was split or merged from, whether the stream still holds them or not.
        slot: The part of the stream's hash keys that its first hash key lies in. Children mostly lie in their parents'.
    """

    shard_id: str
    parent_ids: tuple[str, ...]
    slot: int


def parse_shard(listed: Mapping[str, Any]) -> Shard:
    """A shard from an element of what ListShards answers."""
    parents = (listed.get("ParentShardId"), listed.get("AdjacentParentShardId"))
    first_hash_key = int(listed["HashKeyRange"]["StartingHashKey"])
    return Shard(
        listed["ShardId"],
        tuple(parent for parent in parents if parent),
        first_hash_key * SLOTS >> _HASH_KEY_BITS,
    )


def subtask_of(slot: int, subtasks: int) -> int:
    """The subtask that owns a slot, by Flink's own rule for key groups (KeyGroupRangeAssignment)."""
    return slot * subtasks // SLOTS


def slots_beside(slot: int, subtasks: int) -> set[int]:
    """The slots of the subtask that owns this one, itself among them."""
    return {each for each in range(SLOTS) if subtask_of(each, subtasks) == subtask_of(slot, subtasks)}


def may_begin(parent_ids: Collection[str], known: Collection[str], finished: Collection[str]) -> bool:
    """Whether a shard may be read: when each of its parents that this subtask reads is read to its end.

    Args:
        parent_ids: Its parents.
        known: The shards that this subtask reads, in whatever state; a parent that the stream no longer lists, and
            that is not in a checkpoint either, is none of them.
        finished: Those of them that are read to their end.
    """
    return all(parent in finished or parent not in known for parent in parent_ids)
