"""Where a row of the ledger is kept: paths that a table, a time and a key determine alone. Pure.

`table=conversations/date=2026-11-20/hour=10/1000-15m-2of4.parquet` holds all rows of a quarter of an hour and a quarter
of the partition keys. So whoever writes these rows again overwrites the file.
"""

import re
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote
from zlib import crc32

from jobs.settings.durations import HOUR_MS, MINUTE_MS, format_duration, parse_duration

_LONGEST_PART: Final = 249
_KEPT_OF_LONG_PART: Final = 200
_WITH_HASH: Final = re.compile(rf"[\w.-]{{{_KEPT_OF_LONG_PART}}}~[0-9a-f]{{32}}", re.ASCII)
_NO_VALUE: Final = "__HIVE_DEFAULT_PARTITION__"
"""What stands in paths for no value at all, as readers have it."""

_PATH = re.compile(
    r"table=(?P<table>[^/]+)/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d)/"
    r"(?P<minute>\d{4})-(?P<span>[0-9a-z]+)-(?P<bucket>\d+)of(?P<buckets>\d+)(?P<compacted>-compacted)?\.parquet"
)


class LedgerFile(NamedTuple):
    """A file of the ledger: the rows of a table whose windows begin in a span of time and whose keys are in a bucket.

    Attributes:
        table: The table's name as it stands in paths.
        start_ms: Where the span begins.
        span_ms: How long it is; it does not reach beyond an hour.
        bucket: From 1 to `buckets`.
        is_compacted: Whether it holds what several files held, which its content names.
    """

    table: str
    start_ms: int
    span_ms: int
    bucket: int
    buckets: int
    is_compacted: bool = False

    @property
    def end_ms(self) -> int:
        """Where the span ends."""
        return self.start_ms + self.span_ms

    @property
    def partition(self) -> str:
        """The directory of its hour."""
        start = datetime.fromtimestamp(self.start_ms / 1000, UTC)
        return f"table={self.table}/date={start:%Y-%m-%d}/hour={start:%H}"

    @property
    def path(self) -> str:
        """Its path in the ledger."""
        start = datetime.fromtimestamp(self.start_ms / 1000, UTC)
        span = format_duration(self.span_ms)
        compacted = "-compacted" if self.is_compacted else ""
        return f"{self.partition}/{start:%H%M}-{span}-{self.bucket}of{self.buckets}{compacted}.parquet"

    @property
    def compacted(self) -> "LedgerFile":
        """The file that its hour is compacted to."""
        return LedgerFile(self.table, self.start_ms // HOUR_MS * HOUR_MS, HOUR_MS, 1, 1, is_compacted=True)

    def overlaps(self, other: "LedgerFile") -> bool:
        """Whether there can be rows that belong to both."""
        same_hour = self.table == other.table and self.start_ms // HOUR_MS == other.start_ms // HOUR_MS
        same_time = self.start_ms < other.end_ms and other.start_ms < self.end_ms
        return same_hour and same_time and (self.buckets != other.buckets or self.bucket == other.bucket)


def file_of(
    table: str, partition_key: str, partition_key_type: str, window_start_ms: int, *, span_ms: int, buckets: int
) -> LedgerFile:
    """The file that a row belongs to."""
    bucket = bucket_of(table, partition_key, partition_key_type, buckets)
    return file_of_bucket(table, bucket, window_start_ms, span_ms=span_ms, buckets=buckets)


def file_of_bucket(table: str, bucket: int, window_start_ms: int, *, span_ms: int, buckets: int) -> LedgerFile:
    """The file that rows of a window and a bucket belong to."""
    return LedgerFile(path_part(table), window_start_ms // span_ms * span_ms, span_ms, bucket, buckets)


def bucket_of(table: str, partition_key: str, partition_key_type: str, buckets: int) -> int:
    """The bucket of a key, from 1 to `buckets`; the same for ever."""
    return crc32("\0".join((table, partition_key, partition_key_type)).encode()) % buckets + 1


def parse_path(path: str) -> LedgerFile | None:
    """The file that a path in the ledger names, None where it is none of the ledger's."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    try:
        start = datetime.strptime(f"{found['date']}{found['minute']}+0000", "%Y-%m-%d%H%M%z")
    except ValueError:
        return None
    span_ms = parse_duration(found["span"])
    if not span_ms:
        return None
    bucket, buckets = int(found["bucket"]), int(found["buckets"])
    is_compacted = found["compacted"] is not None
    file = LedgerFile(found["table"], int(start.timestamp()) * 1000, span_ms, bucket, buckets, is_compacted)
    return file if file.path == path and is_span(span_ms) and 1 <= bucket <= buckets else None


def is_span(span_ms: int) -> bool:
    """Whether an hour is a whole number of such spans, and such a span of minutes."""
    return HOUR_MS % span_ms == 0 and span_ms % MINUTE_MS == 0


def path_part(table: str) -> str:
    """A table's name as a part of a path: as it is, where it is a name that DynamoDB allows and not very long.

    DynamoDB allows letters, digits, `_`, `-` and `.`, which all are safe but in one name that stands for none; all else
    is percent-encoded. No file system takes a part of more than 255 bytes, `table=` included, so the end of a very long
    name is replaced by a hash of it; a reader takes what is then there for the name, and it makes the same part.
    """
    if _WITH_HASH.fullmatch(table):
        return table
    part = quote(table, safe="").replace("~", "%7E")
    if part == _NO_VALUE:
        part = part.replace("_", "%5F", 1)
    if len(part) <= _LONGEST_PART:
        return part
    return f"{part[:_KEPT_OF_LONG_PART]}~{sha256(table.encode()).hexdigest()[:32]}"
