"""An instance, and the pool that hears of it: whatever the order in which it and its place are told of."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.ec2.events import InstanceState
from connectors.spot_actions import ReplaceInstance
from connectors.spot_facts import Purchase
from jobs.settings import SignalSettings
from jobs.settings.durations import DAY_MS
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.instances import InstanceFound, InstanceMemory, follow, forget_instance_at_ms
from jobs.spot.market import InstanceFacts, Pool
from jobs.spot.signals import InstanceEvent
from tests.jobs.test_spot_signals import (
    ACCOUNT,
    ENDED_MS,
    INSTANCE,
    REGION,
    WARNED_MS,
    fulfillment,
    rebalance,
    state,
    warning,
)
from tests.spot_oracle import interruptions

SETTINGS = SignalSettings()
POOL = Pool(ACCOUNT, REGION, "m7g.large", "eu-west-1b")
FACTS = InstanceFacts("m7g.large", "eu-west-1b", "inbox-workers")
FOUND = InstanceFound(ACCOUNT, REGION, 300_000, INSTANCE, FACTS, Purchase.SPOT)


def told(events: Sequence[InstanceEvent | InstanceFound]) -> tuple[list[ReplaceInstance], list[PoolEvidence]]:
    memory, actions, evidence = InstanceMemory(), list[ReplaceInstance](), list[PoolEvidence]()
    for event in events:
        memory, followed = follow(memory, event, SETTINGS)
        actions += [followed.action] if followed.action else []
        evidence += followed.evidence
    return actions, evidence


def test_a_warning_is_acted_on_before_anybody_knows_where_the_instance_runs() -> None:
    actions, evidence = told([warning()])
    assert [action.instance_id for action in actions] == [INSTANCE]
    assert evidence == []


def test_the_pool_learns_of_it_when_a_scan_tells_where_it_runs() -> None:
    _, evidence = told([rebalance(400_000), warning(), replace(FOUND, at_ms=WARNED_MS + 7)])
    known = partial(PoolEvidence, POOL, at_ms=WARNED_MS + 7, instance_id=INSTANCE)
    assert evidence == [
        known(kind=EvidenceKind.REBALANCE, told_at_ms=400_000, source_id="rebalance-400000"),
        known(kind=EvidenceKind.INTERRUPTION, told_at_ms=WARNED_MS, source_id=f"warning-{WARNED_MS}"),
    ]


def test_where_the_instance_is_known_the_pool_learns_at_once() -> None:
    _, evidence = told([FOUND, warning()])
    assert [(each.pool, each.at_ms, each.told_at_ms) for each in evidence] == [(POOL, WARNED_MS, WARNED_MS)]


EVENTS: tuple[InstanceEvent | InstanceFound, ...] = (
    FOUND,
    fulfillment(),
    rebalance(),
    warning(),
    state(),
    state(InstanceState.TERMINATED, ENDED_MS + 40_000),
)


def test_every_order_of_all_that_is_told_gives_one_action_and_one_sign_of_each_kind() -> None:
    for order in permutations(EVENTS):
        actions, evidence = told(order)
        assert len({action.action_id for action in actions}) == len(actions) == 1
        assert sorted(each.kind for each in evidence) == ["interruption", "rebalance"]
        assert {(each.pool, each.instance_id) for each in evidence} == {(POOL, INSTANCE)}


@given(st.lists(st.sampled_from(EVENTS), max_size=14))
def test_any_number_of_tellings_in_any_order_gives_as_many_actions_as_there_were_interruptions(
    events: list[InstanceEvent | InstanceFound],
) -> None:
    actions, evidence = told(events)
    # That a scan found a Spot Instance says to the oracle what the fulfillment of its request says.
    told_of = [fulfillment() if isinstance(event, InstanceFound) else event for event in events]
    assert len(actions) == interruptions(told_of).get(INSTANCE, 0)  # type: ignore[arg-type] # none is an activity
    counted = [each.kind for each in evidence]
    for kind, event in ((EvidenceKind.INTERRUPTION, warning()), (EvidenceKind.REBALANCE, rebalance())):
        assert counted.count(kind) == (event in events and FOUND in events)


@pytest.mark.parametrize("purchase", [Purchase.ON_DEMAND, Purchase.COVERED])
def test_the_end_of_an_instance_that_a_scan_found_not_to_be_spot_is_no_interruption(purchase: Purchase) -> None:
    assert told([replace(FOUND, purchase=purchase), state()]) == ([], [])


def test_the_end_of_an_instance_that_a_scan_found_to_be_spot_is_one() -> None:
    [action], _ = told([FOUND, state()])
    assert not action.evidence.announced


def test_the_newest_scan_tells_where_an_instance_runs() -> None:
    newer = replace(FOUND, at_ms=FOUND.at_ms + 1, facts=replace(FACTS, instance_type="m7g.xlarge"))
    for order in permutations([FOUND, newer]):
        _, evidence = told([*order, warning()])
        assert [each.pool.instance_type for each in evidence] == ["m7g.xlarge"]


def test_a_memory_is_kept_while_a_scan_still_speaks_of_the_instance() -> None:
    memory, _ = follow(InstanceMemory(), replace(FOUND, purchase=Purchase.ON_DEMAND, at_ms=9 * DAY_MS), SETTINGS)
    assert forget_instance_at_ms(memory, SETTINGS) == 9 * DAY_MS + SETTINGS.remember_ms
    memory, _ = follow(InstanceMemory(), replace(FOUND, at_ms=9 * DAY_MS), SETTINGS)
    assert forget_instance_at_ms(memory, SETTINGS) == 9 * DAY_MS + SETTINGS.remember_spot_ms
