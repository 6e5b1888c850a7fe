"""Commitments: what is paid for whether it is used or not, and which instances it can pay for. Pure.

AWS applies Reserved Instances and Savings Plans in this order, each to what those before it have left:

1. zonal Reserved Instances, to the very type in the very zone;
2. regional ones, to the very type in any zone; those of Linux/UNIX with default tenancy to all sizes of the family, by
   normalization factors, the smallest size first;
3. EC2 Instance Savings Plans, to their family in their Region, by their rate for each type;
4. Compute Savings Plans, to any type; also to Fargate, Lambda and other Regions, which nothing here sees.

Sources: EC2 User Guide, apply_ri; Savings Plans User Guide, sp-applying: all plans of a kind together, to the highest
saving beside On-Demand first, of equal ones to the lowest rate first.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Final

from connectors.spot_facts import DEFAULT_PLATFORM
from lambdas.spot.fleet import SHARED_TENANCY, Instance
from lambdas.spot.instance_size import family_of, is_size_flexible, normalization_factor

WHOLE: Final = Fraction(1)
_FIRST: Final = (Fraction(0), Fraction(0))

OnDemandPrice = Callable[[str, str], Decimal | None]
"""What an hour of a type and a platform costs On-Demand, if it is known."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Reserved Instances of one kind; `zone` is None where they hold in the whole Region."""

    instance_type: str
    platform: str
    zone: str | None
    count: int
    tenancy: str = SHARED_TENANCY


class PlanKind(StrEnum):
    """The Savings Plans that pay for EC2, as AWS names them."""

    EC2_INSTANCE = "EC2Instance"
    COMPUTE = "Compute"


@dataclass(frozen=True, slots=True)
class SavingsPlan:
    """A Savings Plan.

    Attributes:
        per_hour: the commitment; of a Compute Savings Plan, as much of it as this Region's instances may use.
        family: the instance family of an EC2 Instance Savings Plan, None for a Compute Savings Plan.
        region: the Region of an EC2 Instance Savings Plan, None for a Compute Savings Plan.
        rates: what an hour of a type and a platform with shared tenancy takes of the commitment in our Region.
        currency: that of commitment and rates.
    """

    plan_id: str
    kind: PlanKind
    per_hour: Decimal
    family: str | None = None
    region: str | None = None
    rates: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    currency: str = "USD"

    def usable(self, compute_percent: int) -> "SavingsPlan":
        """The same, of a Compute Savings Plan only as much as Fargate, Lambda and other Regions leave."""
        if self.kind is not PlanKind.COMPUTE:
            return self
        return replace(self, per_hour=self.per_hour * compute_percent / 100)


@dataclass(frozen=True, slots=True)
class Commitment:
    """Something paid for that covers instances until it is used up.

    Attributes:
        name: for people.
        amount: how much there is of it, in `unit`.
        left: how much of it no running instance uses.
        needs: how much of it an instance takes, None if it does not cover that instance.
        order: which of the instances that it covers come first; the least do.
    """

    name: str
    unit: str
    amount: Fraction
    left: Fraction
    needs: Callable[[Instance], Fraction | None] = field(repr=False, compare=False)
    order: Callable[[Instance], tuple[Fraction, Fraction]] = field(repr=False, compare=False)

    def told(self) -> str:
        """How much of it is used, as people read it."""
        used, left = _shown(self.amount - self.left), _shown(self.left)
        return f"{self.name}: {_shown(self.amount)} {self.unit} paid for, {used} used, {left} free"


def commitments_of(
    reservations: Iterable[Reservation], plans: Iterable[SavingsPlan], on_demand: OnDemandPrice
) -> list[Commitment]:
    """All that is paid for, in the order in which AWS applies it.

    Args:
        reservations: Active Reserved Instances.
        plans: Active Savings Plans.
        on_demand: On-Demand prices, which the order of Savings Plans goes by. A type without one comes last.
    """
    return [*_reserved(reservations), *_planned(plans, on_demand)]


