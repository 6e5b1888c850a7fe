"""What CloudWatch counted of each table and day, as a file holds it. Pure."""

import csv
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import Final, NamedTuple

COLUMNS: Final = ("table", "date", "wcu")
_TOO_MANY: Final = 10**15


class ConsumedError(Exception):
    """A file does not hold what CloudWatch counted; the message names the line."""


class ConsumedCapacity(NamedTuple):
    """What a table consumed on a day (UTC), as CloudWatch counted it."""

    table: str
    date: str
    wcu: Decimal


def read_consumed(text: str, origin: str) -> list[ConsumedCapacity]:
    """The figures in a CSV file with the columns of `COLUMNS`.

    Raises:
        ConsumedError: It has a mistake in it.
    """
    try:
        rows = list(csv.reader(StringIO(text)))
    except csv.Error as error:
        message = f"{origin}: not CSV: {error}"
        raise ConsumedError(message) from error
    if not rows or tuple(rows[0]) != COLUMNS:
        message = f"{origin}: its first line is not {','.join(COLUMNS)}"
        raise ConsumedError(message)
    found: dict[tuple[str, str], ConsumedCapacity] = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            table, day, wcu = row
            figure = ConsumedCapacity(table, date.fromisoformat(day).isoformat(), Decimal(wcu))
            if day != figure.date or not 0 <= figure.wcu < _TOO_MANY:
                raise ValueError
        except (ValueError, InvalidOperation):
            message = f"{origin}: line {number}: {','.join(row)!r} is not a table, a day such as 2026-11-01 and WCU"
            raise ConsumedError(message) from None
        if found.setdefault((table, figure.date), figure) is not figure:
            message = f"{origin}: line {number}: {table} has {figure.date} twice"
            raise ConsumedError(message)
    return list(found.values())


def write_consumed(figures: Sequence[ConsumedCapacity]) -> str:
    """A CSV file with these figures."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(sorted(figures))
    return text.getvalue()
