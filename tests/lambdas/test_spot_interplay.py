"""Swaps of one group that are under way together, and what happens to their instances meanwhile."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from connectors.spot_facts import Purchase
from lambdas.replace_interrupted import with_replacement
from lambdas.spot.observed import Observed
from lambdas.spot.saga_step import Call, Intent
from lambdas.spot.swap import GroupJournal, Outcome, Phase, PlannedSwap, Purpose, Swap
from tests.lambdas.test_spot_saga_laws import GROUP, driver_of, opened, planned
from tests.spot_world import NOTICE_S, KilledError, When, World


def world_of(size: int, *, room: int = 0, spots: Iterable[int] = ()) -> World:
    """A group in which the instances with these numbers, from 1, are Spot."""
    world = World()
    world.make_group(GROUP, size, most=size + room)
    for number in spots:
        machine = world.machines[name(number)]
        machine.instance = replace(machine.instance, purchase=Purchase.SPOT)
    return world


def name(number: int) -> str:
    return f"i-{number:08x}"


def begin(world: World, number: int, purpose: Purpose = Purpose.TO_SPOT) -> None:
    swap = planned(world, name(number), purpose)
    driver_of(world).drive(GROUP, change=lambda read: opened(read, swap, world.now_ms()))


def warn(world: World, number: int, then: PlannedSwap | None = None) -> None:
    """An instance is interrupted, and the actuator told; `then` is what is planned to replace it."""
    world.interrupt(name(number))
    instance = world.seen(world.machines[name(number)])
    driver_of(world).drive(
        GROUP, change=lambda read: with_replacement(read, world.group_values(GROUP), instance, then, world.now_ms())
    )


def go_on(world: World, seconds: float, *, step_s: float = 10) -> int:
    """Time passes, and the group is looked at again and again; the least that ever served."""
    least = world.serving(GROUP)
    for _ in range(int(seconds / step_s)):
        world.advance(step_s)
        driver_of(world).drive(GROUP)
        least = min(least, world.serving(GROUP))
    return least


def swap_of(world: World, number: int) -> Swap:
    found = world.journals[GROUP].swap_of(name(number))
    assert found is not None
    return found


def reach(world: World, number: int, phase: Phase) -> None:
    """Time passes until a swap is in a phase."""
    for _ in range(400):
        if swap_of(world, number).phase is phase:
            return
        go_on(world, 1, step_s=1)
    raise AssertionError(swap_of(world, number))


def outcomes(world: World) -> dict[str, Outcome]:
    return {ended.original_id: ended.outcome for ended in world.journals[GROUP].ended}


def sizes(world: World) -> tuple[int, int]:
    return world.groups[GROUP].desired, world.groups[GROUP].max_size


def test_a_replacement_that_joins_a_group_in_mid_swap_is_not_taken_for_a_change_of_its_size() -> None:
    world = world_of(3, room=2, spots=[3])
    begin(world, 1)
    reach(world, 1, Phase.JOINING)
    world.unhealthy.add(name(4))  # until the load balancers find the twin healthy
    warn(world, 3, planned(world, name(3), Purpose.REPLACE))
    reach(world, 3, Phase.JOINING)
    world.unhealthy.clear()
    assert go_on(world, 1_200) >= 3
    assert outcomes(world) == {name(1): Outcome.DONE, name(3): Outcome.DONE}
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


def test_an_original_stays_while_another_of_its_group_has_ended_and_the_group_has_not_noticed() -> None:
    world = world_of(3, room=2)
    begin(world, 1)
    reach(world, 1, Phase.JOINING)
    world.machines[name(3)].ended_s = world.now_s
    go_on(world, NOTICE_S - 1, step_s=1)
    assert (swap_of(world, 1).phase, world.serving(GROUP)) == (Phase.JOINING, 3)
    go_on(world, 1_200)
    assert (outcomes(world), sizes(world), world.serving(GROUP)) == ({name(1): Outcome.DONE}, (3, 5), 3)


def test_an_original_that_the_group_ends_just_before_we_do_leaves_the_desired_capacity_as_it_was() -> None:
    world = world_of(3, room=2, spots=[3])
    warn(world, 3, planned(world, name(3), Purpose.REPLACE))
    reach(world, 3, Phase.JOINING)
    effect = world.call

    def too_late(intent: Intent, group: str, _seen: Observed) -> str | None:
        if intent.call is Call.END_ORIGINAL:
            machine = world.machines[name(3)]
            machine.ended_s, machine.group = world.now_s, None
            world.settle()
        return effect(intent, group, _seen)

    world.call = too_late  # type: ignore[method-assign]
    go_on(world, 1_200)
    assert (outcomes(world), sizes(world), world.serving(GROUP)) == ({name(3): Outcome.DONE}, (3, 5), 3)


@pytest.mark.parametrize(("least", "outcome"), [(1, Outcome.DONE), (2, Outcome.DONE), (3, Outcome.UNDONE)])
def test_a_minimum_of_on_demand_that_is_raised_in_mid_swap_holds(least: int, outcome: Outcome) -> None:
    world = world_of(3)
    begin(world, 1)
    reach(world, 1, Phase.WARMING)
    world.groups[GROUP].tags["AsgOptimiser:MinOnDemand"] = str(least)
    assert go_on(world, 1_200) >= 3
    assert (outcomes(world), sizes(world), world.orphans()) == ({name(1): outcome}, (3, 3), [])


def test_a_twin_that_is_to_go_waits_until_others_serve_in_its_place() -> None:
    world = world_of(3, room=2)
    begin(world, 1)
    reach(world, 1, Phase.JOINING)
    world.machines[name(1)].joined_s = world.now_s + 120  # it does not serve for now, as in standby
    go_on(world, 100)
    assert world.machines[name(4)].group == GROUP
    go_on(world, 300)
    assert outcomes(world) == {name(1): Outcome.UNDONE}
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


def test_an_original_that_serves_is_not_ended_for_a_twin_that_is_interrupted_in_the_group() -> None:
    world = world_of(3, room=2)
    begin(world, 1)
    reach(world, 1, Phase.JOINING)
    for _ in range(2):  # told twice
        warn(world, 4, planned(world, name(4), Purpose.REPLACE))
    assert go_on(world, 1_200) >= 3
    assert (outcomes(world), len(world.tokens)) == ({name(1): Outcome.UNDONE}, 1)
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


def test_a_twin_that_is_interrupted_once_its_original_has_ended_is_replaced() -> None:
    world = world_of(3, room=2)
    begin(world, 1)
    reach(world, 1, Phase.DRAINING)
    warn(world, 4, planned(world, name(4), Purpose.REPLACE))
    assert go_on(world, 1_200) >= 3
    assert outcomes(world) == {name(1): Outcome.DONE, name(4): Outcome.DONE}
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


def test_an_interrupted_original_whose_twin_is_interrupted_too_is_given_the_next_best() -> None:
    world = world_of(3, room=2, spots=[3])
    warn(world, 3, planned(world, name(3), Purpose.REPLACE))
    warn(world, 4)
    assert go_on(world, 1_200) >= 3
    assert [ended.outcome for ended in world.journals[GROUP].ended] == [Outcome.UNDONE, Outcome.DONE]
    assert world.machines[name(5)].instance.purchase is Purchase.ON_DEMAND
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


def test_an_original_that_is_interrupted_while_its_swap_is_undone_is_replaced() -> None:
    world = world_of(3, room=2, spots=[3])
    begin(world, 3, Purpose.TO_ON_DEMAND)
    reach(world, 3, Phase.JOINING)
    world.unhealthy.add(name(4))
    go_on(world, 1_210)
    assert swap_of(world, 3).phase is Phase.UNDOING
    for _ in range(2):  # told twice
        warn(world, 3, planned(world, name(3), Purpose.REPLACE))
    assert go_on(world, 1_200) >= 3
    assert len(world.tokens) == 2
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


def test_a_message_that_overtakes_the_journal_is_not_lost() -> None:
    """Who hands over sends the message first, and writes the journal then; the queue may be faster."""
    world = world_of(3)
    sent: list[int] = []
    effect = world.save

    def slow(journal: GroupJournal) -> None:
        if sent and not journal.claimed_until_ms:
            world.save = effect  # type: ignore[method-assign]
            driver_of(world).drive(GROUP, before_wait=lambda read, _: sent.append(read.wake), wake=sent.pop())
        effect(journal)

    world.save = slow  # type: ignore[method-assign]
    swap = planned(world, name(1))
    driver_of(world).drive(
        GROUP,
        change=lambda read: opened(read, swap, world.now_ms()),
        before_wait=lambda read, _: sent.append(read.wake),
    )
    assert sent == [world.journals[GROUP].wake]


@pytest.mark.parametrize("purpose", [Purpose.TO_ON_DEMAND, Purpose.REPLACE])
def test_a_twin_that_is_taken_out_of_its_group_takes_the_desired_capacity_with_it_once(purpose: Purpose) -> None:
    world = world_of(3, room=2, spots=[3])
    begin(world, 3, purpose)
    reach(world, 3, Phase.JOINING)
    world.groups[GROUP].tags["AsgOptimiser"] = "off"
    assert go_on(world, 1_200) >= 3
    assert outcomes(world) == {name(3): Outcome.UNDONE}
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


@pytest.mark.parametrize("when", When)
def test_a_twin_that_is_removed_as_the_process_dies_is_counted_once(when: When) -> None:
    world = world_of(3, room=2, spots=[3])
    begin(world, 3, Purpose.REPLACE)
    reach(world, 3, Phase.JOINING)
    world.groups[GROUP].tags["AsgOptimiser"] = "off"
    world.fault = (1, when)
    with pytest.raises(KilledError):
        driver_of(world).drive(GROUP)
    assert go_on(world, 1_200) >= 3
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])


def test_a_twin_that_is_interrupted_in_the_place_of_an_interrupted_original_serves_until_it_is_replaced() -> None:
    world = world_of(3, room=2, spots=[3])
    warn(world, 3, planned(world, name(3), Purpose.REPLACE))
    reach(world, 3, Phase.JOINING)
    warn(world, 4, planned(world, name(4), Purpose.REPLACE))
    assert go_on(world, 1_200) >= 3
    assert outcomes(world) == {name(3): Outcome.DONE, name(4): Outcome.DONE}
    assert (sizes(world), world.serving(GROUP), world.orphans()) == ((3, 5), 3, [])
