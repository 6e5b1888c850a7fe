"""A savings report as a table for a terminal, and as JSON. Pure but for the console it prints to."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from connectors.prices import HOUR_MS
from connectors.spot_facts import Purchase
from jobs.spot.savings import Interruption, Savings, Sums

NO_GROUP: Final = "(in no group)"
VERSION: Final = 1

_FINEST: Final = Decimal("0.0001")


def show_savings(report: Savings, console: Console) -> None:
    """Print a report."""
    title = f"{utc(report.start_ms)} to {utc(report.end_ms)} UTC, amounts in {report.currency}"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("Group", overflow="fold")
    for heading in ("Spot h", "OD h", "Cov. h", "Cost", "As OD", "Saved", "%", "Intr."):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, sums in report.groups.items():
        table.add_row(escape(NO_GROUP if name is None else name), *_cells(sums))
    table.add_section()
    table.add_row("All", *_cells(report.total), style="bold")
    console.print(table)
    for note in notes(report):
        console.print(note, highlight=False, markup=False)


def notes(report: Savings) -> list[str]:
    """What a reader must know beside the figures."""
    total = report.total
    told = [
        "h: instance hours; OD: On-Demand; Cov.: covered by Reserved Instances or Savings Plans; As OD: what the same "
        "hours would have cost On-Demand, of the type that the group had there at first; Intr.: interruptions."
    ]
    if total.interruptions:
        count = len(total.interruptions)
        alone = sum(each.replacement is None for each in total.interruptions)
        told.append(
            f"{count:,} interruption{'s' * (count != 1)} cost {money(total.interruption_cost)} {report.currency}, "
            f"which is part of the cost; places were empty for {hours(total.gap_ms)} h"
            + (f"; {alone:,} had no replacement within half an hour." if alone else ".")
        )
    if total.unpriced_ms:
        told.append(
            f"Instance hours without a price in the file, which count in no amount: {hours(total.unpriced_ms)}."
        )
    if report.unknown:
        told.append(f"Instances that no scan saw, and whose cost is not known or counted: {report.unknown:,}.")
    return told


def to_json(report: Savings) -> str:
    """A report as a JSON object; amounts are text, to a hundredth of a cent, and hours are numbers."""
    document = {
        "version": VERSION,
        "currency": report.currency,
        "start_ms": report.start_ms,
        "end_ms": report.end_ms,
        "total": _fields(report.total),
        "groups": [{"group": name, **_fields(sums)} for name, sums in report.groups.items()],
        "over_time": [
            {
                "start_ms": bucket.start_ms,
                "end_ms": bucket.end_ms,
                **_hours_fields(bucket.hours_ms),
                "cost": _amount(bucket.cost),
                "on_demand_would_cost": _amount(bucket.on_demand),
            }
            for bucket in report.buckets
        ],
        "interruptions": [_interruption_fields(each) for each in report.total.interruptions],
        "instances_without_facts": report.unknown,
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def money(amount: Decimal) -> str:
    """An amount to the cent, with thousands parted."""
    return f"{amount:,.2f}"


def hours(duration_ms: int) -> str:
    """Hours to a tenth, with thousands parted."""
    return f"{duration_ms / HOUR_MS:,.1f}"


def percent(share: Decimal | None) -> str:
    """A share in percent; a dash where there is none."""
    return "-" if share is None else f"{share:.0%}"


def utc(at_ms: int) -> str:
    """A time in UTC, to the minute."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _cells(sums: Sums) -> list[str]:
    return [
        hours(sums.hours_ms[Purchase.SPOT]),
        hours(sums.hours_ms[Purchase.ON_DEMAND]),
        hours(sums.hours_ms[Purchase.COVERED]),
        money(sums.total_cost),
        money(sums.on_demand),
        money(sums.saved),
        percent(sums.saved_share),
        f"{len(sums.interruptions):,}",
    ]


def _fields(sums: Sums) -> dict[str, Any]:
    return {
        **_hours_fields(sums.hours_ms),
        **{f"{_name(purchase)}_cost": _amount(sums.cost[purchase]) for purchase in Purchase},
        "cost": _amount(sums.total_cost),
        "on_demand_would_cost": _amount(sums.on_demand),
        "saved": _amount(sums.saved),
        "saved_percent": None if sums.saved_share is None else round(float(sums.saved_share) * 100, 2),
        "unpriced_hours": round(sums.unpriced_ms / HOUR_MS, 4),
        "interruptions": len(sums.interruptions),
        "interruption_cost": _amount(sums.interruption_cost),
        "gap_s": sums.gap_ms / 1000,
    }


def _hours_fields(hours_ms: dict[Purchase, int]) -> dict[str, float]:
    return {f"{_name(purchase)}_hours": round(hours_ms[purchase] / HOUR_MS, 4) for purchase in Purchase}


def _interruption_fields(each: Interruption) -> dict[str, Any]:
    return {
        "instance_id": each.life.instance_id,
        "group": each.life.group,
        "instance_type": each.life.instance_type,
        "zone": each.life.zone,
        "at_ms": each.at_ms,
        "replacement": None if each.replacement is None else each.replacement.instance_id,
        "replacement_purchase": None if each.replacement is None else each.replacement.purchase,
        "gap_s": each.gap_ms / 1000,
        "side_by_side_cost": _amount(each.side_by_side),
        "on_demand_extra_cost": _amount(each.on_demand_extra),
        "not_charged": _amount(each.not_charged),
        "cost": _amount(each.cost),
    }


def _name(purchase: Purchase) -> str:
    return purchase.value.replace("-", "_")


def _amount(amount: Decimal) -> str:
    return f"{amount.quantize(_FINEST):f}"
