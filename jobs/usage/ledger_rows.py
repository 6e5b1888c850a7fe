"""Rows of the ledger: their columns, which are those of its files and of its table in Athena. Pure but for pyarrow."""

from typing import Final, NamedTuple

import msgspec
import pyarrow

SCHEMA_VERSION: Final = 1
VERSION_FIELD: Final = b"headroom.ledger.version"
COMPACTED_FIELD: Final = b"headroom.ledger.compacted"
"""Of a file that holds what several files held: their paths, as JSON."""

_AFTER_ALL_MS: Final = 1 << 62

LOWER_BOUNDS: Final = "wcu,writes"
"""What of a row is a lower bound. Failed conditional writes, writes that change nothing and index writes consume
capacity too, and no change stream tells of them; of what was written it tells exactly."""


class LedgerRow(NamedTuple):
    """What one partition key of a table consumed in one minute by one kind of event.

    Attributes:
        window_start_ms: Where the minute begins; of a correction, the minute in which it became known.
        wcu: Write capacity units.
        writes: Changes that consumed capacity; deletes by TTL consume none.
        bytes_written: The sizes of the items after the writes.
        corrects: None, or where the minute begins in which the changes were made, which was over by then.
    """

    partition_key: str
    partition_key_type: str
    window_start_ms: int
    event_name: str
    wcu: int
    writes: int
    bytes_written: int
    corrects: int | None


SCHEMA: Final = pyarrow.schema(
    [
        pyarrow.field("partition_key", pyarrow.string(), nullable=False),
        pyarrow.field("partition_key_type", pyarrow.string(), nullable=False),
        pyarrow.field("window_start_ms", pyarrow.int64(), nullable=False),
        pyarrow.field("event_name", pyarrow.string(), nullable=False),
        pyarrow.field("wcu", pyarrow.int64(), nullable=False),
        pyarrow.field("writes", pyarrow.int64(), nullable=False),
        pyarrow.field("bytes_written", pyarrow.int64(), nullable=False),
        pyarrow.field("corrects", pyarrow.int64()),
        pyarrow.field("lower_bounds", pyarrow.string(), nullable=False),
    ],
    metadata={VERSION_FIELD: str(SCHEMA_VERSION).encode()},
)
"""The columns of a file; `table`, `date` and `hour` are in its path."""


def sort_order(row: LedgerRow) -> tuple[str, str, int, str, int]:
    """What the rows of a file are sorted by."""
    corrects = _AFTER_ALL_MS if row.corrects is None else row.corrects
    return row.partition_key, row.partition_key_type, row.window_start_ms, row.event_name, corrects


def encode_row(table: str, row: LedgerRow) -> bytes:
    """A row as a line of JSON, with the name of its table."""
    return msgspec.json.encode({"table": table, **row._asdict(), "lower_bounds": LOWER_BOUNDS}) + b"\n"
