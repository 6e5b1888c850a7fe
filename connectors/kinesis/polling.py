"""One poll of a shard, and what follows from how it went. The client is passed in; what it answers decides purely."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Final, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from connectors.kinesis.client import Answer, KinesisError, code_of, refusal
from connectors.kinesis.positions import Position, PositionKind

MOST_RECORDS: Final = 10_000
"""As many as GetRecords gives at once."""

_FIRST_BACKOFF_MS: Final = 200
_LONGEST_BACKOFF_MS: Final = 10_000
_THROTTLED_CODES: Final = {"ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"}


class Trouble(StrEnum):
    """Why a poll brought nothing; all pass by themselves, and are counted by these names."""

    EXPIRED_ITERATOR = "expired_iterators"
    THROTTLED = "throttled"
    UNAVAILABLE = "server_errors"
    AHEAD_OF_CLOCK = "ahead_of_clock"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a poll brought, and when it was asked for."""

    answer: Answer
    asked_at_ms: int

    @property
    def iterator(self) -> str | None:
        """With what to go on; None at the end of the shard."""
        return self.answer.next_iterator


@dataclass(frozen=True, slots=True)
class Troubled:
    """A poll that brought nothing and is to be made again."""

    trouble: Trouble
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """The stream no longer knows the shard: all its records are older than the retention."""


Outcome = Fetched | Troubled | Gone


class Calls(Protocol):
    """The calls of a client that a poll makes."""

    stream: str

    def iterator(self, shard_id: str, arguments: dict[str, object]) -> str:
        """An iterator of a shard at a position."""

    def records(self, iterator: str, limit: int) -> Answer:
        """The records at an iterator."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the next poll of a shard begins.

    Attributes:
        position: The last record read: what is kept in state.
        iterator: The same in Kinesis's hands, while it is good; it expires after five minutes.
        attempts: Polls in a row that brought nothing but trouble.
    """

    position: Position
    iterator: str | None = None
    attempts: int = 0

    def after_trouble(self, trouble: Trouble) -> "Cursor":
        """Where to begin after a poll that brought nothing: an iterator that expired is asked for anew."""
        iterator = None if trouble is Trouble.EXPIRED_ITERATOR else self.iterator
        return replace(self, iterator=iterator, attempts=self.attempts + 1)


def poll(calls: Calls, shard_id: str, cursor: Cursor, now_ms: Callable[[], int], limit: int = MOST_RECORDS) -> Outcome:
    """What the shard gives at the cursor.

    Raises:
        KinesisError: What is wrong does not pass by itself: access denied, no credentials.
    """
    try:
        iterator = cursor.iterator or calls.iterator(shard_id, cursor.position.iterator_arguments())
        asked_at_ms = now_ms()
        return Fetched(calls.records(iterator, limit), asked_at_ms)
    except (BotoCoreError, ClientError, msgspec.DecodeError) as error:
        return _outcome_of(error, calls.stream, cursor)


def _outcome_of(error: BotoCoreError | ClientError | msgspec.DecodeError, stream: str, cursor: Cursor) -> Outcome:
    reason = f"{type(error).__name__}: {error}"
    code = "" if isinstance(error, msgspec.DecodeError) else code_of(error)
    if code == "ExpiredIteratorException" or (code == "InvalidArgumentException" and cursor.iterator):
        return Troubled(Trouble.EXPIRED_ITERATOR, reason)
    if code in _THROTTLED_CODES:
        return Troubled(Trouble.THROTTLED, reason)
    if code == "ResourceNotFoundException":
        return Gone()
    if code == "InvalidArgumentException":
        if cursor.position.kind is PositionKind.AT_TIMESTAMP:
            # Kinesis refuses a time that is still to come by its own clock, of which ours may be a little ahead.
            return Troubled(Trouble.AHEAD_OF_CLOCK, reason)
        message = f"stream {stream}: Kinesis refuses to read on from the checkpoint: {error}"
        raise KinesisError(message) from error
    if not isinstance(error, msgspec.DecodeError) and (refused := refusal(error, stream)):
        raise KinesisError(refused) from error
    return Troubled(Trouble.UNAVAILABLE, reason)


def backoff_ms(attempts: int, random: Random) -> int:
    """How long to wait after so many polls in a row that brought nothing: twice as long each time, with jitter."""
    longest_ms = min(_LONGEST_BACKOFF_MS, _FIRST_BACKOFF_MS << min(attempts - 1, 16))
    return random.randint(longest_ms // 2, longest_ms)
