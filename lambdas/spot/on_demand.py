"""On-Demand Instances of a group: how many there will be, and of how many, once its swaps are over. Pure."""

from dataclasses import dataclass

from connectors.spot_facts import Purchase
from lambdas.spot.fleet import Fleet, Group
from lambdas.spot.swap import GroupJournal, Phase, PlannedSwap, Swap


@dataclass(frozen=True, slots=True)
class OnDemandCount:
    """How many On-Demand Instances of a group will serve.

    Attributes:
        least: however the swaps end: what is given up counts on this, or a launch that fails would leave too few.
        likely: when they end as they are to: what is launched counts on this, or it would be launched twice.
    """

    least: int
    likely: int

    def after(self, planned: PlannedSwap) -> "OnDemandCount":
        """The same with one swap more, which may be done or undone."""
        before = planned.original_purchase is Purchase.ON_DEMAND
        gained = (not planned.options[0].is_spot) - before
        return OnDemandCount(self.least + min(0, gained), self.likely + gained)


def wanted_capacity(group: Group, journal: GroupJournal) -> int:
    """The desired capacity of a group without the one that each swap adds while the group holds both its instances."""
    staying = {member.instance_id for member in group.members if not member.leaves}
    return group.desired - sum({swap.original_id, swap.twin_id} <= staying for swap in journal.swaps)


def on_demand_count(fleet: Fleet, group: Group, journal: GroupJournal) -> OnDemandCount:
    """How many On-Demand Instances will serve once the swaps under way are over.

    Of a swap that is done the twin serves, whether it does yet or not; of one that is undone the original does.
    """
    serving = {member.instance_id for member, _ in fleet.serving(group, Purchase.ON_DEMAND)}
    swapped = {one for swap in journal.swaps for one in (swap.original_id, swap.twin_id)}
    least = likely = len(serving - swapped)
    for swap in journal.swaps:
        outcomes = _outcomes(swap, serving)
        least += min(outcomes)
        likely += outcomes[-1]
    return OnDemandCount(least, likely)


def _outcomes(swap: Swap, serving: set[str]) -> list[bool]:
    """Whether there is an On-Demand Instance if it is undone, and if it is done, as far as either can still be."""
    undone, done = swap.original_id in serving, not swap.option.is_spot
    if swap.phase is Phase.UNDOING:
        return [undone]
    return [done] if swap.cannot_be_undone else [undone, done]
