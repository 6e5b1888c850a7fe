"""The saga's laws, over every order of kills, interruptions, scaling and droughts that Hypothesis thinks of."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from connectors.spot_facts import Purchase
from lambdas.spot.drive import Driver
from lambdas.spot.fleet import Pool
from lambdas.spot.saga_step import SagaSettings
from lambdas.spot.steps import CLAIM_MS
from lambdas.spot.swap import GroupJournal, LaunchOption, Outcome, PlannedSwap, Purpose, open_swap
from tests.spot_world import TEMPLATE, Asked, KilledError, When, World

GROUP = "web"


def driver_of(world: World) -> Driver:
    asked: Any = Asked(world)
    return Driver(asked, world, world, tag="AsgOptimiser", settings=SagaSettings(), clock_ms=world.now_ms)  # type: ignore[arg-type]


def planned(world: World, original_id: str, purpose: Purpose = Purpose.TO_SPOT) -> PlannedSwap:
    original = world.machines[original_id].instance
    return PlannedSwap(
        group=GROUP,
        original_id=original_id,
        original_type=original.instance_type,
        original_purchase=original.purchase,
        purpose=purpose,
        template=TEMPLATE,
        subnet_id=original.subnet_id,
        zone=original.zone,
        options=(LaunchOption("m5.large", Purchase.SPOT), LaunchOption("m5a.large", Purchase.ON_DEMAND)),
        per_hour=None,
        reason="a test",
    )


def opened(journal: GroupJournal, swap: PlannedSwap, at_ms: int) -> GroupJournal:
    if journal.swap_of(swap.original_id):
        return journal
    return replace(journal, swaps=(*journal.swaps, open_swap(swap, at_ms)))


class SagaLaws(RuleBasedStateMachine):
    """A group at its MaxSize, to which anything may happen; in the end everything is as its owner set it."""

    @initialize(size=st.integers(1, 4), room=st.integers(0, 1))
    def begin(self, size: int, room: int) -> None:
        self.world = World()
        self.world.make_group(GROUP, size, most=size + room)
        self.world.groups[GROUP].min_size = 0
        self.max_size = size + room
        self.driver = driver_of(self.world)
        self.taken: set[str] = set()

    def drive(self, change: Any = lambda journal: journal) -> None:
        try:
            self.driver.drive(GROUP, change=change)
        except KilledError:
            self.world.advance(CLAIM_MS / 1_000 + 1)  # until its claim has run out

    @rule(index=st.integers(0, 5), purpose=st.sampled_from([Purpose.TO_SPOT, Purpose.REPLACE, Purpose.TO_ON_DEMAND]))
    def swap(self, index: int, purpose: Purpose) -> None:
        staying = self.world.staying(GROUP)
        if not staying:
            return
        one = staying[index % len(staying)].instance.instance_id
        journal = self.world.journals.get(GROUP, GroupJournal(GROUP))
        if any(one in (swap.twin_id, swap.original_id) for swap in journal.swaps):
            return
        if purpose is Purpose.REPLACE:
            self.interrupt(index)
        self.drive(lambda read: opened(read, planned(self.world, one, purpose), self.world.now_ms()))

    @rule()
    def go_on(self) -> None:
        self.drive()

    @rule(at=st.integers(0, 6), when=st.sampled_from(When))
    def die_at(self, at: int, when: When) -> None:
        self.world.fault = (at, when)
        self.drive()
        self.world.fault = None

    @rule(seconds=st.sampled_from([5, 31, 61, 125, 400, 1_300]))
    def time_passes(self, seconds: int) -> None:
        self.world.advance(seconds)

    @rule(index=st.integers(0, 5))
    def interrupt(self, index: int) -> None:
        alive = [name for name, machine in self.world.machines.items() if machine.alive()]
        if alive:
            self.world.interrupt(alive[index % len(alive)])
            self.taken.add(alive[index % len(alive)])

    @rule()
    def pool_runs_dry(self) -> None:
        self.world.dry = set() if self.world.dry else {Pool("m5.large", "eu-west-1a")}

    @rule(index=st.integers(0, 5))
    def sick(self, index: int) -> None:
        journal = self.world.journals.get(GROUP)
        twins = [swap.twin_id for swap in journal.swaps if swap.twin_id] if journal else []
        if twins:
            self.world.unhealthy.add(twins[index % len(twins)])

    @rule(by=st.sampled_from([-1, 1]))
    def scale(self, by: int) -> None:
        group = self.world.groups[GROUP]
        group.desired = max(group.min_size, min(group.max_size, group.desired + by))
        self.world.settle()

    @precondition(lambda self: self.world.groups[GROUP].tags["AsgOptimiser"] == "on")
    @rule()
    def untag(self) -> None:
        self.world.groups[GROUP].tags["AsgOptimiser"] = "off"

    @rule()
    def delete(self) -> None:
        self.world.groups[GROUP].deleting = True
        self.world.groups[GROUP].desired = 0
        self.world.settle()

    @invariant()
    def one_token_launches_once(self) -> None:
        if hasattr(self, "world"):
            assert len(set(self.world.tokens.values())) == len(self.world.tokens)

    @invariant()
    def no_original_ends_before_its_twin_serves(self) -> None:
        assert not hasattr(self, "world") or self.world.hasty == []

    @invariant()
    def max_size_is_raised_only_while_the_journal_says_so(self) -> None:
        if hasattr(self, "world") and not self.has_its_size():
            raised = self.world.journals[GROUP].raised
            assert raised is not None
            assert raised.before == self.max_size
            assert raised.is_ours(self.world.groups[GROUP].max_size)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.unhealthy.clear()
        for _ in range(200):
            self.world.advance(CLAIM_MS / 1_000 + 1)
            driven = self.driver.drive(GROUP)
            if driven.wait is None and not driven.journal.is_open:
                break
        journal = self.world.journals.get(GROUP, GroupJournal(GROUP))
        assert not journal.is_open, journal
        assert self.world.orphans() == []
        assert self.has_its_size()
        assert self.world.groups[GROUP].desired <= self.max_size

    def has_its_size(self) -> bool:
        """Whether MaxSize is as it was; that of a group which is being deleted nobody can change or will use."""
        group = self.world.groups[GROUP]
        return group.deleting or group.max_size == self.max_size


TestSagaLaws = SagaLaws.TestCase
TestSagaLaws.settings = settings(
    max_examples=120, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("when", When)
@pytest.mark.parametrize("room", [0, 1])
def test_a_kill_anywhere_never_leaves_fewer_serving_than_were_wanted(when: When, room: int) -> None:
    reached = 0
    while survive(reached, when, room):
        reached += 1
    assert reached > 10


def survive(at: int, when: When, room: int) -> bool:
    """Whether there was a call to be killed at; the swap is done in any case, and nothing was ever amiss."""
    world = World()
    world.make_group(GROUP, 2, most=2 + room)
    driver, swap, lowest = driver_of(world), planned(world, "i-00000001"), 2
    world.fault = (at, when)
    for _ in range(60):
        ended = world.journals.get(GROUP, GroupJournal(GROUP)).ended
        with contextlib.suppress(KilledError):
            # As the spot-creator queue asks again until its message is done.
            driver.drive(GROUP, change=(lambda read: read) if ended else (lambda read: opened(read, swap, 0)))
        world.advance(31)
        lowest = min(lowest, world.serving(GROUP))
    journal = world.journals[GROUP]
    assert ([one.outcome for one in journal.ended], journal.is_open) == ([Outcome.DONE], False), (at, when)
    assert (lowest, world.orphans(), world.groups[GROUP].max_size, len(world.tokens)) == (2, [], 2 + room, 1)
    return world.fault is None
