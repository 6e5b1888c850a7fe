"""Files of the ledger: rows as Parquet, the same bytes for the same rows. I/O."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Final

import msgspec
import pyarrow
from pyarrow import parquet

from jobs.usage.ledger_rows import COMPACTED_FIELD, LOWER_BOUNDS, SCHEMA, LedgerRow, sort_order

_SORTED_BY: Final = ("partition_key", "partition_key_type", "window_start_ms", "event_name", "corrects")
COMPACTED: Final = "-compacted.parquet"
"""How the name of a compacted file ends."""


def write_rows(rows: Iterable[LedgerRow]) -> bytes:
    """Rows as a file, sorted by key."""
    ordered = sorted(rows, key=sort_order)
    columns = [list(column) for column in zip(*ordered, strict=True)] or [[] for _ in LedgerRow._fields]
    arrays = [
        pyarrow.array(values, type=field.type)
        for values, field in zip([*columns, [LOWER_BOUNDS] * len(ordered)], SCHEMA, strict=True)
    ]
    return write_table(pyarrow.Table.from_arrays(arrays, schema=SCHEMA))


def compacted_from(schema: pyarrow.Schema) -> list[str]:
    """The paths of the files whose rows a file with this schema holds; none where it was not compacted."""
    paths: list[str] = msgspec.json.decode((schema.metadata or {}).get(COMPACTED_FIELD, b"[]"))
    return paths


def read_rows(content: bytes) -> pyarrow.Table:
    """The rows of a file."""
    return parquet.read_table(BytesIO(content), partitioning=None)


def join_files(tables: Sequence[pyarrow.Table], paths: Sequence[str]) -> bytes:
    """The rows of several files as one, sorted by key, which tells the paths of all."""
    earlier = [path for table in tables for path in compacted_from(table.schema)]
    held = sorted({*earlier, *(path for path in paths if not path.endswith(COMPACTED))})
    metadata = {**(SCHEMA.metadata or {}), COMPACTED_FIELD: msgspec.json.encode(held)}
    joined = pyarrow.concat_tables(table.replace_schema_metadata(SCHEMA.metadata) for table in tables)
    order = [(name, "ascending") for name in _SORTED_BY]
    return write_table(joined.sort_by(order).replace_schema_metadata(metadata))


def write_table(table: pyarrow.Table) -> bytes:
    """A table of the ledger's columns as a file."""
    buffer = BytesIO()
    parquet.write_table(table, buffer, compression="zstd", version="2.6")
    return buffer.getvalue()
