"""A group that somebody deletes while one of its instances is swapped, before each call of the swap."""

import io
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

import pytest

from lambdas.create_spot import create
from lambdas.scan_candidates import scan
from lambdas.spot.actuator import Actuator
from lambdas.spot.swap import EndedSwap, Outcome
from lambdas.swap_instance import swap
from tests.forked import Forks
from tests.lambdas.spot_calls import calls_to_fail
from tests.lambdas.test_spot_actuators import handled
from tests.lambdas.test_spot_refusals import created, lines, logging_to, making, reasons, replaced
from tests.spot_cloud import TAG, Cloud, cloud

pytestmark = pytest.mark.long

MOST_CALLS = 90
FLOWS = {"to spot": created, "interrupted": replaced}
CHANGES = ("RunInstances", "Terminate", "Update", "Attach", "Detach", "SetDesired")
LOOK = "DescribeAutoScalingGroups"
LOGS: list[io.StringIO] = []  # loggers are known by them, so none may take the place of another
TOLD = (
    "being deleted",
    "it is not in service",
    "the group is gone",
    "the original no longer serves",
    "ValidationError: AutoScalingGroup",
    "it is gone",
)


@dataclass(frozen=True)
class Ran:
    """What came of a swap whose group was deleted before a call.

    Attributes:
        unwanted: the calls that changed something once the group was seen to be gone, but those that end the twin.
        was_done: whether the swap was over when the group was deleted, or nobody looked at the group after that.
        left: what was launched and has not ended.
        ended: how the swap ended.
        told: the reasons in log and dead-letter queue.
    """

    unwanted: list[str]
    was_done: bool
    left: list[str]
    is_open: bool
    ended: tuple[EndedSwap, ...]
    told: list[str]


def work(aws: Cloud, made: Actuator, rounds: int = 20) -> None:
    """Both queues, until they are empty or the rounds are over."""
    for _ in range(rounds):
        asked = [(create, one["Body"]) for one in aws.messages("spot-creator")]
        asked += [(swap, one["Body"]) for one in aws.messages("instance-swapper")]
        if not asked:
            return
        aws.now_ms += 31_000
        for handle, body in asked:
            handled(made, lambda text, handle=handle: handle(made, text), body)


def runs(flow: str, delete: Callable[[Cloud], None], numbers: Container[int], made: Actuator, aws: Cloud) -> list[Ran]:
    """A swap, its group deleted before one of these calls, each in turn; and the runs that come after it."""
    LOGS.append(log := io.StringIO())
    made = logging_to(log, made)
    handle = FLOWS[flow](aws, made)
    before, others, was_open = len(aws.journal().ended), aws.make_group("other", size=1, tags={TAG: "off"}), []

    def deleted() -> None:
        was_open.append(bool(aws.journal().swaps))
        delete(aws)

    def play() -> Ran | None:
        with aws.forking(forks):
            answer = handle()
            work(aws, made)
        if forks.forked_at is None:
            return None
        if answer["batchItemFailures"]:
            aws.now_ms += 91_000
            handle()
        if aws.deleting:
            aws.delete_group()
        for _ in range(2):
            aws.now_ms += 21 * 60_000
            scan(made)
            work(aws, made)
        assert (aws.members("other"), aws.sizes("other")) == (others, (1, 1, 1))
        calls = [name for _, name in aws.calls[forks.forked_at :]]
        seen = calls.index(LOOK)
        return Ran(
            unwanted=[name for name in calls[seen:] if name.startswith(CHANGES) and name != "TerminateInstances"],
            was_done=was_open == [False] or ("PutItem" in calls and calls.index("PutItem") < seen),
            left=aws.launched(),
            is_open=aws.journal().is_open,
            ended=aws.journal().ended[before:],
            told=[one["reason"] for one in lines(log) if one["level"] != "DEBUG" and "reason" in one] + reasons(aws),
        )

    forks: Forks[Ran | None] = Forks(numbers, lambda call: aws.meanwhile.update({call: deleted}))
    forks.play(play)
    return [ran for ran in forks.results if ran is not None]


def at_once(aws: Cloud) -> None:
    aws.delete_group()


def slowly(aws: Cloud) -> None:
    aws.deleting.add("web")


@pytest.mark.parametrize(
    ("flow", "delete", "begin"),
    [
        pytest.param("to spot", at_once, 0, id="to spot, at once"),
        pytest.param("to spot", slowly, 1, id="to spot, slowly"),
        pytest.param("interrupted", at_once, 2, id="interrupted, at once"),
    ],
)
def test_a_group_deleted_before_any_call_of_a_swap_is_not_changed_any_more_and_nothing_of_ours_is_left(
    flow: str, delete: Callable[[Cloud], None], begin: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloud() as aws:
        found = runs(flow, delete, calls_to_fail(MOST_CALLS, begin), making(aws, tmp_path, monkeypatch), aws)
    for at, ran in enumerate(found):
        assert (ran.unwanted, ran.left, ran.is_open) == ([], [], False), (at, ran)
        outcomes = [ended.outcome for ended in ran.ended]
        if outcomes == [Outcome.DONE]:
            assert ran.was_done, (at, ran)
        else:
            assert outcomes in ([], [Outcome.UNDONE]), (at, ran)
            reasons_given = [ended.reason for ended in ran.ended] or ran.told
            assert any(one in given for given in reasons_given for one in TOLD), (at, ran)
            assert all(ended.reason in ran.told for ended in ran.ended), (at, ran)
    assert len(found) > 8
