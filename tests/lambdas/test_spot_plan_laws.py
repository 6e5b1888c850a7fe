"""The plan's laws, whatever a group consists of and whatever swaps are under way in it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st

from connectors.spot_facts import Purchase
from lambdas.spot.fleet import Fleet, Instance, Market, Pool
from lambdas.spot.group_policy import read_policy
from lambdas.spot.plan import GroupPlan, PlanSettings, plan_group
from lambdas.spot.replacement import plan_replacement
from lambdas.spot.swap import GroupJournal, LaunchOption, Phase, PlannedSwap, Purpose, Swap, open_swap
from tests.spot_fleets import AT_MS, TEMPLATE, ZONE, fleet_of, instance

SPOT_TYPES = ["m5.large", "m5a.large", "m5.xlarge"]
NO_WAY_BACK = {Phase.ENDING, Phase.DRAINING}

purchases = st.sampled_from([Purchase.ON_DEMAND, Purchase.SPOT])


@st.composite
def instances(draw: st.DrawFn, number: int) -> Instance:
    return instance(number, draw(purchases), instance_type=draw(st.sampled_from(SPOT_TYPES)))


@st.composite
def swaps(draw: st.DrawFn, original: Instance, twin: Instance) -> Swap:
    phase = draw(st.sampled_from(list(Phase)))
    option = LaunchOption(twin.instance_type, twin.purchase, None)
    more = draw(st.lists(st.sampled_from(SPOT_TYPES), max_size=2)) if phase is Phase.LAUNCHING else []
    planned = PlannedSwap(
        "web",
        original.instance_id,
        original.instance_type,
        original.purchase,
        draw(st.sampled_from(list(Purpose))),
        TEMPLATE,
        "subnet-1",
        ZONE,
        (option, *(LaunchOption(name, Purchase.SPOT, None) for name in more)),
        None,
        "",
    )
    return replace(
        open_swap(planned, AT_MS), phase=phase, twin_id=None if phase is Phase.LAUNCHING else twin.instance_id
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Fleet, GroupJournal]:
    """A group of which enough serve, with swaps under way whose originals and twins serve or do not."""
    under_way, serving, all_instances = [], [], []
    for number in range(draw(st.integers(0, 3))):
        original, twin = draw(instances(2 * number + 1)), draw(instances(2 * number + 2))
        swap = draw(swaps(original, twin))
        under_way.append(swap)
        all_instances += [original, twin]
        one_of_both = [original.instance_id] if swap.twin_id is None else [original.instance_id, swap.twin_id]
        serving += draw(st.lists(st.sampled_from(one_of_both), min_size=1, unique=True))
    for number in range(10, 10 + draw(st.integers(0, 6))):
        all_instances.append(draw(instances(number)))
        serving.append(all_instances[-1].instance_id)
    tags = {
        "MinOnDemand": str(draw(st.integers(0, 6))),
        "MinOnDemandPercent": str(draw(st.sampled_from([0, 30, 50]))),
        "MaxPoolPercent": str(draw(st.sampled_from([1, 34, 50, 100]))),
        "Parallel": str(draw(st.sampled_from([1, 2, 20]))),
    }
    markets = draw(st.dictionaries(st.sampled_from(SPOT_TYPES), st.sampled_from(list(Market))))
    fleet = fleet_of(
        *all_instances,
        tags=tags,
        desired=len(serving),
        markets={Pool(name, ZONE): market for name, market in markets.items()},
    )
    (group,) = fleet.groups
    members = tuple(member for member in group.members if member.instance_id in serving)
    return replace(fleet, groups=(replace(group, members=members),)), GroupJournal("web", swaps=tuple(under_way))


def wanted(fleet: Fleet, journal: GroupJournal) -> int:
    """The desired capacity once no swap adds one to it."""
    serving = {one.instance_id for one in fleet.groups[0].members}
    return fleet.groups[0].desired - sum({swap.original_id, swap.twin_id} <= serving for swap in journal.swaps)


def planned(fleet: Fleet, journal: GroupJournal) -> GroupPlan:
    return plan_group(fleet, fleet.groups[0], journal, PlanSettings())


def on_demand_after(fleet: Fleet, journal: GroupJournal, plan: GroupPlan, done: Mapping[str, bool]) -> tuple[int, int]:
    """How many On-Demand Instances serve without the plan and with it, when some swaps are done and others undone."""
    serving = {
        one.instance_id: fleet.instances[one.instance_id].purchase for one in fleet.groups[0].members if one.serves
    }
    for number, swap in enumerate(journal.swaps):
        is_done = swap.phase in NO_WAY_BACK or (swap.phase is not Phase.UNDOING and done[swap.original_id])
        serving.pop(swap.original_id if is_done else swap.twin_id or "", None)
        if is_done:
            serving[swap.twin_id or f"twin {number}"] = swap.option.purchase
    before = Counter(serving.values())[Purchase.ON_DEMAND]
    for new in plan.swaps:
        if done[new.original_id]:
            serving[new.original_id] = new.options[0].purchase
    return before, Counter(serving.values())[Purchase.ON_DEMAND]


@given(situations(), st.data())
def test_no_swap_takes_a_group_below_its_minimum_however_it_and_all_others_end(
    situation: tuple[Fleet, GroupJournal], data: st.DataObject
) -> None:
    fleet, journal = situation
    plan = planned(fleet, journal)
    done = {name: data.draw(st.booleans(), label=name) for name in fleet.instances}
    least = read_policy(fleet.groups[0].tags).least_on_demand(wanted(fleet, journal))
    before, after = on_demand_after(fleet, journal, plan, done)
    assert after >= min(before, least)


@given(situations())
def test_a_plan_launches_no_more_on_demand_instances_than_the_minimum_and_lost_pools_ask_for(
    situation: tuple[Fleet, GroupJournal],
) -> None:
    fleet, journal = situation
    plan = planned(fleet, journal)
    lost = {Market.FALLBACK, Market.PINNED}
    least = read_policy(fleet.groups[0].tags).least_on_demand(wanted(fleet, journal))
    before, _ = on_demand_after(fleet, journal, plan, dict.fromkeys(fleet.instances, True))
    for_minimum = [
        swap
        for swap in plan.swaps
        if swap.purpose is Purpose.TO_ON_DEMAND and fleet.market(Pool(swap.original_type, swap.zone)) not in lost
    ]
    assert len(for_minimum) <= max(0, least - before)


@given(situations(), st.data())
def test_a_replacement_is_on_demand_where_else_too_few_would_be_and_nowhere_else(
    situation: tuple[Fleet, GroupJournal], data: st.DataObject
) -> None:
    fleet, journal = situation
    group = fleet.groups[0]
    taken = {name for swap in journal.swaps for name in (swap.original_id, swap.twin_id)}
    spots = [instance for _, instance in fleet.serving(group, Purchase.SPOT) if instance.instance_id not in taken]
    assume(spots)
    lost = data.draw(st.sampled_from(spots))
    free = {**group.tags, "AsgOptimiser:MinOnDemand": "0", "AsgOptimiser:MinOnDemandPercent": "0"}
    found = plan_replacement(fleet, group, lost, journal, PlanSettings())
    without = plan_replacement(fleet, replace(group, tags=free), lost, journal, PlanSettings())
    assert isinstance(found, PlannedSwap)
    assert isinstance(without, PlannedSwap)
    before, _ = on_demand_after(fleet, journal, GroupPlan("web"), dict.fromkeys(fleet.instances, True))
    if before < read_policy(group.tags).least_on_demand(wanted(fleet, journal)):
        assert [option.purchase for option in found.options] == [Purchase.ON_DEMAND]
    else:
        assert found.options == without.options


@given(situations())
def test_nothing_is_swapped_twice_and_no_more_at_a_time_than_the_group_allows(
    situation: tuple[Fleet, GroupJournal],
) -> None:
    fleet, journal = situation
    originals = [swap.original_id for swap in planned(fleet, journal).swaps]
    taken = {name for swap in journal.swaps for name in (swap.original_id, swap.twin_id)}
    assert len(set(originals)) == len(originals)
    assert not taken & set(originals)
    assert not originals or len(originals) + len(journal.swaps) <= read_policy(fleet.groups[0].tags).parallel


@given(situations(), st.data())
def test_no_pool_that_a_plan_launches_into_holds_more_than_its_share_once_all_swaps_are_done(
    situation: tuple[Fleet, GroupJournal], data: st.DataObject
) -> None:
    fleet, journal = situation
    plan = planned(fleet, journal)
    done = [swap for swap in journal.swaps if swap.phase is not Phase.UNDOING]
    gone = {swap.twin_id for swap in journal.swaps if swap.phase is Phase.UNDOING}
    gone |= {name for swap in done for name in (swap.original_id, swap.twin_id)}
    gone |= {swap.original_id for swap in plan.swaps}
    stay = [fleet.instances[one.instance_id] for one in fleet.groups[0].members if one.instance_id not in gone]
    held = Counter(one.pool for one in stay if one.purchase is Purchase.SPOT)
    tried = [data.draw(st.sampled_from(swap.options[swap.attempt :])) for swap in done]
    held.update(Pool(option.instance_type, ZONE) for option in tried if option.is_spot)
    launched = [Pool(swap.options[0].instance_type, ZONE) for swap in plan.swaps if swap.options[0].is_spot]
    held.update(launched)
    most = read_policy(fleet.groups[0].tags).most_in_pool(wanted(fleet, journal))
    assert all(held[pool] <= most for pool in launched)
    assert all(fleet.market(pool) is Market.ARMED for pool in launched)
