"""Cover: which On-Demand Instances are paid for already, and how many more would be. Pure.

An On-Demand Instance that commitments cover in full, one of them or several in part, costs nothing more, so it stays;
what they could cover and do not is used before Spot.

Only what this account runs in this Region is known. What other accounts of an organization use of a commitment is not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from connectors.ec2.events import InstanceState
from connectors.spot_facts import Purchase
from lambdas.spot.commitments import WHOLE, Commitment, OnDemandPrice, Reservation, SavingsPlan, commitments_of
from lambdas.spot.fleet import Instance


@dataclass(frozen=True, slots=True)
class FreeCover:
    """What commitments would pay for in addition."""

    commitments: tuple[Commitment, ...] = ()

    def after(self, instance: Instance) -> "FreeCover | None":
        """What is left if this instance were On-Demand too; None if it would not be covered in full."""
        uncovered = WHOLE
        rest = []
        for commitment in self.commitments:
            share, after = _applied(commitment, instance, uncovered)
            uncovered -= share
            rest.append(after)
        return FreeCover(tuple(rest)) if uncovered == 0 else None

    def covers(self, instance: Instance) -> str | None:
        """What would pay for this instance in full, None if nothing would."""
        after = self.after(instance)
        if after is None:
            return None
        return _joined(old.name for old, new in zip(self.commitments, after.commitments, strict=True) if old != new)


@dataclass(frozen=True, slots=True)
class Cover:
    """What commitments pay for.

    Attributes:
        covered: instances that are paid for in full, and by what.
        free: what more would be.
        told: how much of each commitment is used, for people.
    """

    covered: Mapping[str, str] = field(default_factory=dict)
    free: FreeCover = FreeCover()
    told: tuple[str, ...] = ()


def cover(
    reservations: Iterable[Reservation],
    plans: Iterable[SavingsPlan],
    instances: Iterable[Instance],
    on_demand: OnDemandPrice,
) -> Cover:
    """What commitments pay for among all instances of the account in its Region; of equal ones the oldest first.

    Args:
        reservations: Active Reserved Instances.
        plans: Active Savings Plans.
        instances: What runs.
        on_demand: On-Demand prices, which the order of Savings Plans goes by.
    """
    running = sorted(
        (one for one in instances if one.purchase is Purchase.ON_DEMAND and one.state is InstanceState.RUNNING),
        key=lambda one: (one.launched_at_ms, one.instance_id),
    )
    uncovered = {one.instance_id: WHOLE for one in running}
    by: dict[str, list[str]] = {one.instance_id: [] for one in running}
    after: list[Commitment] = []
    for commitment in commitments_of(reservations, plans, on_demand):
        for instance in sorted(filter(commitment.needs, running), key=commitment.order):
            share, commitment = _applied(commitment, instance, uncovered[instance.instance_id])
            if share:
                uncovered[instance.instance_id] -= share
                by[instance.instance_id].append(commitment.name)
        after.append(commitment)
    return Cover(
        {name: _joined(by[name]) for name, left in uncovered.items() if left == 0},
        FreeCover(tuple(after)),
        tuple(commitment.told() for commitment in after),
    )


def _applied(commitment: Commitment, instance: Instance, uncovered: Fraction) -> tuple[Fraction, Commitment]:
    """Which share of an instance a commitment covers, and what is left of it."""
    need = commitment.needs(instance)
    if not need:
        return Fraction(0), commitment
    share = min(uncovered, commitment.left / need)
    return share, replace(commitment, left=commitment.left - share * need)


def _joined(names: Iterable[str]) -> str:
    return " and ".join(names)
