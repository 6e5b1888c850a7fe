"""What the usage job tells: kinds of outcome, and the lines in which files of the ledger are told. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from jobs.usage.ledger_rows import LedgerRow


class OutcomeKind(StrEnum):
    """What a line of the job's outcomes is."""

    FILE = "file"  # a file of the ledger was written
    COPIES = "copies"  # see `jobs.usage.deduplicate.CopiesReport`
    REPORT = "report"  # see `jobs.recorded.reports`


@dataclass(frozen=True, slots=True)
class FileReport:
    """A file of the ledger: how many rows it has, how many of them are corrections, and what all add up to."""

    path: str
    rows: int
    corrections: int
    wcu: int
    writes: int
    bytes_written: int


def write_file_report(path: str, rows: Sequence[LedgerRow]) -> str:
    """What is told of a file, as one line of JSON."""
    report = FileReport(
        path=path,
        rows=len(rows),
        corrections=sum(row.corrects is not None for row in rows),
        wcu=sum(row.wcu for row in rows),
        writes=sum(row.writes for row in rows),
        bytes_written=sum(row.bytes_written for row in rows),
    )
    return msgspec.json.encode(report).decode()


def read_file_report(line: str) -> FileReport:
    """What a line tells of a file."""
    return msgspec.json.decode(line, type=FileReport)
