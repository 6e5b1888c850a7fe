"""Places in a stream: where a stream is begun, and where a shard is gone on. Pure."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec


class PositionKind(StrEnum):
    """How a place is given, by Kinesis's words for iterator types."""

    TRIM_HORIZON = "TRIM_HORIZON"
    AT_TIMESTAMP = "AT_TIMESTAMP"
    AFTER_SEQUENCE_NUMBER = "AFTER_SEQUENCE_NUMBER"


class Position(msgspec.Struct, frozen=True):
    """A place in a shard.

    Attributes:
        sequence_number: The record that was read last, for AFTER_SEQUENCE_NUMBER.
        at_ms: Arrival time of the first record wanted, for AT_TIMESTAMP.
    """

    kind: PositionKind
    sequence_number: str = ""
    at_ms: int = 0

    def iterator_arguments(self) -> dict[str, Any]:
        """What GetShardIterator takes to begin here."""
        arguments: dict[str, Any] = {"ShardIteratorType": self.kind.value}
        if self.kind is PositionKind.AFTER_SEQUENCE_NUMBER:
            arguments["StartingSequenceNumber"] = self.sequence_number
        if self.kind is PositionKind.AT_TIMESTAMP:
            arguments["Timestamp"] = self.at_ms / 1000
        return arguments


OLDEST = Position(PositionKind.TRIM_HORIZON)
"""The oldest record that the stream still holds."""


def at_time(at_ms: int) -> Position:
    """The first record that arrived at this time or later.

    LATEST too is kept as the time at which reading began: an iterator of that type would, asked for again after a
    failure, pass over what arrived meanwhile.
    """
    return Position(PositionKind.AT_TIMESTAMP, at_ms=at_ms)


def after(sequence_number: str) -> Position:
    """What follows this record."""
    return Position(PositionKind.AFTER_SEQUENCE_NUMBER, sequence_number=sequence_number)


def parse_start(text: str, now_ms: int) -> Position | None:
    """The position that a word ("latest", "trim_horizon") or a time of ISO 8601 means; None where it is neither.

    Args:
        text: What is written in settings. A time without a zone is in UTC.
        now_ms: What "latest" means.
    """
    match text.lower():
        case "latest":
            return at_time(now_ms)
        case "trim_horizon":
            return OLDEST
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    at_ms = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    return at_time(at_ms) if at_ms > 0 else None
