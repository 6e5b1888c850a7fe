"""Ledgers made from rows, for tests of what reads them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jobs.usage.ledger import Ledger
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_paths import file_of
from jobs.usage.ledger_rows import LedgerRow

SPAN_MS = 15 * 60_000


def at(text: str) -> int:
    """Milliseconds of a time in UTC, such as 2026-11-20 10:04, seconds with it or not."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def row(when: str = "2026-11-20 10:04", key: str = "tenant-1", wcu: int = 5, **fields: Any) -> LedgerRow:
    values: dict[str, Any] = {
        "partition_key_type": "S",
        "event_name": "MODIFY",
        "writes": wcu,
        "bytes_written": 100 * wcu,
        "corrects": None,
    }
    return LedgerRow(partition_key=key, window_start_ms=at(when), wcu=wcu, **values | fields)


def make_ledger(
    directory: Path, rows: Iterable[tuple[str, LedgerRow]], span_ms: int = SPAN_MS, buckets: int = 4
) -> Ledger:
    """A ledger with these rows, each given with its table."""
    files: dict[str, list[LedgerRow]] = {}
    for table, each in rows:
        key, key_type, start_ms = each[:3]
        file = file_of(table, key, key_type, start_ms, span_ms=span_ms, buckets=buckets)
        files.setdefault(file.path, []).append(each)
    directory.mkdir(parents=True, exist_ok=True)
    for path, held in files.items():
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(write_rows(held))
    return Ledger(str(directory))
