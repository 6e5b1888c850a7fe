"""What Athena needs to know to read the ledger: statements made from the columns that files are written with.

Partitions are projected: Athena works their paths out from a table's name, a day and an hour, and nothing has to be
added to a catalog when an hour begins.
"""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

import pyarrow

from jobs.sql_text import sql_text
from jobs.usage.consumed import COLUMNS as CONSUMED_COLUMNS
from jobs.usage.ledger_rows import SCHEMA
from jobs.usage.periods import HEADER as PERIOD_COLUMNS
from jobs.usage.prices import Tier

_ATHENA_TYPES: Final = {pyarrow.string(): "string", pyarrow.int64(): "bigint"}


def ledger_ddl(location: str, tables: Sequence[str], first_date: str, *, name: str = "ledger") -> str:
    """The statement that creates the ledger's table.

    Args:
        location: Where the ledger is, `s3://bucket/prefix`.
        tables: The names of the DynamoDB tables in it, as they stand in paths; without any, a query has to name one.
        first_date: The first day that there can be rows of.
        name: What the table is called in Athena.
    """
    columns = {field.name: _ATHENA_TYPES[field.type] for field in SCHEMA}
    of_table = {"type": "enum", "values": ",".join(tables)} if tables else {"type": "injected"}
    projected = {
        "table": of_table,
        "date": {"type": "date", "format": "yyyy-MM-dd", "range": f"{first_date},NOW"},
        "hour": {"type": "integer", "range": "0,23", "digits": "2"},
    }
    properties = {"projection.enabled": "true"}
    for column, rules in projected.items():
        properties |= {f"projection.{column}.{rule}": value for rule, value in rules.items()}
    properties["storage.location.template"] = f"{location}/table=${{table}}/date=${{date}}/hour=${{hour}}"
    partitions = ", ".join(f"`{column}` string" for column in projected)
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{_columns(columns)}\n)\n"
        f"PARTITIONED BY ({partitions})\nSTORED AS PARQUET\nLOCATION {sql_text(location + '/')}\n"
        f"TBLPROPERTIES (\n{_properties(properties)}\n);"
    )


def other_ddl(location: str) -> list[str]:
    """The statements for what the meters read beside the ledger, and for the view that they read it through."""
    periods = dict.fromkeys(PERIOD_COLUMNS, "bigint") | {"period": "string"}
    consumed = dict.fromkeys(CONSUMED_COLUMNS, "string") | {"wcu": "decimal(18,3)"}
    view = files("jobs.usage.views").joinpath("usage.sql").read_text(encoding="utf-8").strip()
    return [
        _csv_table("closed_periods", periods, f"{location}/closed_periods/"),
        _csv_table("consumed_capacity", consumed, f"{location}/consumed_capacity/"),
        f"CREATE OR REPLACE VIEW usage AS\n{view};",
    ]


def prices_ddl(tiers: Sequence[Tier]) -> str:
    """The statement that makes a price table known."""
    rows = ",\n".join(f"  {_price_values(tier)}" for tier in tiers)
    names = "unit, tier, above, up_to, price, per, currency, price_of_one"
    return f"CREATE OR REPLACE VIEW prices AS\nSELECT * FROM (VALUES\n{rows}\n) AS tiers ({names});"


def _price_values(tier: Tier) -> str:
    up_to = "CAST(NULL AS BIGINT)" if tier.up_to is None else f"BIGINT '{tier.up_to}'"
    numbers = (
        f"{tier.tier}, BIGINT '{tier.above}', {up_to}, CAST('{tier.price:f}' AS DECIMAL(18, 6)), BIGINT '{tier.per}'"
    )
    price_of_one = f"CAST('{tier.price_of_one:f}' AS DECIMAL(20, 12))"
    return f"({sql_text(tier.unit)}, {numbers}, {sql_text(tier.currency)}, {price_of_one})"


def _csv_table(name: str, columns: Mapping[str, str], location: str) -> str:
    return (
        f"CREATE EXTERNAL TABLE IF NOT EXISTS {name} (\n{_columns(columns)}\n)\n"
        f"ROW FORMAT DELIMITED FIELDS TERMINATED BY ','\nLOCATION {sql_text(location)}\n"
        "TBLPROPERTIES ('skip.header.line.count' = '1', 'serialization.null.format' = '');"
    )


def _columns(columns: Mapping[str, str]) -> str:
    return ",\n".join(f"  `{name}` {kind}" for name, kind in columns.items())


def _properties(properties: Mapping[str, Any]) -> str:
    return ",\n".join(f"  {sql_text(name)} = {sql_text(value)}" for name, value in properties.items())
