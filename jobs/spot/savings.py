"""Savings: what the instance hours of a fleet cost, what they would have cost, and what interruptions cost. Pure.

- Hours are those in which an instance ran, whoever needed it.
- What they would have cost is the On-Demand price of the same hours, of the type that the group had in that place at
  first: a larger one is launched only where it costs less. Hours in which an interrupted instance and its replacement
  ran side by side are left out: nobody replaces an On-Demand Instance.
- An interrupted instance is taken to be replaced by the next launch of its group within half an hour of the warning,
  each launch for one of them.
- An interruption costs the hours side by side, and the hours that an On-Demand replacement runs, by as much as Spot
  hours of the lost pool cost less. What EC2 does not charge for is its gain: a Spot Instance that EC2 interrupts in its
  first hour is free, but for Red Hat and SUSE Linux.
  Source: EC2 User Guide, billing-for-interrupted-spot-instances.
- Hours without a price in the file are told, and count nowhere else.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from connectors.prices import HOUR_MS, NOTHING_PRICED, Priced, Prices
from connectors.spot_facts import Purchase
from jobs.settings.durations import DAY_MS, MINUTE_MS
from jobs.spot.lives import Life, Lives, Run

REPLACED_WITHIN_MS: Final = 30 * MINUTE_MS
_CHARGED_AT_ONCE: Final = ("Red Hat", "SUSE")
NOTHING: Final = Decimal(0)

_MOST_BUCKETS: Final = 96
_BUCKETS_MS: Final = (HOUR_MS, 6 * HOUR_MS, DAY_MS, 7 * DAY_MS, 28 * DAY_MS, 364 * DAY_MS)


@dataclass(frozen=True, slots=True)
class Interruption:
    """An interruption of a Spot Instance, and what it came to.

    Attributes:
        replacement: the instance that took its place; None where none did in time.
        gap_ms: how long its place was empty.
        side_by_side: what the replacement cost while the interrupted instance still ran.
        on_demand_extra: what the replacement cost more than Spot hours of the lost pool.
        not_charged: what EC2 did not charge for the interrupted instance.
    """

    life: Life
    at_ms: int
    replacement: Life | None
    gap_ms: int
    side_by_side: Decimal
    on_demand_extra: Decimal
    not_charged: Decimal

    @property
    def cost(self) -> Decimal:
        """What it cost in all; below zero where EC2 charged less than it cost."""
        return self.side_by_side + self.on_demand_extra - self.not_charged


@dataclass(slots=True)
class Sums:
    """What the instances of a group, or all of them, come to.

    Attributes:
        hours_ms: by way of paying, all hours.
        cost: by way of paying, of the hours that have a price.
        on_demand: what these hours would have cost On-Demand.
        unpriced_ms: hours without a price.
    """

    hours_ms: dict[Purchase, int] = field(default_factory=lambda: dict.fromkeys(Purchase, 0))
    cost: dict[Purchase, Decimal] = field(default_factory=lambda: dict.fromkeys(Purchase, NOTHING))
    on_demand: Decimal = NOTHING
    unpriced_ms: int = 0
    interruptions: list[Interruption] = field(default_factory=list)

    @property
    def total_cost(self) -> Decimal:
        """What all hours with a price cost."""
        return sum(self.cost.values(), NOTHING)

    @property
    def saved(self) -> Decimal:
        """How much less that is than On-Demand."""
        return self.on_demand - self.total_cost

    @property
    def saved_share(self) -> Decimal | None:
        """That as a part of what On-Demand would have cost; None where that is nothing."""
        return self.saved / self.on_demand if self.on_demand else None

    @property
    def interruption_cost(self) -> Decimal:
        """What interruptions cost; it is part of the cost."""
        return sum((each.cost for each in self.interruptions), NOTHING)

    @property
    def gap_ms(self) -> int:
        """How long places were empty."""
        return sum(each.gap_ms for each in self.interruptions)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a stretch of the report comes to; the first and the last may be cut short.

    Attributes:
        hours_ms: instance hours, by way of paying.
        cost: of those with a price.
        on_demand: what these would have cost On-Demand.
    """

    start_ms: int
    end_ms: int
    hours_ms: dict[Purchase, int]
    cost: Decimal
    on_demand: Decimal


