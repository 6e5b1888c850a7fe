"""Rankings of partition keys as a page. Pure but for reading its template."""

from collections.abc import Sequence

from jobs.consumption.series import Consumption
from jobs.hot_keys.ranking import PARTITION_WCU_PER_S, Ranking
from jobs.pages.render import render


def hot_keys_page(ranked: Sequence[Ranking], notes: Sequence[str], consumption: Consumption) -> str:
    """The HTML of a page with all rankings."""
    near = [(ranking, hot) for ranking in ranked for hot in ranking.top if hot.partition_limit is not None]
    return render(
        "hot_keys.html",
        ranked=ranked,
        near=near,
        busiest="minute" if consumption.is_by_minute else "second",
        partition_wcu_per_s=PARTITION_WCU_PER_S,
        tables=len({ranking.table for ranking in ranked}),
        counts=consumption.counts,
        keys=len(consumption.keys),
        written_wcu=int(consumption.written.wcu.sum()),
        notes=notes,
    )
