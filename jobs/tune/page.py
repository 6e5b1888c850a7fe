"""A comparison of settings as a page. Pure but for reading its template."""

from collections.abc import Sequence

from jobs.consumption.series import Consumption
from jobs.pages.render import render
from jobs.settings import Settings
from jobs.tune.cell import Cell
from jobs.tune.suggest import Budget, Suggestion
from jobs.tune.view import (
    LEDGER_NOTE,
    NOTHING,
    REFUSED_NOTE,
    after_note,
    columns_that_vary,
    result_texts,
    suggestion_lines,
)


def tune_page(
    cells: Sequence[Cell],
    suggestions: Sequence[Suggestion],
    budget: Budget,
    settings: Settings,
    consumption: Consumption,
) -> str:
    """The HTML of a page with all cells, and with what is suggested."""
    varying = columns_that_vary(cells)
    written_wcu = int(consumption.written.wcu.sum())
    rows = [
        {
            "now": cell.settings == settings,
            "varying": [texts[at] for _, texts in varying],
            "results": result_texts(cell, written_wcu),
        }
        for at, cell in enumerate(cells)
    ]
    return render(
        "tune.html",
        counts=consumption.counts,
        keys=len(consumption.keys),
        suggestions=[suggestion_lines(each, budget, consumption) for each in suggestions],
        varying=[heading for heading, _ in varying],
        rows=rows,
        has_now=any(row["now"] for row in rows),
        nothing=NOTHING,
        what="writes" if consumption.is_by_minute else "changes",
        after=after_note(consumption),
        notes=[
            REFUSED_NOTE,
            *([LEDGER_NOTE.replace("After", '"Suspended after"')] if consumption.is_by_minute else []),
        ],
    )