@dataclass(frozen=True, slots=True)
class Savings:
    """The report.

    Attributes:
        groups: by name, in order; None for instances of no group, last.
        buckets: instance hours over time.
        unknown: instances that events name and no scan saw.
    """

    currency: str
    start_ms: int
    end_ms: int
    total: Sums
    groups: dict[str | None, Sums]
    buckets: tuple[Bucket, ...]
    bucket_ms: int
    unknown: int


def savings(lives: Lives, prices: Prices) -> Savings:
    """What the lives of some instances come to at some prices."""
    groups: dict[str | None, Sums] = defaultdict(Sums)
    total = Sums()
    for life in lives.lives:
        for sums in (groups[life.group], total):
            _add(sums, life, prices)
    for interruption in _interruptions(lives.lives, prices):
        for sums in (groups[interruption.life.group], total):
            sums.interruptions.append(interruption)
            sums.cost[Purchase.SPOT] -= interruption.not_charged
            sums.on_demand -= _on_demand_side_by_side(interruption, prices)
    bucket_ms = _bucket_ms(lives.end_ms - lives.start_ms)
    return Savings(
        currency=prices.currency,
        start_ms=lives.start_ms,
        end_ms=lives.end_ms,
        total=total,
        groups=dict(sorted(groups.items(), key=lambda group: (group[0] is None, group[0] or ""))),
        buckets=_buckets(lives, prices, bucket_ms),
        bucket_ms=bucket_ms,
        unknown=lives.unknown,
    )


def _add(sums: Sums, life: Life, prices: Prices) -> None:
    for run in life.runs:
        _add_run(sums, life, run, prices)


def _add_run(sums: Sums, life: Life, run: Run, prices: Prices) -> None:
    lasted_ms = run.end_ms - run.start_ms
    sums.hours_ms[run.purchase] += lasted_ms
    cost, on_demand = _cost(life, run, prices), _on_demand(life, prices)
    if on_demand is None:
        sums.unpriced_ms += lasted_ms
        return
    # Both or neither: hours that have only one of the prices would make up a loss or a saving.
    sums.cost[run.purchase] += cost.amount
    sums.on_demand += on_demand * cost.priced_ms / HOUR_MS
    sums.unpriced_ms += lasted_ms - cost.priced_ms


def _cost(life: Life, run: Run, prices: Prices) -> Priced:
    if run.purchase is Purchase.SPOT:
        return _spot_cost(life, run.start_ms, run.end_ms, prices)
    about = {"region": life.region, "instance_type": life.instance_type, "platform": life.platform}
    per_hour = prices.covered(**about) if run.purchase is Purchase.COVERED else prices.on_demand(**about)
    lasted_ms = run.end_ms - run.start_ms
    return NOTHING_PRICED if per_hour is None else Priced(per_hour * lasted_ms / HOUR_MS, lasted_ms)


def _spot_cost(life: Life, start_ms: int, end_ms: int, prices: Prices) -> Priced:
    return prices.spot_cost(
        zone=life.zone, instance_type=life.instance_type, platform=life.platform, start_ms=start_ms, end_ms=end_ms
    )


def _on_demand(life: Life, prices: Prices) -> Decimal | None:
    return prices.on_demand(region=life.region, instance_type=life.stands_for, platform=life.platform)


def _interruptions(lives: Sequence[Life], prices: Prices) -> list[Interruption]:
    launched: dict[str, list[Life]] = defaultdict(list)
    for life in sorted(lives, key=lambda life: (life.launched_at_ms, life.instance_id)):
        if life.group is not None:
            launched[life.group].append(life)
    warned = [(life.warned_at_ms, life.instance_id, life) for life in lives if life.warned_at_ms is not None]
    taken: set[str] = set()
    found = []
    for at_ms, _, life in sorted(warned, key=lambda each: each[:2]):
        candidates = launched[life.group] if life.group is not None else []
        replacement = next((each for each in candidates if _replaces(each, at_ms, taken)), None)
        if replacement is not None:
            taken.add(replacement.instance_id)
        found.append(_interruption(life, at_ms, replacement, prices))
    return found


