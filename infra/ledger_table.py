"""The ledger's table in the Glue catalog: the columns of its files, and its partitions, which need no crawler."""

from typing import Final

# As `jobs.usage.ledger_rows` has them, which needs pyarrow; a test compares.
COLUMNS: Final = (
    ("partition_key", "string"),
    ("partition_key_type", "string"),
    ("window_start_ms", "bigint"),
    ("event_name", "string"),
    ("wcu", "bigint"),
    ("writes", "bigint"),
    ("bytes_written", "bigint"),
    ("corrects", "bigint"),
    ("lower_bounds", "string"),
)
PARTITIONS: Final = (("table", "string"), ("date", "string"), ("hour", "string"))


def projection(location: str) -> dict[str, str]:
    """Table properties by which Athena works out the partitions from a query, without asking the catalog.

    A query names its table: of names there is no end to enumerate.
    Source: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html
    """
    return {
        "classification": "parquet",
        "EXTERNAL": "TRUE",
        "projection.enabled": "true",
        "projection.table.type": "injected",
        "projection.date.type": "date",
        "projection.date.format": "yyyy-MM-dd",
        "projection.date.range": "2025-01-01,NOW+1DAYS",
        "projection.date.interval": "1",
        "projection.date.interval.unit": "DAYS",
        "projection.hour.type": "integer",
        "projection.hour.range": "0,23",
        "projection.hour.digits": "2",
        "storage.location.template": f"{location}table=${{table}}/date=${{date}}/hour=${{hour}}/",
    }
