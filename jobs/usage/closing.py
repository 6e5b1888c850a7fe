"""What a replay leaves of an earlier ledger with closed periods: these stay, and what is new corrects them. I/O.

A closed period keeps every row that it bills. Where the new ledger says something else of its minutes, the difference
becomes correction rows in the first minute that the last closing left to later periods, so that one of these bills it.
The difference is to what the closed periods bill, so doing this again gives the same.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

import duckdb

from jobs.settings import UsageSettings
from jobs.usage.ledger import Ledger
from jobs.usage.ledger_file import write_rows
from jobs.usage.ledger_paths import file_of
from jobs.usage.ledger_rows import LedgerRow
from jobs.usage.minute_sums import WINDOW_MS
from jobs.usage.query import open_ledger

_FETCHED: Final = 100_000
_ROW: Final = "partition_key, partition_key_type, window_start_ms, event_name, wcu, writes, bytes_written, corrects"
_GROUP: Final = '"table", partition_key, partition_key_type, event_name, used_ms'
# All rows of the ledger that is to be, by table and hour.
_ROWS: Final = f"""
WITH frozen AS (
    SELECT * FROM earlier.usage WHERE billed_month IN (SELECT period FROM earlier.closed_periods)
),
fresh AS (
    SELECT *, used_month IN (SELECT period FROM earlier.closed_periods) AS is_closed FROM later.usage
),
differences AS (
    SELECT {_GROUP}, SUM(wcu) AS wcu, SUM(writes) AS writes, SUM(bytes_written) AS bytes_written
    FROM (
        SELECT {_GROUP}, wcu, writes, bytes_written FROM fresh WHERE is_closed
        UNION ALL
        SELECT {_GROUP}, -wcu, -writes, -bytes_written FROM frozen
    )
    GROUP BY {_GROUP}
    HAVING SUM(wcu) <> 0 OR SUM(writes) <> 0 OR SUM(bytes_written) <> 0
)
SELECT "table", {_ROW} FROM frozen
UNION ALL
SELECT "table", {_ROW} FROM fresh WHERE NOT is_closed
UNION ALL
SELECT
    "table", partition_key, partition_key_type, $closed_ms, event_name,
    CAST(wcu AS BIGINT), CAST(writes AS BIGINT), CAST(bytes_written AS BIGINT), used_ms
FROM differences
ORDER BY 1, 4
"""  # noqa: S608 - our own names


def keep_closed_periods(earlier: Ledger, later: Ledger, written: Ledger, settings: UsageSettings) -> int:
    """Write a ledger from an earlier one with closed periods and a later one; how many rows correct closed periods.

    Args:
        earlier: The ledger with closed periods.
        later: What a replay found.
        written: Where the outcome goes; empty.
        settings: How its files are laid out.
    """
    database = duckdb.connect()
    open_ledger(database, earlier, "earlier", earlier.closed_periods)
    open_ledger(database, later, "later", earlier.closed_periods)
    closed_at_ms = max(period.closed_at_ms for period in earlier.closed_periods)
    closed_ms = -(-closed_at_ms // WINDOW_MS) * WINDOW_MS  # no earlier, or the closed periods would bill them
    corrections = 0
    for path, rows in _by_file(database, closed_ms, settings):
        written.store.write(path, write_rows(rows))
        corrections += sum(row.window_start_ms == closed_ms and row.corrects is not None for row in rows)
    for period in earlier.closed_periods:
        written.close_period(period)
    return corrections


def _by_file(
    database: duckdb.DuckDBPyConnection, closed_ms: int, settings: UsageSettings
) -> Iterator[tuple[str, list[LedgerRow]]]:
    result = database.execute(_ROWS, {"closed_ms": closed_ms})
    rows = (row for batch in iter(lambda: result.fetchmany(_FETCHED), []) for row in batch)
    span_ms = settings.file_span_ms
    for (table, _), of_span in groupby(rows, key=lambda row: (row[0], row[3] // span_ms)):
        files: dict[str, list[LedgerRow]] = {}
        for row in of_span:
            file = file_of(table, row[1], row[2], row[3], span_ms=span_ms, buckets=settings.buckets)
            files.setdefault(file.path, []).append(LedgerRow(*row[1:]))
        yield from files.items()
