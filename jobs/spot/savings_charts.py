"""The charts of a savings report, as shapes in the units of their pictures. Pure."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from connectors.prices import HOUR_MS
from connectors.spot_facts import Purchase
from jobs.spot.savings import Bucket, Savings
from jobs.spot.savings_text import NO_GROUP, money, utc

WIDTH: Final = 420
HEIGHT: Final = 220
LEFT: Final = 40
RIGHT: Final = 6
TOP: Final = 10
BOTTOM: Final = 24
ROW: Final = 34

MOST_GROUPS: Final = 12
_MOST_TICKS: Final = 4
_DAY_HOURS: Final = 24

Stack = Iterable[tuple[str, float, str]]
"""What a bar is stacked of from the bottom upwards: the class of the pages' style, the value, and the label."""

# What costs most is on top.
_STYLES: Final = ((Purchase.SPOT, "bar"), (Purchase.COVERED, "lease"), (Purchase.ON_DEMAND, "bar over"))


class Shape(NamedTuple):
    """A part of a bar."""

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


class Chart(NamedTuple):
    """A picture `WIDTH` wide."""

    height: int
    shapes: list[Shape]
    values: list[Tick]
    times: list[Tick]


def instances_chart(report: Savings) -> Chart:
    """How many instances ran on average in each stretch, by how they are paid for."""

    def stack(bucket: Bucket) -> Stack:
        for purchase, style in _STYLES:
            running = bucket.hours_ms[purchase] / (bucket.end_ms - bucket.start_ms)
            yield style, running, f"{utc(bucket.start_ms)}: {running:.1f} {purchase.value}"

    return _over_time(report, stack)


def cost_chart(report: Savings) -> Chart:
    """What an hour cost in each stretch, and above it what is missing to its On-Demand price."""

    def stack(bucket: Bucket) -> Stack:
        lasted_h = (bucket.end_ms - bucket.start_ms) / HOUR_MS
        cost, on_demand = float(bucket.cost) / lasted_h, float(bucket.on_demand) / lasted_h
        label = f"{utc(bucket.start_ms)}: {cost:,.2f} an hour, On-Demand {on_demand:,.2f}"
        return (("bar", cost, label), ("area", max(0.0, on_demand - cost), label))

    return _over_time(report, stack)


def groups_chart(report: Savings) -> Chart:
    """What the groups that cost most cost, and what they would have cost On-Demand: a row for each."""
    dearest = sorted(report.groups.items(), key=lambda group: (-group[1].on_demand, group[0] or ""))[:MOST_GROUPS]
    most = max((float(max(sums.total_cost, sums.on_demand)) for _, sums in dearest), default=0.0) or 1.0
    shapes, names = [], []
    for number, (name, sums) in enumerate(dearest):
        top = number * ROW
        label = f"{money(sums.total_cost)} of {money(sums.on_demand)}"
        names.append(Tick(top + 13, f"{NO_GROUP if name is None else name}: {label}"))
        for style, value in (("area", sums.on_demand), ("bar", sums.total_cost)):
            width = round(max(0.0, float(value)) / most * (WIDTH - RIGHT), 2)
            shapes.append(Shape(style, 0, top + 18, width, 10, label))
    return Chart(max(1, len(dearest)) * ROW, shapes, names, [])


def _over_time(report: Savings, stack: Callable[[Bucket], Stack]) -> Chart:
    stacks = [(bucket, list(stack(bucket))) for bucket in report.buckets if bucket.end_ms > bucket.start_ms]
    highest = max((sum(value for _, value, _ in pieces) for _, pieces in stacks), default=0.0)
    step = _round_step(highest)
    lines = max(1, -int(-highest // step))
    scale = (HEIGHT - TOP - BOTTOM) / (lines * step)
    length_ms = max(1, report.end_ms - report.start_ms)
    shapes = []
    for bucket, pieces in stacks:
        x = _x(bucket.start_ms - report.start_ms, length_ms)
        width = (_x(bucket.end_ms - report.start_ms, length_ms) - x) * 0.86
        base = float(HEIGHT - BOTTOM)
        for style, value, label in pieces:
            base -= value * scale
            if value:
                shapes.append(
                    Shape(style, round(x, 2), round(base, 2), round(width, 2), round(value * scale, 2), label)
                )
    values = [
        Tick(round(HEIGHT - BOTTOM - number * step * scale, 2), f"{number * step:g}") for number in range(lines + 1)
    ]
    return Chart(HEIGHT, shapes, values, _times([bucket for bucket, _ in stacks], report, length_ms))


def _times(buckets: Sequence[Bucket], report: Savings, length_ms: int) -> list[Tick]:
    every = max(1, -(-len(buckets) // _MOST_TICKS))
    by_day = report.bucket_ms >= _DAY_HOURS * HOUR_MS
    return [
        Tick(
            round(_x(bucket.start_ms - report.start_ms, length_ms), 2),
            utc(bucket.start_ms)[:10] if by_day else utc(bucket.start_ms)[5:],
        )
        for bucket in buckets[::every]
    ]


def _x(after_ms: int, length_ms: int) -> float:
    return LEFT + after_ms / length_ms * (WIDTH - LEFT - RIGHT)


def _round_step(highest: float) -> float:
    """A round number of which at most five reach the highest value."""
    step = 0.001
    for factor in _factors():
        step = factor
        if highest <= 5 * step:
            break
    return step


def _factors() -> Iterable[float]:
    for exponent in range(-3, 9):
        for digit in (1, 2, 5):
            yield digit * 10.0**exponent
