"""The saga killed at each of its calls, and every call failing in every way it can."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from lambdas.spot.amazon import AmazonError
from lambdas.spot.steps import CLAIM_MS
from lambdas.spot.swap import Outcome
from lambdas.spot.swap_run import SwapRun
from tests.forked import Forks
from tests.spot_cloud import START_MS, Cloud, Fault, KilledError, cloud

pytestmark = pytest.mark.long

MOST_CALLS = 60


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@dataclass(frozen=True)
class Ran:
    """What came of a swap in which something went wrong.

    Attributes:
        while_faulty: sizes, orphans and serving instances before the fault was mended.
    """

    while_faulty: tuple[tuple[int, int, int], int, int]
    outcomes: list[Outcome]
    lowest: int
    launches: int
    orphans: list[str]
    sizes: tuple[int, int, int]
    suspended: list[dict[str, str]]
    serving: int
    spots: int


def at_each_call(fault: Fault) -> list[Ran]:
    """A swap in a group at its MaxSize, with a fault at one of its calls, each in turn, and the runs after it."""
    with cloud() as aws:
        forks = aws.failing_at(range(MOST_CALLS), fault)
        forks.play(lambda: play(aws, fault, forks=forks))
        return forks.results


def at_every(operation: str, fault: Fault) -> Ran:
    """The same where every call of an operation fails, until that is mended."""
    with cloud() as aws:
        aws.lasting = {operation: fault}
        return play(aws, fault)


def play(aws: Cloud, fault: Fault, *, forks: Forks[Ran] | None = None) -> Ran:
    original = aws.make_group(size=3, most=3)[0]
    planned = aws.planned(original, "m5.large", on_demand_last=fault in (Fault.NO_CAPACITY, Fault.QUOTA))
    lowest = [3]
    aws.watch = lambda: lowest.append(aws.serving())
    with contextlib.suppress(KilledError, AmazonError), aws.forking(forks) if forks else contextlib.nullcontext():
        aws.begin(planned)
    if aws.lasting:
        with contextlib.suppress(AmazonError):
            aws.finish(rounds=4)
    while_faulty = (aws.sizes(), len(aws.orphans()), aws.serving())
    aws.lasting = {}
    aws.finish()
    if not aws.journal().ended:
        aws.begin(planned)
        aws.finish()
    return Ran(
        while_faulty=while_faulty,
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


def test_an_attach_that_never_succeeds_is_given_up_and_its_twin_ends(aws: Cloud) -> None:
    members = aws.make_group(size=3, most=3)
    aws.lasting = {"AttachInstances": Fault.THROTTLED}
    aws.begin(aws.planned(members[0]))
    (ended,) = aws.finish(rounds=20).ended
    assert (ended.outcome, ended.reason) == (Outcome.UNDONE, "the twin could not be attached in time")
    assert (aws.members(), aws.launched(), aws.sizes()) == (members, [], (1, 3, 3))


def test_a_run_that_waits_for_a_claim_says_until_when_and_goes_on_then(aws: Cloud) -> None:
    planned = aws.planned(aws.make_group(size=3, most=3)[0])
    aws.once = {"AttachInstances": Fault.KILLED_BEFORE}
    with pytest.raises(KilledError):
        aws.begin(planned)
    run = SwapRun(aws.driver(), [], ["web"])
    until = datetime.fromtimestamp((START_MS + CLAIM_MS) / 1_000, UTC)
    (line,) = run.go_on(aws.now_ms).lines
    assert f"web: waits for the claim of another run or function, until {until:%H:%M:%S} UTC" in line
    assert aws.now_ms + CLAIM_MS < run.next_at_ms < aws.now_ms + CLAIM_MS + 2_000
    while not run.is_done:
        aws.now_ms = run.next_at_ms
        run.go_on(aws.now_ms)
    assert (aws.spots(), aws.sizes(), aws.orphans()) == (1, (1, 3, 3), [])


MUTATIONS = [
    "RunInstances",
    "UpdateAutoScalingGroup",
    "AttachInstances",
    "TerminateInstanceInAutoScalingGroup",
]
QUESTIONS = [
    "GetItem",
    "PutItem",
    "DescribeAutoScalingGroups",
    "DescribeInstances",
    "DescribeInstanceRefreshes",
    "DescribeInstanceAttribute",
    "DescribeInstanceStatus",
    "DescribeVolumes",
    "DescribeLaunchTemplateVersions",
]


@pytest.mark.parametrize("operation", [*MUTATIONS, *QUESTIONS])
@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.THROTTLED])
def test_without_a_right_or_throttled_for_long_nothing_is_left_half_done(operation: str, fault: Fault) -> None:
    assert_nothing_half_done(at_every(operation, fault))


@pytest.mark.parametrize("operation", MUTATIONS)
def test_a_right_that_is_missing_leaves_the_group_as_it_was(operation: str) -> None:
    assert at_every(operation, Fault.DENIED).while_faulty == ((1, 3, 3), 0, 3)


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.DENIED])
def test_refused_at_any_one_call_nothing_is_left_half_done(fault: Fault) -> None:
    found = at_each_call(fault)
    for at, ran in enumerate(found):
        assert_nothing_half_done(ran)
        assert ran.launches <= 2, (at, ran)
    assert len(found) > 25


@pytest.mark.parametrize("fault", [Fault.NO_CAPACITY, Fault.QUOTA])
def test_without_spot_capacity_the_next_best_is_launched(fault: Fault) -> None:
    ran = at_every("RunInstances", fault)
    assert_nothing_half_done(ran)
    launch = calls_of_a_swap().index("RunInstances")
    with cloud() as aws:
        original = aws.make_group(size=3, most=3)[0]
        aws.fault_at = {launch: fault}
        driven = aws.begin(aws.planned(original, "m5.large", on_demand_last=True))
        assert [one.code for one in driven.refused] == [fault.value]
        aws.finish()
        assert (aws.orphans(), aws.sizes(), aws.spots()) == ([], (1, 3, 3), 0)


def calls_of_a_swap() -> list[str]:
    with cloud() as aws:
        aws.begin(aws.planned(aws.make_group(size=3, most=3)[0], "m5.large"))
        return [name for _, name in aws.calls]


@pytest.mark.parametrize("fault", [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.LOST_ANSWER])
def test_killed_at_any_call_the_next_run_finishes_and_nothing_is_left(fault: Fault) -> None:
    found = at_each_call(fault)
    for at, ran in enumerate(found):
        assert_nothing_half_done(ran)
        assert ran.outcomes[-1:] == [Outcome.DONE], (at, ran)
        assert (ran.spots, ran.launches) == (1, 1), (at, ran)
    assert len(found) > 25
