"""Meters run on a ledger, in DuckDB. I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow

from jobs.sql_text import sql_text
from jobs.usage.consumed import ConsumedCapacity
from jobs.usage.ledger import Ledger, LedgerError
from jobs.usage.ledger_rows import SCHEMA
from jobs.usage.meter import Meter, MeterError, MeterFailedError, Need
from jobs.usage.output import as_stored
from jobs.usage.parameters import Value
from jobs.usage.periods import ClosedPeriod
from jobs.usage.prices import Tier

_PARTITIONS: Final = ("table", "date", "hour")
_SPECIAL: Final = frozenset("=*?[{")
IDENTITIES: Final = (
    "table",
    "partition_key",
    "partition_key_type",
    "event_name",
    "window_start_ms",
    "two_minute_ms",
    "used_date",
    "used_month",
    "billed_month",
)
"""The columns of the view `usage` by which rows under a result can be found."""

_DAYS: Final = {"first_date": "used_date >= $first_date", "last_date": "used_date <= $last_date"}


class MeterSession:
    """A ledger opened for meters.

    Args:
        ledger: What they read.
        prices: The relation `prices`, where a meter needs it.
        consumed: The relation `consumed_capacity`, where a meter needs it.
        closing: A period that counts as closed besides those of the ledger.
    """

    def __init__(
        self,
        ledger: Ledger,
        prices: Sequence[Tier] | None = None,
        consumed: Sequence[ConsumedCapacity] | None = None,
        closing: ClosedPeriod | None = None,
    ) -> None:
        self._given = {Need.PRICES: prices is not None, Need.CONSUMED_CAPACITY: consumed is not None}
        self._ledger = ledger
        self._database = duckdb.connect()
        register(self._database, "prices", _prices_table(prices or ()))
        register(self._database, "consumed_capacity", _consumed_table(consumed or ()))
        open_ledger(self._database, ledger, "main", [*ledger.closed_periods, *([closing] if closing else [])])
        _lock(self._database, ledger)

    def run(self, meter: Meter, values: Mapping[str, Value]) -> pyarrow.Table:
        """The result of a meter.

        Raises:
            MeterError: It cannot be run; `MeterFailedError` where it failed while it ran.
        """
        for need in meter.needs:
            if not self._given[need]:
                message = f"meter {meter.name} needs {need.option}"
                raise MeterError(message)
        return self._query(meter.name, meter.sql, values)

    def rows_under(
        self, meter: Meter, row: Mapping[str, str], days: Mapping[str, Value] | None = None
    ) -> pyarrow.Table:
        """The rows of the view `usage` that a row of a meter's result is made of.

        Args:
            meter: The meter.
            row: Values of the result's identifying columns, by their names.
            days: The meter's `first_date` and `last_date`, where it was run for some days; only their rows are told.

        Raises:
            MeterError: The meter has no such columns.
        """
        days = days or {}
        for name in days:
            if name not in _DAYS:
                message = f"meter {meter.name}: rows are told by {' and '.join(_DAYS)}, not by {name}"
                raise MeterError(message)
        known = [name for name in meter.identity if name in IDENTITIES]
        for name in row:
            if name not in known:
                message = f"meter {meter.name}: its rows are told apart by {', '.join(known)}, not by {name!r}"
                raise MeterError(message)
        # The names are of the list above; the values are bound.
        conditions = [f'CAST("{name}" AS VARCHAR) = ${name}' for name in row] + [_DAYS[name] for name in days]
        query = f"SELECT * FROM usage WHERE {' AND '.join(conditions)} ORDER BY ALL"  # noqa: S608
        values = {name: as_stored(name, text) for name, text in row.items()}
        return self._query(meter.name, query, {**values, **days})

    def total(self, month: str) -> tuple[int, int, int]:
        """WCU, writes and bytes written that a month bills so far, over all tables.

        Raises:
            MeterFailedError: They cannot be read.
        """
        query = (
            "SELECT COALESCE(SUM(wcu), 0), COALESCE(SUM(writes), 0), COALESCE(SUM(bytes_written), 0) "
            "FROM usage WHERE billed_month = $month"
        )
        [totals] = self._query("total", query, {"month": month}).to_pylist()
        wcu, writes, bytes_written = map(int, totals.values())
        return wcu, writes, bytes_written

    def _query(self, name: str, query: str, values: Mapping[str, Value]) -> pyarrow.Table:
        try:
            _require_one_query(name, self._database.extract_statements(query))
            found = self._database.sql(query, params=dict(values))
            _require_different_names(name, found.columns)
            result = found.to_arrow_table()
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            message = f"meter {name}: {error}"
            raise MeterError(message) from error
        except duckdb.Error as error:
            self._require_uncompacted()
            message = f"meter {name}: {error}"
            raise MeterFailedError(message) from error
        self._require_uncompacted()
        return result

    def _require_uncompacted(self) -> None:
        try:
            self._ledger.require_uncompacted()
        except LedgerError as error:
            raise MeterFailedError(str(error)) from error


def _require_one_query(name: str, statements: Sequence[Any]) -> None:
    kinds = [statement.type for statement in statements]
    problem = "has no query" if not kinds else "is more than one query" if len(kinds) > 1 else "is not a query"
    if kinds != [duckdb.StatementType.SELECT]:
        message = f"meter {name} {problem}; a meter is one SELECT"
        raise MeterError(message)


def _require_different_names(name: str, columns: Sequence[str]) -> None:
    twice = next((column for place, column in enumerate(columns) if column in columns[:place]), None)
    if twice is not None:
        message = f"meter {name}: two columns are called {twice!r}"
        raise MeterError(message)


def _lock(database: Any, ledger: Ledger) -> None:
    """From now on let queries read the ledger and nothing else: no other file, no network, no variable of ours."""
    if ledger.store.is_local:
        root = str(Path(ledger.store.location).absolute())
        database.execute("SET allowed_directories = " + _text_list([f"{root}/"]))
    for name, value in (
        ("enable_external_access", "false"),
        ("python_enable_replacements", "false"),
        ("lock_configuration", "true"),
    ):
        database.execute(f"SET {name} = {value}")


def open_ledger(database: Any, ledger: Ledger, schema: str, closed: Sequence[ClosedPeriod]) -> None:
    """Make `ledger`, `closed_periods` and the view `usage` known in a schema of a DuckDB database."""
    database.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    database.execute(f"SET schema = '{schema}'")
    register(database, "closed_periods", _periods_table(closed))
    columns = ", ".join(f'"{name}"' for name in (*_PARTITIONS, *SCHEMA.names))
    view = files("jobs.usage.views").joinpath("usage.sql").read_text(encoding="utf-8")
    if not ledger.files:
        empty = pyarrow.schema([*(pyarrow.field(name, pyarrow.string()) for name in _PARTITIONS), *SCHEMA])
        register(database, "ledger", empty.empty_table())
    elif _has_plain_path(ledger):
        # Read by DuckDB itself, which is quickest; a path cannot be a parameter of a view, and is quoted.
        root = str(Path(ledger.store.location).absolute())
        paths = _text_list(f"{root}/{path}" for path in ledger.files)
        source = f"read_parquet({paths}, hive_partitioning = true, hive_types_autocast = false)"
        database.execute(f"CREATE VIEW ledger AS SELECT {columns} FROM {source}")  # noqa: S608
    else:
        database.register(f"{schema}_files", ledger.dataset())
        database.execute(f"CREATE VIEW ledger AS SELECT {columns} FROM {schema}_files")  # noqa: S608
    database.execute(f"CREATE VIEW usage AS {view}")


def _text_list(texts: Iterable[str]) -> str:
    return "[" + ", ".join(map(sql_text, texts)) + "]"


def _has_plain_path(ledger: Ledger) -> bool:
    """Whether DuckDB takes all of a ledger's paths for what they are, and not its root for partitions or a pattern."""
    return ledger.store.is_local and not _SPECIAL.intersection(str(Path(ledger.store.location).absolute()))


