"""Results of meters as a table for people, CSV, JSON or Parquet. I/O."""

import csv
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Any, Final

import pyarrow
from pyarrow import parquet
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.dynamodb.record_fields import LAST_MS_OF_YEAR_9999

_MOST_ROWS: Final = 1_000
_MOST_CHARACTERS: Final = 120
_FEWER_CHARACTERS: Final = 40
_GAP: Final = 2
_CUT: Final = "…"
_WIDE: Final = 10_000
_TIME: Final = "%Y-%m-%d %H:%M:%S"


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def print_result(result: pyarrow.Table, output_format: Format, out: Path | None) -> None:
    """Print a result, or write it to a file; Parquet only goes to a file."""
    match output_format:
        case Format.TABLE if out is None:
            # In a pipe no terminal's width has to be kept to.
            print_table(result, Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE))
            return
        case Format.TABLE | Format.CSV:
            content = _csv(result).encode()
        case Format.JSON:
            content = _json(result).encode()
        case Format.PARQUET:
            sink = pyarrow.BufferOutputStream()
            parquet.write_table(result, sink, compression="zstd")
            content = sink.getvalue().to_pybytes()
    if out is None:
        sys.stdout.buffer.write(content)
    else:
        hidden = out.with_name(f".{out.name}.part")
        hidden.write_bytes(content)
        hidden.rename(out)


def print_table(result: pyarrow.Table, console: Console) -> None:
    """Print a result for people: a line for each row, or where these do not fit, a line for each value."""
    names, values = result.schema.names, result.slice(0, _MOST_ROWS).to_pylist()
    for most_characters in (_MOST_CHARACTERS, _FEWER_CHARACTERS):
        rows = [[_shown(name, value, most_characters) for name, value in row.items()] for row in values]
        if _width(names, rows) <= console.width:
            console.print(_table(result.schema, rows))
            break
    else:
        rows = [[_shown(name, value, _MOST_CHARACTERS) for name, value in row.items()] for row in values]
        _print_values(names, rows, console)
    if result.num_rows > _MOST_ROWS:
        console.print(f"... and {result.num_rows - _MOST_ROWS:,} more rows; --format csv has all of them")
    elif not result.num_rows:
        console.print("no rows")
    if any(shown.endswith(_CUT) for row in rows for shown in row):
        console.print(f"{_CUT} stands for the rest of a long value; --format csv has all of it")


def _table(schema: pyarrow.Schema, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0))
    for field in schema:
        is_number = pyarrow.types.is_integer(field.type) or pyarrow.types.is_decimal(field.type)
        table.add_column(field.name, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _width(names: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    return sum(max(map(cell_len, column)) + _GAP for column in zip(names, *rows, strict=True))


def _print_values(names: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    width = max(map(len, names))
    for number, row in enumerate(rows, 1):
        console.print(f"row {number:,}", markup=False)
        for name, shown in zip(names, row, strict=True):
            console.print(f"  {name:<{width}}  {shown}", markup=False, soft_wrap=True)


def _shown(name: str, value: Any, most_characters: int) -> str:
    """A value on a terminal: times as people read them, and nothing that could steer it."""
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return f"{value.normalize():,f}" if value else "0"
    if _is_time(name) and type(value) is int and 0 <= value <= LAST_MS_OF_YEAR_9999:
        return datetime.fromtimestamp(value / 1000, UTC).strftime(_TIME)
    text = f"{value:,}" if type(value) is int else str(value)
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return shown if len(shown) <= most_characters else shown[: most_characters - 1] + _CUT


def as_stored(name: str, text: str) -> str:
    """What a person wrote of a value of a column, as the column has it: a time may be given as it is shown."""
    if not _is_time(name):
        return text
    try:
        return str(int(datetime.strptime(text, _TIME).replace(tzinfo=UTC).timestamp() * 1000))
    except ValueError:
        return text


def _is_time(name: str) -> bool:
    return name.endswith("_ms") or name == "corrects"


def _csv(result: pyarrow.Table) -> str:
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(result.schema.names)
    for batch in result.to_batches():
        writer.writerows(map(_plain, row.values()) for row in batch.to_pylist())
    return text.getvalue()


def _json(result: pyarrow.Table) -> str:
    """A line for each row; exact decimals are strings, since numbers of JSON are not exact."""
    lines = (json.dumps(_without_nan(row), ensure_ascii=False, default=_plain) for row in result.to_pylist())
    return "".join(f"{line}\n" for line in lines)


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """A row with null for what is no number, which JSON has no word for."""
    return {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}


def _plain(value: Any) -> Any:
    """A value as others read it: a decimal without an exponent, which zeros of many places would have."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if isinstance(value, str | int | float) or value is None else str(value)
