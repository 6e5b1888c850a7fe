"""Recordings in Parquet: a column `data` with one record in each row. I/O."""

from collections.abc import Iterator
from typing import Any, Final

_COLUMN: Final = "data"
_BATCH_BYTES: Final = 4 << 20
_MOST_ROWS: Final = 1024
# What stands for a row without data: a record all the same, and malformed.
_NO_DATA: Final = b"null"


def why_not_a_recording(path: str) -> str | None:
    """Why a Parquet file holds no recording, None where it does; one that is damaged is left to its reader to tell."""
    # Imported here and below: only Parquet recordings pay the time that pyarrow takes to load.
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(path)
    except (pyarrow.ArrowException, OSError):
        return None
    if _COLUMN not in schema.names:
        return f'not a recording: this Parquet file has no column "{_COLUMN}"'
    kind = schema.field(_COLUMN).type
    if not _holds_bytes(kind):
        return f'not a recording: the column "{_COLUMN}" of this Parquet file holds {kind}, not bytes'
    return None


def _holds_bytes(kind: Any) -> bool:
    from pyarrow import types

    of_bytes = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    return any(is_of(kind) for is_of in (*of_bytes, types.is_string, types.is_large_string))


def read_rows(path: str) -> Iterator[tuple[int, list[bytes] | str]]:
    """The records of a Parquet file, some rows at a time, or why some cannot be read; with the number of the first."""
    import pyarrow
    import pyarrow.parquet

    row = 0
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except FileNotFoundError:
        raise
    except (pyarrow.ArrowException, OSError) as error:
        yield row, f"the Parquet file is damaged: {error}"
        return
    batch_rows = _rows_at_a_time(file.metadata)
    for group in range(file.metadata.num_row_groups):
        next_group_row = row + file.metadata.row_group(group).num_rows
        try:
            for batch in file.iter_batches(batch_size=batch_rows, row_groups=[group], columns=[_COLUMN]):
                # As bytes, for a string that is not valid UTF-8 is its reader's to refuse.
                column = batch.column(_COLUMN).cast(pyarrow.large_binary())
                yield row, [value or _NO_DATA for value in column.to_pylist()]
                row += len(column)
        except (pyarrow.ArrowException, OSError) as error:
            yield row, f"rows {row:,} to {next_group_row - 1:,} of the Parquet file are damaged: {error}"
        row = next_group_row


def _rows_at_a_time(metadata: Any) -> int:
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    content_bytes = sum(group.total_byte_size for group in groups)
    row_bytes: int = max(1, content_bytes // max(1, metadata.num_rows))
    return max(1, min(_MOST_ROWS, _BATCH_BYTES // row_bytes))
