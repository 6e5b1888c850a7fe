"""Plan: which instances of a group to swap now, for what, and why the others stay as they are. Pure.

A plan goes both ways. An instance becomes Spot while the group has more On-Demand Instances than its tags ask for, and
On-Demand again when it has fewer, when the pool that it is of is given up, or when a commitment would pay for it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from connectors.ec2.events import InstanceState
from connectors.spot_facts import Purchase
from lambdas.spot.cover import FreeCover
from lambdas.spot.fleet import Fleet, Group, Instance, Market, Member
from lambdas.spot.group_policy import DEFAULT_TAG, GroupPolicy, PolicyError, read_policy
from lambdas.spot.group_refusal import group_refusal, not_now
from lambdas.spot.on_demand import OnDemandCount, on_demand_count, wanted_capacity
from lambdas.spot.pools import NoPoolError, on_demand_option, pool_use, spot_options
from lambdas.spot.swap import GroupJournal, LaunchOption, PlannedSwap, Purpose

LOST_MARKETS: Final = frozenset({Market.FALLBACK, Market.PINNED})
"""The markets in which no instance stays on Spot."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An instance that stays as it is, and why."""

    instance_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What is to be done in a group.

    Attributes:
        refusal: why the group is left alone as a whole; None if it is not.
        notes: what an operator should know of the group.
        on_demand: how many On-Demand Instances it has.
        least_on_demand: how many it must have.
    """

    group: str
    swaps: tuple[PlannedSwap, ...] = ()
    kept: tuple[Kept, ...] = ()
    refusal: str | None = None
    notes: tuple[str, ...] = ()
    desired: int = 0
    on_demand: int = 0
    least_on_demand: int = 0


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What holds for all groups.

    Attributes:
        tag: the tag that puts a group under our care.
        defaults: what a group's tags do not say.
        covered: On-Demand Instances that are paid for already, and by what.
        free: what commitments would pay for in addition.
    """

    tag: str = DEFAULT_TAG
    defaults: GroupPolicy = field(default_factory=GroupPolicy)
    covered: Mapping[str, str] = field(default_factory=dict)
    free: FreeCover = field(default_factory=FreeCover)


def plan_fleet(fleet: Fleet, journals: Mapping[str, GroupJournal], settings: PlanSettings) -> tuple[GroupPlan, ...]:
    """The plan of every group of a scan."""
    free = free_after(settings.free, fleet, journals.values())
    plans = []
    for group in fleet.groups:
        journal = journals.get(group.name, GroupJournal(group.name))
        plan = plan_group(fleet, group, journal, replace(settings, free=free))
        for swap in plan.swaps:
            free = _free_after_swap(free, fleet, swap)
        plans.append(plan)
    return tuple(plans)


def free_after(free: FreeCover, fleet: Fleet, journals: Iterable[GroupJournal]) -> FreeCover:
    """What commitments would still pay for once the On-Demand Instances that are on their way run.

    Until then no description of instances shows them, and what they will use must not be given away twice.
    """
    for swap in (swap for journal in journals for swap in journal.swaps if not swap.option.is_spot):
        twin, original = fleet.instances.get(swap.twin_id or ""), fleet.instances.get(swap.original_id)
        if original is not None and original.purchase is Purchase.SPOT and not _runs(twin):
            coming = replace(original, instance_type=swap.option.instance_type)
            free = free.after(coming) or free
    return free


def _runs(twin: Instance | None) -> bool:
    return twin is not None and twin.state is InstanceState.RUNNING


def _free_after_swap(free: FreeCover, fleet: Fleet, swap: PlannedSwap) -> FreeCover:
    if swap.purpose is not Purpose.TO_ON_DEMAND:
        return free
    return free.after(fleet.instances[swap.original_id].as_at_first) or free


def plan_group(
    fleet: Fleet, group: Group, journal: GroupJournal, settings: PlanSettings, *, only: str | None = None
) -> GroupPlan:
    """The plan of one group, or of one instance in it."""
    try:
        policy = read_policy(group.tags, settings.tag, settings.defaults)
    except PolicyError as error:
        return GroupPlan(group.name, refusal=str(error), desired=group.desired)
    refusal = group_refusal(group, fleet.changing_stacks, enabled=policy.enabled) or not_now(policy, fleet.at_ms)
    desired = wanted_capacity(group, journal)
    least = policy.least_on_demand(desired)
    planning = _Planning(fleet, group, journal, policy, settings, least, only)
    plan = GroupPlan(
        group.name,
        notes=_notes(group),
        desired=desired,
        on_demand=len(fleet.serving(group, Purchase.ON_DEMAND)),
        least_on_demand=least,
    )
    if refusal:
        return replace(plan, refusal=refusal)
    return planning.filled(plan)


def _notes(group: Group) -> tuple[str, ...]:
    if not group.capacity_rebalance:
        return ()
    return ("Capacity Rebalancing is on: it replaces Spot Instances at risk itself, so rebalance signals are advisory",)


