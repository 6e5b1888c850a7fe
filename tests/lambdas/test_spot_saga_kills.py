"""The saga killed at each of its calls, and every call failing in every way it can."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from lambdas.spot.swap import Outcome
from tests.spot_cloud import Cloud, Fault, KilledError, cloud

MOST_CALLS = 60


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


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
    sizes: tuple[int, int, int]
    suspended: list[dict[str, str]]
    serving: int
    spots: int


def run(at: int, fault: Fault, *, lasting: bool = False) -> Ran:
    """A swap in a group at its MaxSize, with a fault at a call; then the runs that come after it."""
    with cloud() as aws:
        original = aws.make_group(size=3, most=3)[0]
        planned = aws.planned(original, "m5.large", on_demand_last=fault in (Fault.NO_CAPACITY, Fault.QUOTA))
        lowest = [3]
        aws.watch = lambda: lowest.append(aws.serving())
        aws.fault_at = {at: fault}
        with contextlib.suppress(KilledError):
            aws.begin(planned)
        reached = not aws.fault_at
        aws.fault_at = {}
        aws.finish()
        if not aws.journal().ended:
            aws.begin(planned)
            aws.finish()
        return Ran(
            reached=reached,
            outcomes=[ended.outcome for ended in aws.journal().ended],
            lowest=min(lowest),
            launches=len(aws.tokens),
            orphans=aws.orphans(),
            sizes=aws.sizes(),
            suspended=aws.group().suspended_processes,
            serving=aws.serving(),
            spots=aws.spots(),
        )


def assert_nothing_half_done(ran: Ran) -> None:
    assert ran.orphans == []
    assert ran.lowest >= 3
    assert ran.sizes == (1, 3, 3)
    assert ran.serving == 3
    assert ran.suspended == []


def test_a_swap_puts_a_spot_instance_in_the_place_of_an_on_demand_one(aws: Cloud) -> None:
    original = aws.make_group()[0]
    aws.begin(aws.planned(original, "m5.large"))
    assert [ended.outcome for ended in aws.finish().ended] == [Outcome.DONE]
    assert original not in aws.members()
    assert (aws.spots(), aws.serving(), aws.sizes()) == (1, 3, (1, 3, 3))
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
