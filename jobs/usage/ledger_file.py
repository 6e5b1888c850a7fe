"""Files of the ledger: rows as Parquet, the same bytes for the same rows. I/O."""

from collections.abc import Iterable
from io import BytesIO

import pyarrow
from pyarrow import parquet

from jobs.usage.ledger_rows import LOWER_BOUNDS, SCHEMA, LedgerRow, sort_order


def write_rows(rows: Iterable[LedgerRow]) -> bytes:
    """Rows as a file, sorted by key."""
    ordered = sorted(rows, key=sort_order)
    columns = [list(column) for column in zip(*ordered, strict=True)] or [[] for _ in LedgerRow._fields]
    arrays = [
        pyarrow.array(values, type=field.type)
        for values, field in zip([*columns, [LOWER_BOUNDS] * len(ordered)], SCHEMA, strict=True)
    ]
    return write_table(pyarrow.Table.from_arrays(arrays, schema=SCHEMA))


def write_table(table: pyarrow.Table) -> bytes:
    """A table of the ledger's columns as a file."""
    buffer = BytesIO()
    parquet.write_table(table, buffer, compression="zstd", version="2.6", store_schema=False)
    return buffer.getvalue()