def _reserved(reservations: Iterable[Reservation]) -> list[Commitment]:
    zonal: dict[Reservation, int] = {}
    exact: dict[Reservation, int] = {}
    flexible: dict[tuple[str, str], Fraction] = {}
    for one in reservations:
        kind = Reservation(one.instance_type, one.platform, one.zone, 0, one.tenancy)
        if one.zone is not None:
            zonal[kind] = zonal.get(kind, 0) + one.count
        elif _is_flexible(one):
            family = (family_of(one.instance_type), one.platform)
            flexible[family] = flexible.get(family, Fraction(0)) + one.count * _factor(one.instance_type)
        else:
            exact[kind] = exact.get(kind, 0) + one.count
    return [
        *(_of_type(kind, count) for kind, count in sorted(zonal.items(), key=_by_kind)),
        *(_of_type(kind, count) for kind, count in sorted(exact.items(), key=_by_kind)),
        *(_of_family(family, platform, units) for (family, platform), units in sorted(flexible.items())),
    ]


def _by_kind(item: tuple[Reservation, int]) -> tuple[str, str, str, str]:
    kind = item[0]
    return kind.zone or "", kind.instance_type, kind.platform, kind.tenancy


def _is_flexible(one: Reservation) -> bool:
    return one.platform == DEFAULT_PLATFORM and one.tenancy == SHARED_TENANCY and is_size_flexible(one.instance_type)


def _factor(instance_type: str) -> Fraction:
    return normalization_factor(instance_type) or Fraction(0)


def _of_type(kind: Reservation, count: int) -> Commitment:
    def needs(instance: Instance) -> Fraction | None:
        fits = (
            instance.instance_type == kind.instance_type
            and instance.platform == kind.platform
            and instance.tenancy == kind.tenancy
            and kind.zone in (None, instance.zone)
        )
        return WHOLE if fits else None

    name = f"Reserved Instances of {kind.instance_type} in {kind.zone or 'the Region'}"
    return Commitment(name, "instances", Fraction(count), Fraction(count), needs, lambda _instance: _FIRST)


def _of_family(family: str, platform: str, units: Fraction) -> Commitment:
    def needs(instance: Instance) -> Fraction | None:
        fits = (
            family_of(instance.instance_type) == family
            and instance.platform == platform
            and instance.tenancy == SHARED_TENANCY
        )
        return normalization_factor(instance.instance_type) if fits else None

    name = f"Reserved Instances of the family {family} in the Region"
    return Commitment(name, "normalized units", units, units, needs, lambda one: (_factor(one.instance_type), WHOLE))


def _planned(plans: Iterable[SavingsPlan], on_demand: OnDemandPrice) -> list[Commitment]:
    """Those of a kind that have the same rates are one, as AWS applies them together."""
    kinds = list(PlanKind)
    plans = sorted(plans, key=lambda plan: (kinds.index(plan.kind), plan.plan_id))
    together: dict[tuple[PlanKind, frozenset[tuple[tuple[str, str], Decimal]]], list[SavingsPlan]] = {}
    for plan in plans:
        together.setdefault((plan.kind, frozenset(plan.rates.items())), []).append(plan)
    return [_of_plans(same, on_demand) for same in together.values()]


def _of_plans(plans: list[SavingsPlan], on_demand: OnDemandPrice) -> Commitment:
    first = plans[0]

    def needs(instance: Instance) -> Fraction | None:
        if first.family not in (None, family_of(instance.instance_type)) or instance.tenancy != SHARED_TENANCY:
            return None
        rate = first.rates.get((instance.instance_type, instance.platform))
        return None if rate is None else Fraction(rate)

    def order(instance: Instance) -> tuple[Fraction, Fraction]:
        rate = needs(instance) or Fraction(0)
        price = on_demand(instance.instance_type, instance.platform)
        return (rate / Fraction(price) if price else WHOLE), rate

    what = "Compute Savings Plan" if first.kind is PlanKind.COMPUTE else f"EC2 Instance Savings Plan of {first.family}"
    name = f"{what} {', '.join(plan.plan_id for plan in plans)}"
    amount = sum((Fraction(plan.per_hour) for plan in plans), Fraction(0))
    return Commitment(name, f"{first.currency} an hour", amount, amount, needs, order)


def _shown(amount: Fraction) -> str:
    return f"{float(amount):.4f}".rstrip("0").rstrip(".")