def _replaces(life: Life, warned_at_ms: int, taken: set[str]) -> bool:
    in_time = 0 <= life.launched_at_ms - warned_at_ms <= REPLACED_WITHIN_MS
    return in_time and life.instance_id not in taken


def _interruption(life: Life, at_ms: int, replacement: Life | None, prices: Prices) -> Interruption:
    side_by_side = on_demand_extra = NOTHING
    gap_ms = 0
    if replacement is not None and life.ended_at_ms is not None:
        gap_ms = max(0, replacement.launched_at_ms - life.ended_at_ms)
        for run in replacement.runs:
            together = _cut(run, end_ms=life.ended_at_ms)
            alone = _cut(run, start_ms=life.ended_at_ms)
            side_by_side += _cost(replacement, together, prices).amount
            if run.purchase is Purchase.ON_DEMAND:
                spot = _spot_cost(life, alone.start_ms, alone.end_ms, prices)
                paid = _cost(replacement, alone, prices)
                if spot.priced_ms == paid.priced_ms:
                    on_demand_extra += paid.amount - spot.amount
    return Interruption(life, at_ms, replacement, gap_ms, side_by_side, on_demand_extra, _not_charged(life, prices))


def _cut(run: Run, *, start_ms: int | None = None, end_ms: int | None = None) -> Run:
    """The part of a run from a time on or until a time; empty where there is none."""
    start_ms = run.start_ms if start_ms is None else max(run.start_ms, start_ms)
    end_ms = run.end_ms if end_ms is None else min(run.end_ms, end_ms)
    return Run(start_ms, max(start_ms, end_ms), run.purchase)


def _not_charged(life: Life, prices: Prices) -> Decimal:
    if life.ended_at_ms is None or life.ended_at_ms - life.launched_at_ms >= HOUR_MS:
        return NOTHING
    if any(name in life.platform for name in _CHARGED_AT_ONCE):
        return NOTHING
    return sum((_cost(life, run, prices).amount for run in life.runs if run.purchase is Purchase.SPOT), NOTHING)


def _on_demand_side_by_side(interruption: Interruption, prices: Prices) -> Decimal:
    """What On-Demand hours of the replacement cost while both ran: hours that nobody would have needed."""
    replacement, ended_at_ms = interruption.replacement, interruption.life.ended_at_ms
    per_hour = None if replacement is None else _on_demand(replacement, prices)
    if replacement is None or ended_at_ms is None or per_hour is None:
        return NOTHING
    together = (_cut(run, end_ms=ended_at_ms) for run in replacement.runs)
    return sum((per_hour * _cost(replacement, run, prices).priced_ms / HOUR_MS for run in together), NOTHING)


def _bucket_ms(length_ms: int) -> int:
    """A length of which so few make up the report that each can be seen."""
    return next((each_ms for each_ms in _BUCKETS_MS if length_ms <= _MOST_BUCKETS * each_ms), _BUCKETS_MS[-1])


def _buckets(lives: Lives, prices: Prices, bucket_ms: int) -> tuple[Bucket, ...]:
    first = lives.start_ms // bucket_ms
    sums = [Sums() for _ in range(max(0, -(-lives.end_ms // bucket_ms) - first))]
    for life in lives.lives:
        for run in life.runs:
            for number in range(run.start_ms // bucket_ms, -(-run.end_ms // bucket_ms)):
                part = _cut(run, start_ms=number * bucket_ms, end_ms=(number + 1) * bucket_ms)
                _add_run(sums[number - first], life, part, prices)
    return tuple(
        Bucket(
            max(lives.start_ms, (first + number) * bucket_ms),
            min(lives.end_ms, (first + number + 1) * bucket_ms),
            each.hours_ms,
            each.total_cost,
            each.on_demand,
        )
        for number, each in enumerate(sums)
    )
