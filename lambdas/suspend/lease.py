"""Leases: one entry in the cache for each suspended partition key, which ends by itself.

An entry is set by compare-and-set on `decision_seq`, in one step inside the cache (`lease.lua`). Setting the same
lease again changes nothing, so a message may come any number of times.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, cast

from redis import Redis
from redis.exceptions import RedisError

from connectors.actions import MalformedActionError, SuspendAction

KEY_PREFIX = "headroom:suspended"
MAX_LEASE_MS = 86_400_000  # a day, the longest that the setting `lease.steps` allows

# The characters of a table's name. No colon is among them, so no two pairs of table and partition key share an entry.
# Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Outcome(StrEnum):
    """What became of an action; in each case it is done, and its message can go."""

    APPLIED = "applied"
    """The partition key is suspended under this action."""
    REPEATED = "repeated"
    """It was already, under this same action."""
    OVERTAKEN = "overtaken"
    """The lease there carries an equal or higher `decision_seq`, and stays."""
    EXPIRED = "expired"
    """The lease, or the time in which to begin it, had ended."""


@dataclass(frozen=True, slots=True)
class LeaseResult:
    """What the cache did with an action at `at_ms` by its clock; the action's lease ends at `ends_at_ms`."""

    outcome: Outcome
    at_ms: int
    ends_at_ms: int


def lease_key(table: str, partition_key: str) -> str:
    """The name of the entry whose presence means that the partition key is suspended."""
    return f"{KEY_PREFIX}:{table}:{partition_key}"


def require_plausible(action: SuspendAction) -> None:
    """Holds an action to what a job can have decided, beyond the form of its message.

    Raises:
        MalformedActionError: Its table has a name that DynamoDB does not allow, its lease is longer than a day, or a
            text in it has no form in UTF-8.
    """
    if not _TABLE_NAME.fullmatch(action.table):
        _refuse("table is not the name of a table")
    if action.lease_ms > MAX_LEASE_MS:
        _refuse(f"lease_ms is more than {MAX_LEASE_MS}")
    # No key can be made of a lone surrogate, and the cache's own reader would not read an entry that holds one.
    if _LONE_SURROGATE.search(action.partition_key) or _LONE_SURROGATE.search(action.evidence.rule):
        _refuse("partition_key or rule holds a lone surrogate")


def apply_lease(client: Redis, action: SuspendAction, message: bytes) -> LeaseResult:
    """What became of an action whose message is `message`, kept in the cache byte by byte.

    Asks again once, on a new connection, if the cache does not answer or refuses.

    Raises:
        RedisError: It did so twice. The lease may be set nevertheless, if only the answer was lost.
    """
    try:
        return _compare_and_set(client, action, message)
    except RedisError:
        return _compare_and_set(client, action, message)


def _compare_and_set(client: Redis, action: SuspendAction, message: bytes) -> LeaseResult:
    arguments: tuple[Any, ...] = (
        message,
        action.action_id,
        action.decision_seq,
        action.issued_at_ms,
        action.lease_ms,
        action.not_after_ms,
    )
    try:
        answer = client.eval(_script(), 1, lease_key(action.table, action.partition_key), *arguments)
    except RedisError:
        # Whatever the reason (the primary is a replica now, a login has ended, the connection was cut while this
        # process was frozen): a new connection looks the name up again and logs in again.
        client.connection_pool.disconnect(inuse_connections=False)
        raise
    outcome, at_ms, ends_at_ms = cast("tuple[bytes, int, int]", answer)
    return LeaseResult(outcome=Outcome(outcome.decode()), at_ms=at_ms, ends_at_ms=ends_at_ms)


@cache
def _script() -> str:
    return Path(__file__).with_name("lease.lua").read_text(encoding="utf-8")


def _refuse(reason: str) -> NoReturn:
    raise MalformedActionError(reason)
