"""Billing periods, which are months in UTC, and which of them are closed. Pure.

A period that is closed keeps what it billed. What becomes known of it later is billed in the period in which it becomes
known.
"""

import csv
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from io import StringIO
from typing import Final, NamedTuple

from jobs.settings.durations import DAY_MS, MINUTE_MS

FILE: Final = "closed_periods/periods.csv"
"""Where a ledger keeps them: in a directory of their own, which is a table in Athena."""

HEADER: Final = ("period", "closed_at_ms", "wcu", "writes", "bytes_written")
_SETTLED_MS: Final = DAY_MS
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class PeriodError(Exception):
    """A period cannot be closed, or the list of those that are cannot be read; the message says why."""


class ClosedPeriod(NamedTuple):
    """A period that was closed, and what it bills, over all tables.

    Attributes:
        closed_at_ms: What becomes known of it from then on is billed later; see `closed_at_ms`.
    """

    period: str
    closed_at_ms: int
    wcu: int
    writes: int
    bytes_written: int


def month_problem(text: str) -> str | None:
    """Why a text is no month, None where it is one."""
    found = _MONTH.fullmatch(text)
    return None if found and int(found[1]) >= 1970 else "not a month, such as 2026-11"


def month_end_ms(month: str) -> int:
    """Where a month ends."""
    year, number = map(int, month.split("-"))
    year, number = (year + 1, 1) if number == 12 else (year, number + 1)
    return int(datetime(year, number, 1, tzinfo=UTC).timestamp() * 1000)


def why_not_over(month: str, now_ms: int, newest_ms: int | None) -> str | None:
    """Why a month cannot be closed yet, None where it can.

    Args:
        month: The month.
        now_ms: The time.
        newest_ms: Where the newest file of the ledger begins, None where there is none.
    """
    end_ms = month_end_ms(month)
    if now_ms < end_ms:
        return "is not over yet"
    if now_ms < end_ms + _SETTLED_MS and (newest_ms is None or newest_ms < end_ms):
        return "its last rows may be missing yet: close it when the ledger has rows of the next month, or in a day"
    return None


def closed_at_ms(month: str, now_ms: int, newest_ms: int | None) -> int:
    """From where on corrections of a month that is closed now are billed later.

    A live ledger is behind, by a file's span at least: what is still to come of minutes before now must not change the
    bill. So it is where the newest file begins, which may not be the last of its span, but no earlier than the month's
    end.

    Args:
        month: The month.
        now_ms: The time.
        newest_ms: Where the newest file of the ledger begins, None where there is none.
    """
    return max(month_end_ms(month), min(newest_ms or 0, now_ms // MINUTE_MS * MINUTE_MS))


def month_of(at_ms: int) -> str:
    """The month of a time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m")


def read_periods(text: str) -> list[ClosedPeriod]:
    """The periods in the file.

    Raises:
        PeriodError: It is not as `write_periods` writes it.
    """
    rows = list(csv.reader(StringIO(text)))
    if not rows or tuple(rows[0]) != HEADER:
        message = f"{FILE}: its first line is not {','.join(HEADER)}"
        raise PeriodError(message)
    try:
        periods = [ClosedPeriod(row[0], *map(int, row[1:])) for row in rows[1:]]
    except (TypeError, ValueError):
        message = f"{FILE}: holds something else than closed periods"
        raise PeriodError(message) from None
    wrong = [each.period for each in periods if month_problem(each.period)]
    if wrong or len({each.period for each in periods}) < len(periods):
        message = f"{FILE}: {wrong[0]!r} is no month" if wrong else f"{FILE}: has a period twice"
        raise PeriodError(message)
    return periods


def write_periods(periods: Iterable[ClosedPeriod]) -> str:
    """The file with these periods."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(sorted(periods))
    return text.getvalue()
