"""Replacement: what to launch in place of a Spot Instance that is interrupted. Pure."""

from dataclasses import replace

from lambdas.spot.fleet import Fleet, Group, Instance, Market
from lambdas.spot.group_policy import PolicyError, read_policy
from lambdas.spot.group_refusal import group_refusal
from lambdas.spot.on_demand import on_demand_count, wanted_capacity
from lambdas.spot.plan import Kept, PlanSettings
from lambdas.spot.pools import NoPoolError, on_demand_option, pool_use, spot_options
from lambdas.spot.swap import GroupJournal, PlannedSwap, Purpose


def plan_replacement(
    fleet: Fleet, group: Group, instance: Instance, journal: GroupJournal, settings: PlanSettings
) -> PlannedSwap | Kept:
    """What to launch in place of a Spot Instance that is interrupted: other Spot capacity, and else On-Demand.

    Neither schedule nor cool-down nor the number of swaps at a time holds it up, for the instance ends in any case.
    """
    try:
        policy = read_policy(group.tags, settings.tag, settings.defaults)
    except PolicyError as error:
        return Kept(instance.instance_id, str(error))
    member = group.member(instance.instance_id)
    refusal = group_refusal(group, fleet.changing_stacks, enabled=policy.enabled)
    if refusal or member is None or member.template is None:
        return Kept(instance.instance_id, refusal or "it was not launched from a launch template of its group")
    on_demand = on_demand_option(instance, fleet)
    try:
        lost = replace(fleet, markets={**fleet.markets, instance.pool: Market.FALLBACK})
        spots = spot_options(instance, lost, policy, pool_use(fleet, group, journal))[:1]
    except NoPoolError:
        spots = ()
    least = policy.least_on_demand(wanted_capacity(group, journal))
    if on_demand_count(fleet, group, journal).likely < least:
        spots = ()
    return PlannedSwap(
        group=group.name,
        original_id=instance.instance_id,
        original_type=instance.instance_type,
        original_purchase=instance.purchase,
        purpose=Purpose.REPLACE,
        template=member.template,
        subnet_id=instance.subnet_id,
        zone=instance.zone,
        options=(*spots, on_demand),
        per_hour=fleet.price_of(instance),
        reason="it is interrupted",
    )
