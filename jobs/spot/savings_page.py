"""A savings report as a page: self-contained, with charts. Pure but for the templates it reads."""

from typing import Final, NamedTuple

from connectors.spot_facts import Purchase
from jobs.pages.render import render
from jobs.settings.durations import HOUR_MS
from jobs.spot.savings import NOTHING, Savings, Sums
from jobs.spot.savings_text import NO_GROUP, hours, money, notes, percent, utc

WIDTH: Final = 720
HEIGHT: Final = 220
LEFT: Final = 44
BOTTOM: Final = 24
TOP: Final = 10
_BAR_WIDTH: Final = 1_000
_MOST_TICKS: Final = 8

# From the bottom of a bar upwards, each with its class of the pages' style.
_STACKED: Final = ((Purchase.SPOT, "bar"), (Purchase.COVERED, "lease"), (Purchase.ON_DEMAND, "bar over"))


class Piece(NamedTuple):
    """A part of a bar, in the units of its chart."""

    style: str
    x: float
    y: float
    width: float
    height: float
    label: str


class Tick(NamedTuple):
    """A mark on an axis."""

    at: float
    label: str


class GroupRow(NamedTuple):
    """A group, its figures as text, and the length of its two bars."""

    name: str
    sums: Sums
    cost_length: float
    on_demand_length: float


def savings_page(report: Savings) -> str:
    """The page of a report."""
    pieces, values = _hours_chart(report)
    return render(
        "savings.html",
        report=report,
        total=report.total,
        groups=_group_rows(report),
        pieces=pieces,
        values=values,
        times=_time_ticks(report),
        bucket="hour" if report.bucket_ms == HOUR_MS else f"{report.bucket_ms // HOUR_MS} hours",
        notes=notes(report)[1:],
        chart={"WIDTH": WIDTH, "HEIGHT": HEIGHT, "LEFT": LEFT, "BOTTOM": BOTTOM, "TOP": TOP, "BAR_WIDTH": _BAR_WIDTH},
        money=money,
        hours=hours,
        percent=percent,
        utc_minute=utc,
        Purchase=Purchase,
    )


def _group_rows(report: Savings) -> list[GroupRow]:
    most = max((max(sums.total_cost, sums.on_demand) for sums in report.groups.values()), default=NOTHING)
    scale = float(_BAR_WIDTH / most) if most else 0.0
    return [
        GroupRow(
            NO_GROUP if name is None else name,
            sums,
            round(max(0.0, float(sums.total_cost)) * scale, 1),
            round(max(0.0, float(sums.on_demand)) * scale, 1),
        )
        for name, sums in report.groups.items()
    ]


def _hours_chart(report: Savings) -> tuple[list[Piece], list[Tick]]:
    """The average of instances that run at a time, by way of paying, bucket by bucket."""
    highest = max((sum(bucket.hours_ms.values()) for bucket in report.buckets), default=0) / report.bucket_ms
    step = _nice_step(highest)
    top = max(step, -(-highest // step) * step)
    scale = (HEIGHT - TOP - BOTTOM) / top
    width = (WIDTH - LEFT) / max(1, len(report.buckets))
    pieces = []
    for number, bucket in enumerate(report.buckets):
        base = float(HEIGHT - BOTTOM)
        for purchase, style in _STACKED:
            running = bucket.hours_ms[purchase] / report.bucket_ms
            if running:
                height = running * scale
                base -= height
                label = f"{utc(bucket.start_ms)}: {running:.1f} instances {purchase.value}"
                x = LEFT + number * width
                pieces.append(
                    Piece(style, round(x, 2), round(base, 2), round(width * 0.86, 2), round(height, 2), label)
                )
    values = [
        Tick(round(HEIGHT - BOTTOM - value * scale, 2), f"{value:g}")
        for value in (step * number for number in range(int(top / step) + 1))
    ]
    return pieces, values


def _nice_step(highest: float) -> float:
    """A round number of which a few reach the highest value."""
    step = 1.0
    while highest / step > 5:
        step *= 2.5 if str(step)[0] == "2" else 2
    return step


def _time_ticks(report: Savings) -> list[Tick]:
    count = len(report.buckets)
    every = max(1, -(-count // _MOST_TICKS))
    width = (WIDTH - LEFT) / max(1, count)
    by_hour = report.bucket_ms < 24 * HOUR_MS
    return [
        Tick(round(LEFT + number * width, 2), utc(bucket.start_ms)[5:] if by_hour else utc(bucket.start_ms)[:10])
        for number, bucket in enumerate(report.buckets)
        if number % every == 0
    ]
