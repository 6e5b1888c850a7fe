"""Commitments: which On-Demand Instances Reserved Instances pay for already, and how many more they would. Pure.

A Reserved Instance covers running On-Demand Instances of its type, in its zone or in its Region, whoever runs them.
What it covers costs nothing more, so it stays On-Demand; what it could cover and does not is used before Spot.

Size flexibility within a family and Savings Plans are not counted: a smaller cover than there is, never a larger.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from connectors.ec2.events import InstanceState
from connectors.spot_facts import Purchase
from lambdas.spot.fleet import Instance


@dataclass(frozen=True, slots=True)
class Reservation:
    """Reserved Instances of one kind; `zone` is None where they hold in the whole Region."""

    instance_type: str
    platform: str
    zone: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Cover:
    """What reservations pay for.

    Attributes:
        covered: instances that are paid for, and by what.
        free: how many more instances of a type would be.
    """

    covered: Mapping[str, str]
    free: Mapping[str, int]


def cover(reservations: Iterable[Reservation], instances: Iterable[Instance]) -> Cover:
    """What reservations pay for among all instances of the account, those bound to a zone first, the oldest first."""
    running = sorted(
        (one for one in instances if one.purchase is Purchase.ON_DEMAND and one.state is InstanceState.RUNNING),
        key=lambda one: (one.launched_at_ms, one.instance_id),
    )
    covered: dict[str, str] = {}
    free: Counter[str] = Counter()
    for reservation in sorted(reservations, key=lambda one: (one.zone is None, one.instance_type, one.zone or "")):
        left = reservation.count
        for instance in running:
            if left and instance.instance_id not in covered and _fits(reservation, instance):
                covered[instance.instance_id] = f"a Reserved Instance in {reservation.zone or 'the Region'}"
                left -= 1
        if left and reservation.zone is None:
            free[reservation.instance_type] += left
    return Cover(covered, free)


def _fits(reservation: Reservation, instance: Instance) -> bool:
    return (
        reservation.instance_type == instance.instance_type
        and reservation.platform == instance.platform
        and reservation.zone in (None, instance.zone)
    )
