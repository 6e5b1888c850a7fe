"""Ledgers made from rows, for tests of what reads them."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from jobs.usage.ledger import Ledger
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_paths import file_of
from jobs.usage.ledger_rows import LedgerRow
from tests.aws_server import aws_server

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


@contextmanager
def place_in_s3() -> Iterator[str]:
    """A place for a ledger in S3, on a server of its own that the environment leads to."""
    with aws_server() as url, pytest.MonkeyPatch.context() as patched:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url,
        }.items():
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="ledgers")
        yield "s3://ledgers/of/headroom"
