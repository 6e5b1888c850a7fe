"""What the keys of one file of the ledger consumed in a minute, as it travels from readers to the file. Pure.

Sums of several readers, and what is taken away from them for copies, are added up where the file is written. They
travel as one value for a file and minute: a row for each key would cost Flink several times what the key's changes cost
to read.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec

from jobs.usage.ledger_paths import bucket_of, file_of_bucket
from jobs.usage.ledger_rows import LedgerRow

WINDOW_MS: Final = 60_000
"""The length of the ledger's windows, which begin at whole minutes of the epoch."""


class KeySum(NamedTuple):
    """What a key consumed by one kind of event. What is taken away is negative.

    Attributes:
        corrects_ms: The window that is corrected, None where the changes came in time.
        writes: Changes that consumed capacity.
        changes: All changes, deletes by TTL included.
    """

    partition_key: str
    partition_key_type: str
    event_name: str
    corrects_ms: int | None
    wcu: int
    writes: int
    bytes_written: int
    changes: int


class MinuteSums(msgspec.Struct, array_like=True, gc=False):
    """Sums of one window of a table, all of keys that belong to one file."""

    table: str
    window_start_ms: int
    sums: list[KeySum]

    @property
    def last_ms(self) -> int:
        """The last millisecond of the window."""
        return self.window_start_ms + WINDOW_MS - 1


encode_sums: Final = msgspec.msgpack.Encoder().encode
decode_sums: Final = msgspec.msgpack.Decoder(MinuteSums).decode


class FileLayout(NamedTuple):
    """How keys and times are dealt to files: `usage.file_span` and `usage.buckets`."""

    span_ms: int
    buckets: int

    def end_ms(self, window_start_ms: int) -> int:
        """Where the span of a window's file ends."""
        return window_start_ms // self.span_ms * self.span_ms + self.span_ms

    def dealt(self, window_start_ms: int, sums: Iterable[tuple[str, KeySum]]) -> Iterator[tuple[str, MinuteSums]]:
        """Sums of a window, each with the name of its table, by the paths of the files that they belong to."""
        parts: dict[tuple[str, int], MinuteSums] = {}
        for table, each in sums:
            part = table, bucket_of(table, each.partition_key, each.partition_key_type, self.buckets)
            if part not in parts:
                parts[part] = MinuteSums(table, window_start_ms, [])
            parts[part].sums.append(each)
        for (table, bucket), of_file in parts.items():
            file = file_of_bucket(table, bucket, window_start_ms, span_ms=self.span_ms, buckets=self.buckets)
            yield file.path, of_file


def added_up(parts: Iterable[MinuteSums]) -> list[MinuteSums]:
    """The sums of each window added up; a key of which no change is left is not among them.

    Args:
        parts: Sums of one file, all that there are of each of their windows.
    """
    windows: dict[int, dict[tuple[str, str, str, int | None], list[int]]] = {}
    table = ""
    for part in parts:
        table = part.table
        totals = windows.setdefault(part.window_start_ms, {})
        for each in part.sums:
            total = totals.get(each[:4])
            if total is None:
                totals[each[:4]] = list(each[4:])
            else:
                for place, number in enumerate(each[4:]):
                    total[place] += number
    return [
        MinuteSums(table, start_ms, [KeySum(*key, *total) for key, total in totals.items() if total[3] > 0])
        for start_ms, totals in sorted(windows.items())
    ]


def ledger_rows(parts: Iterable[MinuteSums]) -> list[LedgerRow]:
    """Sums that were added up as rows of the ledger."""
    return [
        LedgerRow(
            each.partition_key,
            each.partition_key_type,
            part.window_start_ms,
            each.event_name,
            each.wcu,
            each.writes,
            each.bytes_written,
            each.corrects_ms,
        )
        for part in parts
        for each in part.sums
    ]
