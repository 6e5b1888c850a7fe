"""Plan text: a plan as a person reads it, and as a script does. Pure."""

import json
import textwrap
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

from lambdas.spot.plan import GroupPlan
from lambdas.spot.swap import LaunchOption, PlannedSwap

HOURS_A_MONTH: Final = 730

_INDENT: Final = " " * 6
_COLUMNS: Final = "  {sign} {instance:<20} {kind:<14} {purchase:<10} {price:>10}  {reason}"


def lines_of(
    plans: Iterable[GroupPlan], commitments: Iterable[str], currency: str, *, width: int | None = None
) -> Iterator[str]:
    """The plan as a diff: what goes (-), what comes in its place (+), what stays (=), and why.

    Args:
        plans: What is planned for each group.
        commitments: What each commitment pays for.
        currency: That of the prices.
        width: How many columns a line may take, as many as it needs where it is None.
    """
    for line in _lines(list(plans), commitments, currency):
        yield from [line] if width is None or len(line) <= width else _wrapped(line, width)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, width, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)


def _lines(plans: list[GroupPlan], commitments: Iterable[str], currency: str) -> Iterator[str]:
    yield f"- goes, + comes in its place, = stays; prices in {currency} an hour"
    yield ""
    for plan in plans:
        yield from _group_lines(plan, currency)
    yield from commitments
    yield from _summary(plans, currency)


def _group_lines(plan: GroupPlan, currency: str) -> Iterator[str]:
    yield f"{plan.group}: {plan.on_demand} of {plan.desired} On-Demand, at least {plan.least_on_demand} must be"
    for note in plan.notes:
        yield f"  ! {note}"
    if plan.refusal:
        yield f"  = left alone: {plan.refusal}"
    for swap in plan.swaps:
        yield from _swap_lines(swap, currency)
    for kept in plan.kept:
        yield f"  = {kept.instance_id:<20} {kept.reason}"
    yield ""


def _swap_lines(swap: PlannedSwap, currency: str) -> Iterator[str]:
    yield _COLUMNS.format(
        sign="-",
        instance=swap.original_id,
        kind=swap.original_type,
        purchase=swap.original_purchase,
        price=_price(swap.per_hour),
        reason=swap.reason,
    )
    first, *others = swap.options
    yield _COLUMNS.format(
        sign="+",
        instance=f"(new, {swap.zone})",
        kind=first.instance_type,
        purchase=first.purchase,
        price=_price(first.per_hour),
        reason=_saving(swap, currency),
    ).rstrip()
    if others:
        yield f"{_INDENT}or, for want of capacity: {', '.join(map(_option, others))}"


def _summary(plans: list[GroupPlan], currency: str) -> Iterator[str]:
    swaps = [swap for plan in plans for swap in plan.swaps]
    left = sum(plan.refusal is not None for plan in plans)
    yield f"{len(swaps)} to swap in {len({swap.group for swap in swaps})} of {len(plans)} groups; {left} left alone"
    known = [swap.saving_per_hour for swap in swaps if swap.saving_per_hour is not None]
    if known:
        total = sum(known, Decimal(0))
        unknown = f", {len(swaps) - len(known)} of unknown price not counted" if len(known) < len(swaps) else ""
        what, amount = ("saving", total) if total >= 0 else ("to cost more", -total)
        yield f"Expected {what}: {amount:.4f} {currency} an hour, {amount * HOURS_A_MONTH:,.2f} a month{unknown}"


def _price(price: Decimal | None) -> str:
    return "unknown" if price is None else f"{price:.4f}"


def _option(option: LaunchOption) -> str:
    return f"{option.instance_type} {option.purchase} {_price(option.per_hour)}"


def _saving(swap: PlannedSwap, currency: str) -> str:
    saving = swap.saving_per_hour
    if saving is None:
        return ""
    monthly = abs(saving) * HOURS_A_MONTH
    return f"{'saves' if saving >= 0 else 'costs'} {abs(saving):.4f} {currency} an hour, {monthly:,.2f} a month"


def to_json(plans: Iterable[GroupPlan], commitments: Iterable[str], currency: str) -> str:
    """The plan as one JSON object; prices are decimal text, for an hour."""
    plans = list(plans)
    known = [swap.saving_per_hour for plan in plans for swap in plan.swaps if swap.saving_per_hour is not None]
    return json.dumps(
        {
            "version": 1,
            "currency": currency,
            "groups": [_group_json(plan) for plan in plans],
            "commitments": list(commitments),
            "swaps": sum(len(plan.swaps) for plan in plans),
            "saving_per_hour": str(sum(known, Decimal(0))),
        },
        indent=1,
    )


def _group_json(plan: GroupPlan) -> dict[str, Any]:
    return {
        "group": plan.group,
        "desired": plan.desired,
        "on_demand": plan.on_demand,
        "least_on_demand": plan.least_on_demand,
        "left_alone": plan.refusal,
        "notes": list(plan.notes),
        "swaps": [_swap_json(swap) for swap in plan.swaps],
        "kept": [{"instance_id": kept.instance_id, "reason": kept.reason} for kept in plan.kept],
    }


def _swap_json(swap: PlannedSwap) -> dict[str, Any]:
    return {
        "instance_id": swap.original_id,
        "instance_type": swap.original_type,
        "purchase": swap.original_purchase,
        "per_hour": _text(swap.per_hour),
        "purpose": swap.purpose,
        "reason": swap.reason,
        "zone": swap.zone,
        "subnet_id": swap.subnet_id,
        "options": [
            {"instance_type": one.instance_type, "purchase": one.purchase, "per_hour": _text(one.per_hour)}
            for one in swap.options
        ],
        "saving_per_hour": _text(swap.saving_per_hour),
    }


def _text(price: Decimal | None) -> str | None:
    return None if price is None else str(price)
