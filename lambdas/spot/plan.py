"""Plan: which instances of a group to swap now, for what, and why the others stay as they are. Pure.

A plan goes both ways. An instance becomes Spot while the group has more On-Demand Instances than its tags ask for, and
On-Demand again when it has fewer, or when the pool that it is of is given up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from connectors.ec2.events import InstanceState
from connectors.spot_facts import Purchase
from lambdas.spot.fleet import Fleet, Group, Instance, Market, Member, Pool
from lambdas.spot.group_policy import DEFAULT_TAG, GroupPolicy, PolicyError, read_policy
from lambdas.spot.pools import NoPoolError, PoolUse, on_demand_option, spot_options
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
        free_cover: how many more On-Demand Instances of a type are paid for already.
    """

    tag: str = DEFAULT_TAG
    defaults: GroupPolicy = field(default_factory=GroupPolicy)
    covered: Mapping[str, str] = field(default_factory=dict)
    free_cover: Mapping[str, int] = field(default_factory=dict)


def plan_fleet(fleet: Fleet, journals: Mapping[str, GroupJournal], settings: PlanSettings) -> tuple[GroupPlan, ...]:
    """The plan of every group of a scan."""
    free = dict(settings.free_cover)
    plans = []
    for group in fleet.groups:
        journal = journals.get(group.name, GroupJournal(group.name))
        plan = plan_group(fleet, group, journal, replace(settings, free_cover=free))
        for swap in plan.swaps:
            if swap.purpose is Purpose.TO_ON_DEMAND and free.get(swap.original_type, 0) > 0:
                free[swap.original_type] -= 1
        plans.append(plan)
    return tuple(plans)


def plan_group(
    fleet: Fleet, group: Group, journal: GroupJournal, settings: PlanSettings, *, only: str | None = None
) -> GroupPlan:
    """The plan of one group, or of one instance in it."""
    try:
        policy = read_policy(group.tags, settings.tag, settings.defaults)
    except PolicyError as error:
        return GroupPlan(group.name, refusal=str(error), desired=group.desired)
    refusal = group_refusal(group, fleet.changing_stacks, enabled=policy.enabled) or _not_now(policy, fleet.at_ms)
    planning = _Planning(fleet, group, journal, policy, settings, only)
    plan = GroupPlan(
        group.name,
        notes=_notes(group),
        desired=group.desired,
        on_demand=len(planning.serving(Purchase.ON_DEMAND)),
        least_on_demand=policy.least_on_demand(group.desired),
    )
    if refusal:
        return replace(plan, refusal=refusal)
    return planning.filled(plan)


def group_refusal(group: Group, changing_stacks: frozenset[str], *, enabled: bool = True) -> str | None:
    """Why nothing of a group may be changed, None if it may."""
    if not enabled:
        return "its tag says off"
    if group.deleting:
        return "it is being deleted"
    if group.template is None:
        return "it launches from a launch configuration; a launch template is needed"
    if group.on_demand_percentage not in (None, 100):
        return f"its mixed instances policy buys Spot itself ({group.on_demand_percentage} % On-Demand above its base)"
    if group.weighted:
        return "its mixed instances policy counts capacity by weight"
    return group_busy(group, changing_stacks)


def group_busy(group: Group, changing_stacks: frozenset[str]) -> str | None:
    """Why a group must be left alone for now, None if it need not."""
    if group.suspended:
        return f"processes are suspended, as in a deployment: {', '.join(sorted(group.suspended))}"
    if group.stack in changing_stacks:
        return f"its stack {group.stack} is being changed"
    return None


