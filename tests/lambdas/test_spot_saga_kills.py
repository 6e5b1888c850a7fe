"""The saga killed at each of its calls, and every call failing in every way it can."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lambdas.spot.swap import Outcome
from tests.spot_cloud import Cloud, Fault, KilledError, cloud, is_spot

MOST_CALLS = 60


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


def serving(aws: Cloud) -> int:
    return sum(
        one["LifecycleState"] == "InService" and one["InstanceId"] in aws.instances()
        for one in aws.group()["Instances"]
    )


@dataclass(frozen=True)
class Ran:
    """What came of a swap in which something went wrong.

    Attributes:
        reached: whether there was a call to go wrong.
    """

    reached: bool
    outcomes: list[Outcome]
    lowest: int
    launches: int
    orphans: list[str]
    group: dict[str, Any]
    spots: int


def run(at: int, fault: Fault, *, lasting: bool = False) -> Ran:
    """A swap in a group at its MaxSize, with a fault at a call; then the runs that come after it."""
    with cloud() as aws:
        original = aws.make_group(size=3, most=3)[0]
        planned = aws.planned(original, "m5.large", on_demand_last=fault in (Fault.NO_CAPACITY, Fault.QUOTA))
        lowest = [3]
        aws.watch = lambda: lowest.append(serving(aws))
        aws.fault_at = {at: fault}
        try:
            aws.begin(planned)
        except KilledError:
            pass
        reached = not aws.fault_at
        aws.fault_at = {}
        aws.finish()
        if not aws.journal().ended:
            aws.begin(planned)
            aws.finish()
        group = aws.group()
        members = [one["InstanceId"] for one in group["Instances"]]
        return Ran(
            reached=reached,
            outcomes=[ended.outcome for ended in aws.journal().ended],
            lowest=min(lowest),
            launches=len(aws.tokens),
            orphans=aws.orphans(),
            group=group,
            spots=sum(is_spot(aws.instances()[one]) for one in members),
        )


def assert_nothing_half_done(ran: Ran) -> None:
    assert ran.orphans == []
    assert ran.lowest >= 3
    assert (ran.group["MinSize"], ran.group["MaxSize"], ran.group["DesiredCapacity"]) == (1, 3, 3)
    assert len(ran.group["Instances"]) == 3
    assert ran.group["SuspendedProcesses"] == []


def test_a_swap_puts_a_spot_instance_in_the_place_of_an_on_demand_one(aws: Cloud) -> None:
    original = aws.make_group()[0]
    aws.begin(aws.planned(original, "m5.large"))
    assert [ended.outcome for ended in aws.finish().ended] == [Outcome.DONE]
    members = [one["InstanceId"] for one in aws.group()["Instances"]]
    assert original not in members
    assert sum(is_spot(aws.instances()[one]) for one in members) == 1
    assert len(aws.calls) < 40


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LOST_ANSWER])
def test_killed_at_any_call_the_next_run_finishes_and_nothing_is_left(fault: Fault) -> None:
    for at in range(MOST_CALLS):
        ran = run(at, fault)
        if not ran.reached:
            break
        assert_nothing_half_done(ran)
        assert ran.outcomes[-1:] == [Outcome.DONE], (at, ran)
        assert (ran.spots, ran.launches) == (1, 1), (at, ran)
    assert at > 25
