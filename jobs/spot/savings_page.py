"""A savings report as a page that needs nothing but itself. I/O: it reads its template."""

from connectors.prices import HOUR_MS
from connectors.spot_facts import Purchase
from jobs.pages.render import render
from jobs.spot import savings_charts
from jobs.spot.savings import Savings
from jobs.spot.savings_charts import cost_chart, groups_chart, instances_chart
from jobs.spot.savings_text import NO_GROUP, hours, money, notes, percent, utc


def savings_page(report: Savings) -> str:
    """The page of a report."""
    return render(
        "savings.html",
        report=report,
        total=report.total,
        groups=[(NO_GROUP if name is None else name, sums) for name, sums in report.groups.items()],
        instances=instances_chart(report),
        costs=cost_chart(report),
        dearest=groups_chart(report),
        chart=savings_charts,
        bucket="hour" if report.bucket_ms == HOUR_MS else f"stretch of {report.bucket_ms // HOUR_MS} hours",
        notes=notes(report)[1:],
        money=money,
        hours=hours,
        percent=percent,
        utc_minute=utc,
        Purchase=Purchase,
    )
