"""What quick readers of many records share: what is known of each table, and outcomes dealt to two lists. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from connectors.dynamodb.change import Ignored, Malformed, TableSchema

KeyAndFactor = tuple[str | None, int]
"""The name of the partition key, where it is known, and how many times the capacity of a plain write one takes."""

_T = TypeVar("_T")


class UsualTables(dict[str, KeyAndFactor]):
    """The key and the factor of each table; of one that is not named, those of the default."""

    def __init__(self, schemas: Mapping[str, TableSchema], default: TableSchema) -> None:
        super().__init__((table, _key_and_factor(schema, default)) for table, schema in schemas.items())
        self._default = _key_and_factor(default, default)

    def __missing__(self, table: str) -> KeyAndFactor:
        return self._default


def _key_and_factor(schema: TableSchema, default: TableSchema) -> KeyAndFactor:
    return schema.partition_key or default.partition_key, 2 if schema.transactional else 1


def deal(
    records: Sequence[bytes], decode: Callable[[bytes, int], _T | Malformed | Ignored]
) -> tuple[list[_T], list[tuple[int, Malformed | Ignored]]]:
    """What was made of the records that are changes, and the outcomes of the others with their places, in order."""
    changes: list[_T] = []
    others: list[tuple[int, Malformed | Ignored]] = []
    for document, record in enumerate(records):
        outcome = decode(record, document)
        if isinstance(outcome, (Malformed, Ignored)):
            others.append((document, outcome))
        else:
            changes.append(outcome)
    return changes, others