@dataclass(frozen=True, slots=True)
class _Planning:
    fleet: Fleet
    group: Group
    journal: GroupJournal
    policy: GroupPolicy
    settings: PlanSettings
    least: int
    only: str | None

    def filled(self, plan: GroupPlan) -> GroupPlan:
        """The plan with its swaps: the most pressing first, as many as the group's tags allow at a time."""
        room = self.policy.parallel - len(self.journal.swaps)
        kept: list[Kept] = [Kept(swap.original_id, f"a swap is under way: {swap.phase}") for swap in self.journal.swaps]
        if self.group.serving_without(None) < self.group.desired:
            return replace(plan, refusal=f"only {self.group.serving_without(None)} of {self.group.desired} serve")
        swaps: list[PlannedSwap] = []
        on_demand, free = on_demand_count(self.fleet, self.group, self.journal), self.settings.free
        twins = {swap.twin_id: swap.original_id for swap in self.journal.swaps}
        for member, instance in self._in_order():
            if original_id := twins.get(instance.instance_id):
                kept.append(Kept(instance.instance_id, f"it is taking the place of {original_id}"))
                continue
            if self.journal.swap_of(instance.instance_id) or self.only not in (None, instance.instance_id):
                continue
            decided = self._decide(member, instance, on_demand, free, swaps)
            if isinstance(decided, PlannedSwap) and len(swaps) >= room:
                decided = Kept(
                    instance.instance_id, f"{decided.reason}; it waits its turn, {self.policy.parallel} at a time"
                )
            if isinstance(decided, Kept):
                kept.append(decided)
                continue
            swaps.append(decided)
            free = _free_after_swap(free, self.fleet, decided)
            on_demand = on_demand.after(decided)
        return replace(plan, swaps=tuple(swaps), kept=tuple(kept))

    def _in_order(self) -> list[tuple[Member, Instance]]:
        """Spot Instances before On-Demand ones, those of lost pools first: what is at risk is more pressing."""
        spots = self.fleet.serving(self.group, Purchase.SPOT)
        risk = [Market.ARMED, Market.SUSPECT, Market.FALLBACK, Market.PINNED]
        spots.sort(key=lambda pair: -risk.index(self.fleet.market(pair[1].pool)))
        return [*spots, *self.fleet.serving(self.group, Purchase.ON_DEMAND)]

    def _decide(
        self, member: Member, instance: Instance, on_demand: OnDemandCount, free: FreeCover, swaps: list[PlannedSwap]
    ) -> PlannedSwap | Kept:
        wanted = self._wanted(instance, on_demand, free)
        if isinstance(wanted, Kept):
            wanted = self._rolled_out(instance) or wanted
        if isinstance(wanted, Kept):
            return wanted
        purpose, reason = wanted
        if member.protected_from_scale_in:
            return Kept(instance.instance_id, "it is protected from scale-in")
        if ended := self.journal.resting(instance.instance_id, self.fleet.at_ms):
            return Kept(instance.instance_id, f"its last swap came to nothing: {ended.reason}")
        if member.template is None:
            return Kept(instance.instance_id, "it was not launched from a launch template")
        try:
            options = self._options(instance, purpose, free, swaps)
        except NoPoolError as error:
            return Kept(instance.instance_id, str(error))
        newest = self.group.template if purpose is Purpose.ROLL_OUT else None
        return PlannedSwap(
            group=self.group.name,
            original_id=instance.instance_id,
            original_type=instance.instance_type,
            original_purchase=instance.purchase,
            purpose=purpose,
            template=newest or member.template,
            subnet_id=instance.subnet_id,
            zone=instance.zone,
            options=options,
            per_hour=self.fleet.price_of(instance),
            reason=reason,
        )

    def _wanted(self, instance: Instance, on_demand: OnDemandCount, free: FreeCover) -> tuple[Purpose, str] | Kept:
        least = self.least
        if instance.purchase is Purchase.SPOT:
            return self._wanted_of_spot(instance, on_demand.likely, free)
        if cover := self.settings.covered.get(instance.instance_id):
            return Kept(instance.instance_id, f"covered by {cover}")
        if on_demand.least <= least:
            return Kept(instance.instance_id, f"the group must have {least} On-Demand, and has {on_demand.least}")
        market = self.fleet.market(instance.pool)
        if instance.swap_id and market in LOST_MARKETS:
            where = f"{instance.instance_type} in {instance.zone}"
            return Kept(
                instance.instance_id, f"it fell back, and returns when the market of {where} is armed, not {market}"
            )
        return Purpose.TO_SPOT, f"{on_demand.least} are On-Demand, {least} must be"

    def _wanted_of_spot(self, instance: Instance, on_demand: int, free: FreeCover) -> tuple[Purpose, str] | Kept:
        market = self.fleet.market(instance.pool)
        if market in LOST_MARKETS:
            return (
                Purpose.TO_ON_DEMAND,
                f"Spot capacity of {instance.instance_type} in {instance.zone} is given up: {market}",
            )
        if on_demand < self.least:
            return Purpose.TO_ON_DEMAND, f"{on_demand} are On-Demand, {self.least} must be"
        if cover := free.covers(instance.as_at_first):
            return Purpose.TO_ON_DEMAND, f"it would be covered by {cover}, paid for and free"
        return Kept(instance.instance_id, "it is Spot already")

    def _rolled_out(self, instance: Instance) -> tuple[Purpose, str] | None:
        image = self.fleet.images.get(self.group.template) if self.group.template else None
        if not self.policy.roll_out or image is None or image == instance.image_id:
            return None
        return Purpose.ROLL_OUT, f"its image is {instance.image_id}, the launch template's is {image}"

    def _options(
        self, instance: Instance, purpose: Purpose, free: FreeCover, swaps: list[PlannedSwap]
    ) -> tuple[LaunchOption, ...]:
        if purpose is Purpose.TO_ON_DEMAND:
            option = on_demand_option(instance, self.fleet)
            return (replace(option, per_hour=Decimal(0)) if free.covers(instance.as_at_first) else option,)
        if purpose is Purpose.ROLL_OUT:
            return (LaunchOption(instance.instance_type, instance.purchase, self.fleet.price_of(instance)),)
        use = pool_use(self.fleet, self.group, self.journal, swaps)
        return spot_options(instance, self.fleet, self.policy, use)
