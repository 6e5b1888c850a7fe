"""What a person or a script sees of a comparison of settings. I/O."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from jobs.consumption.series import SECOND_MS, Consumption
from jobs.settings import Settings
from jobs.settings.durations import format_duration
from jobs.tune.cell import Cell
from jobs.tune.choices import lease_text
from jobs.tune.suggest import Budget, Suggestion
from jobs.view import PLAIN_TABLE, counted, utc

NOTHING = "There is no change in it."
AFTER_NOTE = "from the second in which a total came to its limit to the decision, half of them sooner"
AFTER_NOTE_BY_MINUTE = (
    "from the beginning of the minute in which a total came to its limit to the decision, half of them sooner; where "
    "in that minute it was a ledger does not tell, so it is up to a minute too long"
)
LEDGER_NOTE = (
    "From a ledger, which holds sums of minutes and counts each eventID once. Every figure but After is exact for a "
    "step of whole minutes. A job with a shorter step decides sooner, and where windows hop it can find keys that this "
    "does not."
)
REFUSED_NOTE = (
    "Refused is what was written while a lease of its key ran. Had it been refused, later totals would have been "
    "lower, and some later suspensions would not have come: neither replay nor this models that."
)

_WIDER_THAN_ANY: Final = 1_000
_KNOWN_TO_THE_MINUTE: Final = ("seconds_to_suspend_median", "seconds_to_suspend_max")


def after_note(consumption: Consumption) -> str:
    """What the time until a suspension is."""
    return AFTER_NOTE_BY_MINUTE if consumption.is_by_minute else AFTER_NOTE


def cell_json(cell: Cell, consumption: Consumption) -> dict[str, Any]:
    """A cell as `--format json` tells it; durations as in the settings."""
    window = cell.settings.window
    return {
        "limit_wcu": cell.settings.limits.default_wcu,
        "window": format_duration(window.size_ms),
        "step": format_duration(window.step_ms),
        "kind": window.kind.value,
        "lease": [format_duration(step_ms) for step_ms in cell.settings.lease.steps_ms],
        "suspended_keys": cell.suspended_keys,
        "suspensions": cell.suspensions,
        "extensions": cell.extensions,
        "suspended_ms": cell.suspended_ms,
        "refused_wcu": cell.refused_wcu,
        "refused_writes": cell.refused_writes,
        "near_keys": cell.near_keys,
        "seconds_to_suspend_median": cell.seconds_to_suspend_median,
        "seconds_to_suspend_max": cell.seconds_to_suspend_max,
        "source": "ledger" if consumption.is_by_minute else "recording",
        "known_to_the_minute": list(_KNOWN_TO_THE_MINUTE) if consumption.is_by_minute else [],
        "knock_on_modelled": False,
    }


def suggestion_json(suggestion: Suggestion, budget: Budget, consumption: Consumption) -> dict[str, Any]:
    """A suggestion as `--format json` tells it."""
    distribution = suggestion.distribution
    return {
        "budget": str(budget),
        "suspensions_allowed": round(suggestion.allowed, 3),
        "suggested": None if suggestion.chosen is None else cell_json(suggestion.chosen, consumption),
        "next_lower": None if suggestion.below is None else cell_json(suggestion.below, consumption),
        "keys": distribution.keys,
        "fullest_window_wcu": {f"p{share:g}": wcu for share, wcu in distribution.shares},
        "highest_wcu": distribution.highest_wcu,
    }


def columns_that_vary(cells: Sequence[Cell]) -> list[tuple[str, list[str]]]:
    """The settings in which cells differ, the limit always among them, as headings and texts."""
    windows = [cell.settings.window for cell in cells]
    columns = [
        ("Kind", [window.kind.value for window in windows]),
        ("Window", [format_duration(window.size_ms) for window in windows]),
        ("Step", [format_duration(window.step_ms) for window in windows]),
        ("Lease", [lease_text(cell.settings.lease.steps_ms) for cell in cells]),
    ]
    limits = ("Limit", [f"{cell.settings.limits.default_wcu:,}" for cell in cells])
    return [column for column in columns if len(set(column[1])) > 1] + [limits]


def result_texts(cell: Cell, written_wcu: int) -> list[str]:
    """What is told of a cell, under `RESULT_HEADINGS`."""
    share = cell.refused_wcu / written_wcu if written_wcu else 0
    seconds = cell.seconds_to_suspend_median
    return [
        f"{cell.suspended_keys:,}",
        f"{cell.suspensions:,}",
        format_duration(cell.suspended_ms),
        f"{cell.refused_wcu:,}",
        f"{share:.2%}",
        f"{cell.near_keys:,}",
        "-" if seconds is None else f"{seconds:g} s",
    ]


RESULT_HEADINGS = ("Keys", "Leases", "Suspended", "Refused WCU", "Share", "Just under", "After")


def show_recording(console: Console, consumption: Consumption, settings: Settings) -> None:
    """What was looked at, and with which settings where nothing else is said."""
    counts = consumption.counts
    if counts.first_event_ms is None or counts.last_event_ms is None:
        console.print(NOTHING)
        return
    what = "write" if consumption.is_by_minute else "change"
    console.print(
        f"{counted(counts.changes, what)} of {counted(len(consumption.keys), 'partition key')} in "
        f"{_covered(consumption)}, from {utc(counts.first_event_ms)} UTC",
        highlight=False,
    )
    window, lease = settings.window, settings.lease
    looked = "here looked at" if consumption.is_by_minute else "looked at"
    console.print(
        f"Set now: {settings.limits.default_wcu:,} WCU in {format_duration(window.size_ms)} ({window.kind.value}, "
        f"{looked} every {format_duration(window.step_ms)}), lease {lease_text(lease.steps_ms)}",
        highlight=False,
    )


def show_cells(console: Console, cells: Sequence[Cell], settings: Settings, consumption: Consumption) -> None:
    """The cells as a table; the one with the settings as they are is marked.

    Where the console is too narrow for it there is a table for each window and lease: no figure is ever cut.
    """
    written_wcu = int(consumption.written.wcu.sum())
    *varying, limits = columns_that_vary(cells)
    rows = [
        ["*" if cell.settings == settings else "", limits[1][at], *result_texts(cell, written_wcu)]
        for at, cell in enumerate(cells)
    ]
    apart = [[texts[at] for _, texts in varying] for at in range(len(cells))]
    wide = [[mark, *texts, *rest] for (mark, *rest), texts in zip(rows, apart, strict=True)]
    table = _table(["", *(heading for heading, _ in varying), limits[0], *RESULT_HEADINGS], wide)
    unbounded = console.options.update(max_width=_WIDER_THAN_ANY)
    if not varying or console.measure(table, options=unbounded).maximum <= console.width:
        console.print(table)
    else:
        for texts, group in groupby(zip(apart, rows, strict=True), key=itemgetter(0)):
            said = (f"{heading} {text}" for (heading, _), text in zip(varying, texts, strict=True))
            console.print(", ".join(said), style="bold", highlight=False)
            console.print(_table(["", limits[0], *RESULT_HEADINGS], [row for _, row in group]))
    if any(cell.settings == settings for cell in cells):
        console.print("* as it is set now" + (", but for the step" if consumption.is_by_minute else ""))
    for note in (
        "Leases: suspensions begun. Share: of all WCU written. Just under: keys that came near, not over.",
        f"After: {after_note(consumption)}.",
        REFUSED_NOTE,
        *([LEDGER_NOTE] if consumption.is_by_minute else []),
    ):
        console.print(note, soft_wrap=True)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(**PLAIN_TABLE)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def show_suggestion(console: Console, suggestion: Suggestion, budget: Budget, consumption: Consumption) -> None:
    """A suggested limit, and why."""
    suggested, *reasons = suggestion_lines(suggestion, budget, consumption)
    console.print(suggested, highlight=False, style="bold")
    for reason in reasons:
        console.print(f"  {reason}", highlight=False, soft_wrap=True)


def suggestion_lines(suggestion: Suggestion, budget: Budget, consumption: Consumption) -> list[str]:
    """What is suggested, and why, as sentences."""
    chosen, below, spread = suggestion.chosen, suggestion.below, suggestion.distribution
    if not spread.keys:
        return ["Nothing to suggest: no write in the recording consumed anything."]
    allowed = f"{suggestion.allowed:,.2f}".rstrip("0").rstrip(".")
    allows = f"a budget of {budget} allows {allowed} in {_covered(consumption)}"
    if chosen is None:
        lines = [f"No default limit keeps to the budget, for limits.rules alone suspend more: {allows}."]
    else:
        window, lease = chosen.settings.window, chosen.settings.lease
        lines = [
            f"Suggested: {chosen.settings.limits.default_wcu:,} WCU in {format_duration(window.size_ms)} "
            f"({window.kind.value}, lease {lease_text(lease.steps_ms)})",
            f"It would have begun {_suspensions(chosen)}; {allows}.",
        ]
        if below is not None:
            limit_wcu = below.settings.limits.default_wcu
            lines.append(f"The next lower round limit, {limit_wcu:,}, would have begun {_suspensions(below)}.")
    shares = ", ".join(f"{share:g} % stay at or below {wcu:,}" for share, wcu in spread.shares)
    lines.append(f"Of {counted(spread.keys, 'partition key')}, in their fullest windows, {shares}.")
    lines.append(f"The highest is {spread.highest_wcu:,}.")
    if suggestion.allowed < 1:
        lines.append("The recording is so short that the budget allows none in it: a longer one says more.")
    return lines


def _covered(consumption: Consumption) -> str:
    """The time that the recording covers, to the second."""
    return format_duration(max(SECOND_MS, consumption.covered_ms // SECOND_MS * SECOND_MS))


def _suspensions(cell: Cell) -> str:
    return f"{counted(cell.suspensions, 'suspension')} of {counted(cell.suspended_keys, 'key')}"