def _not_now(policy: GroupPolicy, at_ms: int) -> str | None:
    return "its schedule does not allow it now" if policy.schedule and not policy.schedule.is_open(at_ms) else None


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
    only: str | None = None

    def serving(self, purchase: Purchase) -> list[tuple[Member, Instance]]:
        """The members that serve and are paid for in this way, the oldest first."""
        found = [
            (member, instance)
            for member in self.group.members
            if member.serves
            and (instance := self.fleet.instances.get(member.instance_id)) is not None
            and instance.purchase is purchase
            and instance.state is InstanceState.RUNNING
        ]
        return sorted(found, key=lambda pair: (pair[1].launched_at_ms, pair[1].instance_id))

    def filled(self, plan: GroupPlan) -> GroupPlan:
        """The plan with its swaps: the most pressing first, as many as the group's tags allow at a time."""
        room = self.policy.parallel - len(self.journal.swaps)
        kept: list[Kept] = [Kept(swap.original_id, f"a swap is under way: {swap.phase}") for swap in self.journal.swaps]
        if self.group.serving_without(None) < self.group.desired:
            return replace(plan, refusal=f"only {self.group.serving_without(None)} of {self.group.desired} serve")
        swaps: list[PlannedSwap] = []
        coming = {swap.original_id: swap.option for swap in self.journal.swaps}
        on_demand = plan.on_demand + self._balance(coming)
        for member, instance in self._in_order():
            if self.journal.swap_of(instance.instance_id) or self.only not in (None, instance.instance_id):
                continue
            decided = self._decide(member, instance, on_demand, swaps)
            if isinstance(decided, PlannedSwap) and len(swaps) >= room:
                decided = Kept(instance.instance_id, f"{decided.reason}; next, {self.policy.parallel} at a time")
            if isinstance(decided, Kept):
                kept.append(decided)
                continue
            swaps.append(decided)
            on_demand += _gained(decided.original_purchase, decided.options[0])
        return replace(plan, swaps=tuple(swaps), kept=tuple(kept))

    def _balance(self, coming: Mapping[str, LaunchOption]) -> int:
        """How many On-Demand Instances more there will be after the swaps under way."""
        instances = self.fleet.instances
        return sum(_gained(instances[one].purchase, option) for one, option in coming.items() if one in instances)

    def _in_order(self) -> list[tuple[Member, Instance]]:
        """Spot Instances before On-Demand ones, those of lost pools first: what is at risk is more pressing."""
        spots = self.serving(Purchase.SPOT)
        risk = [Market.ARMED, Market.SUSPECT, Market.FALLBACK, Market.PINNED]
        spots.sort(key=lambda pair: -risk.index(self.fleet.market(pair[1].pool)))
        return [*spots, *self.serving(Purchase.ON_DEMAND)]

    def _decide(
        self, member: Member, instance: Instance, on_demand: int, swaps: list[PlannedSwap]
    ) -> PlannedSwap | Kept:
        wanted = self._wanted(instance, on_demand)
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
            options = self._options(instance, purpose, swaps)
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

    def _wanted(self, instance: Instance, on_demand: int) -> tuple[Purpose, str] | Kept:
        least = self.policy.least_on_demand(self.group.desired)
        if instance.purchase is Purchase.SPOT:
            return self._wanted_of_spot(instance, on_demand, least)
        if cover := self.settings.covered.get(instance.instance_id):
            return Kept(instance.instance_id, f"it is paid for already: {cover}")
        if on_demand <= least:
            return Kept(instance.instance_id, f"the group must have {least} On-Demand, and has {on_demand}")
        market = self.fleet.market(instance.pool)
        if instance.swap_id and market in LOST_MARKETS:
            where = f"{instance.instance_type} in {instance.zone}"
            return Kept(
                instance.instance_id, f"it fell back, and returns when the market of {where} is armed, not {market}"
            )
        return Purpose.TO_SPOT, f"{on_demand} On-Demand, {least} must be"

    def _wanted_of_spot(self, instance: Instance, on_demand: int, least: int) -> tuple[Purpose, str] | Kept:
        market = self.fleet.market(instance.pool)
        if market in LOST_MARKETS:
            return Purpose.TO_ON_DEMAND, f"the market of {instance.instance_type} in {instance.zone} is {market}"
        if on_demand < least:
            return Purpose.TO_ON_DEMAND, f"{on_demand} On-Demand, {least} must be"
        if self.settings.free_cover.get(instance.instance_type, 0) > 0:
            return Purpose.TO_ON_DEMAND, f"a reservation of {instance.instance_type} is paid for and free"
        return Kept(instance.instance_id, "it is Spot already")

    def _rolled_out(self, instance: Instance) -> tuple[Purpose, str] | None:
        image = self.fleet.images.get(self.group.template) if self.group.template else None
        if not self.policy.roll_out or image is None or image == instance.image_id:
            return None
        return Purpose.ROLL_OUT, f"its image is {instance.image_id}, the launch template's is {image}"

    def _options(self, instance: Instance, purpose: Purpose, swaps: list[PlannedSwap]) -> tuple[LaunchOption, ...]:
        if purpose is Purpose.TO_ON_DEMAND:
            return (on_demand_option(instance, self.fleet),)
        if purpose is Purpose.ROLL_OUT:
            return (LaunchOption(instance.instance_type, instance.purchase, self.fleet.price_of(instance)),)
        return spot_options(instance, self.fleet, self.policy, self.pool_use(swaps))

    def pool_use(self, swaps: list[PlannedSwap]) -> PoolUse:
        """How the group's Spot Instances are spread, with those under way and planned."""
        members = [
            self.fleet.instances[one.instance_id]
            for one in self.group.members
            if one.instance_id in self.fleet.instances
        ]
        planned = [Pool(swap.options[0].instance_type, swap.zone) for swap in swaps if _is_spot(swap.options[0])]
        under_way = [
            Pool(swap.option.instance_type, self.fleet.instances[swap.original_id].zone)
            for swap in self.journal.swaps
            if _is_spot(swap.option)
            and swap.original_id in self.fleet.instances
            and not self.group.member(swap.twin_id)
        ]
        return PoolUse.of(self.group.desired, members, [*planned, *under_way])


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
    planning = _Planning(fleet, group, journal, policy, settings)
    on_demand = on_demand_option(instance, fleet)
    try:
        lost = replace(fleet, markets={**fleet.markets, instance.pool: Market.FALLBACK})
        spots = spot_options(instance, lost, policy, planning.pool_use([]))[:1]
    except NoPoolError:
        spots = ()
    if len(planning.serving(Purchase.ON_DEMAND)) < policy.least_on_demand(group.desired):
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


def _is_spot(option: LaunchOption) -> bool:
    return option.purchase is Purchase.SPOT


def _gained(before: Purchase, option: LaunchOption) -> int:
    return (option.purchase is Purchase.ON_DEMAND) - (before is Purchase.ON_DEMAND)
