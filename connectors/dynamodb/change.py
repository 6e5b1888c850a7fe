"""A change of an item of DynamoDB as a value: what was written, by which key, and what it cost. Pure.

`parse` reads it from a record.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_TABLE_NAME_CHARS: Final = 255
"""Source: DynamoDB Developer Guide, HowItWorks.NamingRulesDataTypes, "Naming rules"."""


@dataclass(frozen=True, slots=True)
class TableSchema:
    """What settings say about a table.

    Attributes:
        partition_key: the attribute that is the partition key. The stream does not say which of two key
            attributes it is; None where it is not known.
        transactional: whether the table is written in transactions, which cost twice.
    """

    partition_key: str | None
    transactional: bool = False


class EventName(StrEnum):
    """What happened to the item."""

    INSERT = "INSERT"
    MODIFY = "MODIFY"
    REMOVE = "REMOVE"


@dataclass(frozen=True, slots=True)
class Change:
    """One write to one item.

    Attributes:
        table: the table's name.
        partition_key: the partition key's value as text: strings as they are, numbers as in the record,
            binaries in base64.
        partition_key_type: ``S``, ``N`` or ``B``.
        at_ms: when the item was written, in milliseconds since 1970.
        event_id: identifies the change; a duplicate of a record has the same. None where it has none.
        event_name: what happened to the item.
        keys_bytes: the size of the key attributes.
        old_bytes: the size of the item before the write; None where the record has no old image.
        new_bytes: the size of the item after the write; None where the record has no new image.
        size_bytes: what the record itself says the sizes add up to; None where it does not say.
        size_matches: whether they do; None where the record does not say.
        wcu: the write capacity units that the write consumed.
    """

    table: str
    partition_key: str
    partition_key_type: str
    at_ms: int
    event_id: str | None
    event_name: EventName
    keys_bytes: int
    old_bytes: int | None
    new_bytes: int | None
    size_bytes: int | None
    size_matches: bool | None
    wcu: int


@dataclass(frozen=True, slots=True)
class _NotAChange:
    reason: str
    table: str | None = None
    partition_key: str | None = None
    partition_key_type: str | None = None
    at_ms: int | None = None
    event_id: str | None = None
    event_name: str | None = None


class Malformed(_NotAChange):
    """A record that should be a change and is broken; beside the reason, what could still be read."""

    __slots__ = ()


class Ignored(_NotAChange):
    """A record that says plainly that it is something else; beside the reason, what could be read."""

    __slots__ = ()


NO_SETTINGS: Final = TableSchema(partition_key=None)
