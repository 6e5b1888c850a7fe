"""Pools: which Spot capacity may take the place of an instance, the best first. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from connectors.spot_facts import Purchase
from lambdas.spot.fleet import Fleet, Group, Instance, Market, Pool
from lambdas.spot.group_policy import GroupPolicy
from lambdas.spot.on_demand import wanted_capacity
from lambdas.spot.swap import GroupJournal, LaunchOption, Phase, PlannedSwap, Swap

MOST_OPTIONS = 4
"""As many launches are tried before a swap is given up; each is a call."""


class NoPoolError(Exception):
    """No Spot capacity will do; the text says what is in the way of the nearest."""


@dataclass(frozen=True, slots=True)
class PoolUse:
    """How a group's Spot Instances are spread, those counted that are on their way."""

    desired: int
    in_pool: Mapping[Pool, int]

    @classmethod
    def of(cls, desired: int, instances: list[Instance], coming: list[Pool]) -> "PoolUse":
        """How they are spread over pools."""
        spots = [one.pool for one in instances if one.purchase is Purchase.SPOT]
        return cls(desired, Counter([*spots, *coming]))


def pool_use(fleet: Fleet, group: Group, journal: GroupJournal, planned: Iterable[PlannedSwap] = ()) -> PoolUse:
    """How a group's Spot Instances are spread, with those under way and planned."""
    members = [fleet.instances[one.instance_id] for one in group.members if one.instance_id in fleet.instances]
    coming = [Pool(swap.options[0].instance_type, swap.zone) for swap in planned if swap.options[0].is_spot]
    under_way = [
        Pool(option.instance_type, fleet.instances[swap.original_id].zone)
        for swap in journal.swaps
        if swap.original_id in fleet.instances and not group.member(swap.twin_id)
        for option in _may_be(swap)
        if option.is_spot
    ]
    return PoolUse.of(wanted_capacity(group, journal), members, [*coming, *under_way])


def _may_be(swap: Swap) -> tuple[LaunchOption, ...]:
    """What the twin of a swap is, or may be as long as it is not launched: any that is left to be tried."""
    return swap.options[swap.attempt :] if swap.phase is Phase.LAUNCHING else (swap.option,)


def spot_options(original: Instance, fleet: Fleet, policy: GroupPolicy, use: PoolUse) -> tuple[LaunchOption, ...]:
    """The Spot capacity to launch for an instance, in its zone, the cheapest first.

    It has the architecture and at least the size of what the original stands for, a known price below what that costs
    On-Demand, a market that is armed, and leaves no pool with more of the group than may be lost at once.

    Raises:
        NoPoolError: There is none.
    """
    wanted = original.stands_for
    on_demand = fleet.on_demand_price(wanted, original.platform)
    facts = fleet.types.get(wanted)
    if facts is None:
        reason = f"what {wanted} has is not known"
        raise NoPoolError(reason)
    if on_demand is None:
        reason = f"the On-Demand price of {wanted} is not known"
        raise NoPoolError(reason)
    refusals: Counter[str] = Counter()
    options: list[tuple[Decimal, str]] = []
    for candidate in fleet.types.values():
        if candidate.spot and candidate.at_least(facts):
            pool = Pool(candidate.instance_type, original.zone)
            judged = _judged(pool, original, fleet, policy, use, on_demand)
            if isinstance(judged, str):
                refusals[judged] += 1
            else:
                options.append((judged, candidate.instance_type))
    if not options:
        raise NoPoolError(_summed_up(refusals, original))
    return tuple(LaunchOption(name, Purchase.SPOT, price) for price, name in sorted(options)[:MOST_OPTIONS])


def on_demand_option(original: Instance, fleet: Fleet) -> LaunchOption:
    """The type that the group had in its place at first, On-Demand."""
    price = fleet.on_demand_price(original.stands_for, original.platform)
    return LaunchOption(original.stands_for, Purchase.ON_DEMAND, price)


def _judged(
    pool: Pool, original: Instance, fleet: Fleet, policy: GroupPolicy, use: PoolUse, on_demand: Decimal
) -> Decimal | str:
    """The price of a pool, or why it will not do."""
    if not policy.allows(pool.instance_type, original.stands_for):
        return "the group's tags do not allow it"
    if (price := fleet.spot_price(pool, original.platform)) is None:
        return "its Spot price is not known"
    if price >= on_demand or price * 100 > on_demand * policy.max_price_percent:
        return f"it costs more than {policy.max_price_percent} % of On-Demand"
    if (market := fleet.market(pool)) is not Market.ARMED:
        return f"its market is {market}"
    if use.in_pool.get(pool, 0) >= policy.most_in_pool(use.desired):
        return f"the group has {use.in_pool[pool]} of {use.desired} in it"
    return price


def _summed_up(refusals: Counter[str], original: Instance) -> str:
    if not refusals:
        return f"no type is at least {original.stands_for} and sold as Spot"
    reasons = "; ".join(f"{count} x {reason}" for reason, count in sorted(refusals.items()))
    return f"no Spot pool in {original.zone} will do: {reasons}"
