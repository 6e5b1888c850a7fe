"""When instances ran, from states and sightings in any order, with some of them lost."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from connectors.ec2.events import Event, InstanceState, InterruptionWarning, StateChange
from connectors.spot_facts import DescribedInstance, Facts, InstancesDescribed, Purchase
from jobs.spot.lives import Life, LifeBook, Run
from tests.jobs.test_spot_signals import ACCOUNT, INSTANCE, REGION, state, warning

SPOT, ON_DEMAND, COVERED = Purchase.SPOT, Purchase.ON_DEMAND, Purchase.COVERED
SEEN = DescribedInstance(
    instance_id=INSTANCE,
    instance_type="m7g.large",
    zone="eu-west-1b",
    group="inbox-workers",
    purchase=SPOT,
    platform="Linux/UNIX",
    launched_at_ms=100,
)
OTHER = replace(SEEN, instance_id="i-0aaaabbbbccccdddd")


def scan(at_ms: int, *instances: DescribedInstance) -> InstancesDescribed:
    return InstancesDescribed(f"scan-{at_ms}", ACCOUNT, REGION, at_ms, instances)


def change(to: InstanceState, at_ms: int) -> StateChange:
    return state(to, at_ms)


def life(*told: Event | Facts, start_ms: int | None = 0, end_ms: int | None = None) -> Life:
    book = LifeBook()
    for each in told:
        book.add(each)
    [found] = [each for each in book.lives(start_ms, end_ms).lives if each.instance_id == INSTANCE]
    return found


def runs(*told: Event | Facts, **bounds: Any) -> list[tuple[int, int]]:
    return [(run.start_ms, run.end_ms) for run in life(*told, **bounds).runs]


Told = list[Event | Facts]
RUNNING, STOPPED = InstanceState.RUNNING, InstanceState.STOPPED
ENDED, TERMINATED = InstanceState.SHUTTING_DOWN, InstanceState.TERMINATED


def test_an_instance_stands_for_its_own_type_unless_a_scan_tells_another() -> None:
    assert life(scan(200, SEEN)).stands_for == "m7g.large"
    assert life(scan(200, replace(SEEN, stands_for="m6g.large"))).stands_for == "m6g.large"


def test_an_instance_ran_from_its_launch_to_its_end_whatever_the_order_of_telling() -> None:
    told: Told = [
        change(RUNNING, 110),
        scan(200, SEEN),
        change(ENDED, 300),
        change(TERMINATED, 340),
        scan(400, OTHER),
    ]
    for order in permutations(told):
        assert runs(*order, *order) == [(110, 300)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([scan(200, SEEN), change(ENDED, 300)], [(100, 300)]),
        ([scan(200, SEEN), change(TERMINATED, 340)], [(100, 340)]),
        ([change(RUNNING, 110), scan(200, SEEN), scan(500, SEEN)], [(110, 500)]),
        ([scan(200, SEEN), scan(500, SEEN), scan(900, OTHER)], [(100, 500)]),
        ([scan(200, SEEN), change(ENDED, 300), scan(301, SEEN)], [(100, 300)]),
        ([change(ENDED, 150), scan(200, SEEN)], [(100, 150)]),
    ],
    ids=[
        "its start is not told",
        "only the last state is told",
        "it runs still",
        "its end is not told, and the newest scan does not see it",
        "a scan saw it after its end",
        "a scan tells of it only after its end",
    ],
)
def test_what_is_not_told_is_filled_in_by_what_the_scans_saw(told: Told, expected: list[tuple[int, int]]) -> None:
    assert runs(*told) == expected


def test_a_stopped_instance_does_not_run_until_it_is_started() -> None:
    told: Told = [
        scan(150, SEEN),
        change(STOPPED, 200),
        change(RUNNING, 300),
        scan(350, SEEN),
        change(ENDED, 400),
    ]
    assert runs(*told) == [(100, 200), (300, 400)]


def test_a_report_tells_of_its_own_time() -> None:
    told: Told = [change(RUNNING, 110), scan(200, SEEN), change(ENDED, 300)]
    assert runs(*told, start_ms=150, end_ms=250) == [(150, 250)]
    assert runs(*told, start_ms=300, end_ms=500) == []
    assert life(*told, start_ms=300, end_ms=500).purchase is None
    assert runs(scan(200, SEEN), scan(400, SEEN), start_ms=None) == [(200, 400)]


def test_hours_are_paid_for_as_the_scans_found_from_each_look_on() -> None:
    covered, on_demand = (replace(SEEN, purchase=purchase) for purchase in (COVERED, ON_DEMAND))
    told: Told = [
        scan(200, on_demand),
        scan(300, on_demand),
        scan(400, covered),
        scan(500, on_demand),
        change(ENDED, 600),
    ]
    assert life(*told, start_ms=0).runs == (Run(100, 400, ON_DEMAND), Run(400, 500, COVERED), Run(500, 600, ON_DEMAND))


def test_a_life_knows_its_first_warning_and_its_end() -> None:
    found = life(scan(200, SEEN), warning(280), warning(270), change(ENDED, 300))
    assert (found.warned_at_ms, found.ended_at_ms, found.launched_at_ms) == (270, 300, 100)
    assert isinstance(warning(270), InterruptionWarning)


def test_an_instance_that_no_scan_saw_is_counted_as_unknown() -> None:
    book = LifeBook()
    for each in (scan(100, OTHER), change(ENDED, 300)):
        book.add(each)
    found = book.lives()
    assert ([each.instance_id for each in found.lives], found.unknown) == ([OTHER.instance_id], 1)


def test_nothing_told_is_no_life() -> None:
    found = LifeBook().lives()
    assert (found.lives, found.unknown, found.start_ms, found.end_ms) == ((), 0, 0, 0)
