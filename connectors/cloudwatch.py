"""What CloudWatch counted of what tables consumed. I/O through a client that is given."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

_DAY_S: Final = 86_400
_MOST_QUERIES: Final = 500  # of a GetMetricData request


class CloudWatchError(Exception):
    """CloudWatch does not tell; the message says why."""


def connect(region: str | None) -> Any:
    """A client.

    Args:
        region: Where the tables are; None leaves it to the environment.

    Raises:
        CloudWatchError: No Region is set.
    """
    import boto3
    from botocore.exceptions import NoRegionError

    try:
        return boto3.client("cloudwatch", region_name=region)
    except NoRegionError as error:
        message = "CloudWatch: no AWS Region is set: give usage.region, or the variable AWS_REGION"
        raise CloudWatchError(message) from error


def fetch_consumed(
    cloudwatch: Any, tables: Sequence[str], first_date: str, last_date: str
) -> list[tuple[str, str, Decimal]]:
    """Table, day (UTC) and WCU, as CloudWatch counted them for some tables and days.

    Source: Amazon DynamoDB Developer Guide, "DynamoDB metrics and dimensions": the sum of ConsumedWriteCapacityUnits
    over a period is what was consumed in it; the dimension TableName alone leaves global secondary indexes out.

    Args:
        cloudwatch: A client of boto3.
        tables: Names of DynamoDB tables.
        first_date: The first day.
        last_date: The last day, which is included.

    Raises:
        CloudWatchError: CloudWatch refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    start = datetime.fromisoformat(first_date).replace(tzinfo=UTC)
    end = datetime.fromisoformat(last_date).replace(tzinfo=UTC) + timedelta(days=1)
    sums: dict[tuple[str, str], Decimal] = {}
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
                    for at_time, wcu in zip(result["Timestamps"], result["Values"], strict=True):
                        day = at_time.astimezone(UTC).date().isoformat()
                        sums[table, day] = sums.get((table, day), Decimal(0)) + Decimal(str(wcu))
    except (ClientError, BotoCoreError) as error:
        message = f"CloudWatch: {error}"
        raise CloudWatchError(message) from error
    return [(table, day, wcu) for (table, day), wcu in sorted(sums.items())]


def _query(number: int, table: str) -> dict[str, Any]:
    metric = {
        "Namespace": "AWS/DynamoDB",
        "MetricName": "ConsumedWriteCapacityUnits",
        "Dimensions": [{"Name": "TableName", "Value": table}],
    }
    return {"Id": f"t{number}", "MetricStat": {"Metric": metric, "Period": _DAY_S, "Stat": "Sum"}}
