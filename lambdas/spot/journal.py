"""Journal: what is remembered of groups and pools, in one DynamoDB table.

The table has one string key, `key`. `group#NAME` holds a group's journal, written only on the version that was read;
`pool#TYPE#ZONE` holds what the spot job last said of a pool.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import msgspec
from botocore.exceptions import ClientError

from lambdas.spot.fleet import Market, Pool
from lambdas.spot.swap import GroupJournal

_GROUP, _POOL = "group#", "pool#"


class JournalConflictError(Exception):
    """Somebody else has written the journal of the group meanwhile."""


class JournalCorruptError(Exception):
    """The journal of a group cannot be read; the text names the item."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """All that the journal holds."""

    groups: Mapping[str, GroupJournal] = field(default_factory=dict)
    markets: Mapping[Pool, Market] = field(default_factory=dict)


class JournalStore:
    """The table. Reads see every write before them."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def load(self, group: str) -> GroupJournal:
        """The journal of a group, an empty one if there is none."""
        answer = self._dynamodb.get_item(
            TableName=self._table, Key={"key": {"S": f"{_GROUP}{group}"}}, ConsistentRead=True
        )
        return _journal(answer["Item"]) if "Item" in answer else GroupJournal(group)

    def save(self, journal: GroupJournal) -> None:
        """Writes the journal of a group, if nobody else has since the version before it.

        Raises:
            JournalConflictError: Somebody else has.
        """
        written_as = uuid4().hex  # a write that botocore repeats, for its answer was lost, is still the same
        item = {
            "key": {"S": f"{_GROUP}{journal.group}"},
            "written_as": {"S": written_as},
            "version": {"N": str(journal.version)},
            "open": {"BOOL": journal.is_open},
            "body": {"S": msgspec.json.encode(journal).decode()},
        }
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(#key) OR #version = :before",
                ExpressionAttributeNames={"#key": "key", "#version": "version"},
                ExpressionAttributeValues={":before": {"N": str(journal.version - 1)}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                there: Mapping[str, Any] = error.response.get("Item", {})
                if there.get("written_as") == {"S": written_as}:
                    return
                raise JournalConflictError(journal.group) from error
            raise

    def remember_market(self, pool: Pool, market: Market, at_ms: int) -> bool:
        """Whether this is news of a pool: what is older than what is known is not."""
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item={
                    "key": {"S": f"{_POOL}{pool.instance_type}#{pool.zone}"},
                    "market": {"S": market},
                    "at_ms": {"N": str(at_ms)},
                },
                ConditionExpression="attribute_not_exists(#key) OR #at < :at",
                ExpressionAttributeNames={"#key": "key", "#at": "at_ms"},
                ExpressionAttributeValues={":at": {"N": str(at_ms)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True

    def everything(self) -> Remembered:
        """All of it, in pages of a megabyte."""
        groups: dict[str, GroupJournal] = {}
        markets: dict[Pool, Market] = {}
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        for item in (item for page in pages for item in page["Items"]):
            key = item["key"]["S"]
            if key.startswith(_GROUP):
                groups[key.removeprefix(_GROUP)] = _journal(item)
            elif key.startswith(_POOL):
                instance_type, zone = key.removeprefix(_POOL).split("#")
                markets[Pool(instance_type, zone)] = Market(item["market"]["S"])
        return Remembered(groups, markets)


def _journal(item: Mapping[str, Any]) -> GroupJournal:
    try:
        return msgspec.json.decode(item["body"]["S"], type=GroupJournal)
    except (KeyError, msgspec.DecodeError) as error:
        reason = f"the item {item['key']['S']} cannot be read: {error}"
        raise JournalCorruptError(reason) from error
