"""What CloudWatch counted: `ConsumedWriteCapacityUnits` of each table and day, from its API or from a file. I/O."""

import csv
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import Any, Final, NamedTuple

COLUMNS: Final = ("table", "date", "wcu")
_DAY_S: Final = 86_400
_MOST_QUERIES: Final = 500  # of a GetMetricData request


class ConsumedError(Exception):
    """What CloudWatch counted cannot be had, or is not what it should be; the message says why."""


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
    rows = list(csv.reader(StringIO(text)))
    if not rows or tuple(rows[0]) != COLUMNS:
        message = f"{origin}: its first line is not {','.join(COLUMNS)}"
        raise ConsumedError(message)
    found: dict[tuple[str, str], ConsumedCapacity] = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            table, day, wcu = row
            figure = ConsumedCapacity(table, date.fromisoformat(day).isoformat(), Decimal(wcu))
            if not figure.wcu.is_finite() or figure.wcu < 0 or len(day) != len("2026-11-01"):
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


def fetch_consumed(cloudwatch: Any, tables: Sequence[str], first_date: str, last_date: str) -> list[ConsumedCapacity]:
    """What CloudWatch counted for some tables on some days (UTC).

    Source: Amazon DynamoDB Developer Guide, "DynamoDB metrics and dimensions": the sum of ConsumedWriteCapacityUnits
    over a period is what was consumed in it; the dimension TableName alone leaves global secondary indexes out.

    Args:
        cloudwatch: A client of boto3.
        tables: Names of DynamoDB tables.
        first_date: The first day.
        last_date: The last day, which is included.

    Raises:
        ConsumedError: CloudWatch refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    start = datetime.fromisoformat(first_date).replace(tzinfo=UTC)
    end = datetime.fromisoformat(last_date).replace(tzinfo=UTC) + timedelta(days=1)
    figures: list[ConsumedCapacity] = []
    try:
        for at in range(0, len(tables), _MOST_QUERIES):
            some = tables[at : at + _MOST_QUERIES]
            pages = cloudwatch.get_paginator("get_metric_data").paginate(
                MetricDataQueries=[_query(number, table) for number, table in enumerate(some)],
                StartTime=start,
                EndTime=end,
                ScanBy="TimestampAscending",
            )
            for page in pages:
                for result in page["MetricDataResults"]:
                    table = some[int(result["Id"].removeprefix("t"))]
                    figures += [
                        ConsumedCapacity(table, day.astimezone(UTC).date().isoformat(), Decimal(str(wcu)))
                        for day, wcu in zip(result["Timestamps"], result["Values"], strict=True)
                    ]
    except (ClientError, BotoCoreError) as error:
        message = f"CloudWatch: {error}"
        raise ConsumedError(message) from error
    return _added_up(figures)


def _query(number: int, table: str) -> dict[str, Any]:
    metric = {
        "Namespace": "AWS/DynamoDB",
        "MetricName": "ConsumedWriteCapacityUnits",
        "Dimensions": [{"Name": "TableName", "Value": table}],
    }
    return {"Id": f"t{number}", "MetricStat": {"Metric": metric, "Period": _DAY_S, "Stat": "Sum"}}


def _added_up(figures: Sequence[ConsumedCapacity]) -> list[ConsumedCapacity]:
    sums: dict[tuple[str, str], Decimal] = {}
    for table, day, wcu in figures:
        sums[table, day] = sums.get((table, day), Decimal(0)) + wcu
    return [ConsumedCapacity(table, day, wcu) for (table, day), wcu in sorted(sums.items())]