def register(database: Any, name: str, table: pyarrow.Table) -> None:
    """Make a table known under a name."""
    database.register("given", table)
    database.execute(f"CREATE TABLE {name} AS SELECT * FROM given")  # noqa: S608 - our own names
    database.unregister("given")


def _periods_table(closed: Sequence[ClosedPeriod]) -> pyarrow.Table:
    return _table(ClosedPeriod._fields, [pyarrow.string(), *[pyarrow.int64()] * 4], closed)


def _prices_table(tiers: Sequence[Tier]) -> pyarrow.Table:
    names = [*(each.name for each in fields(Tier)), "price_of_one"]
    kinds = [
        pyarrow.string(),
        pyarrow.int64(),
        pyarrow.int64(),
        pyarrow.int64(),
        pyarrow.decimal128(18, 6),
        pyarrow.int64(),
        pyarrow.string(),
        pyarrow.decimal128(20, 12),
    ]
    return _table(names, kinds, [(*astuple(tier), tier.price_of_one) for tier in tiers])


def _consumed_table(figures: Sequence[ConsumedCapacity]) -> pyarrow.Table:
    rows = [(table, day, wcu.quantize(Decimal("0.001"))) for table, day, wcu in figures]
    return _table(ConsumedCapacity._fields, [pyarrow.string(), pyarrow.string(), pyarrow.decimal128(18, 3)], rows)


def _table(names: Sequence[str], kinds: Sequence[Any], rows: Sequence[Sequence[Any]]) -> pyarrow.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    arrays = [pyarrow.array(column, type=kind) for column, kind in zip(columns, kinds, strict=True)]
    return pyarrow.Table.from_arrays(arrays, names=list(names))
