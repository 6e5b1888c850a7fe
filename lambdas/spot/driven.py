"""Driven: how far the swaps of a group came in one run."""

from dataclasses import dataclass

from lambdas.spot.amazon import AmazonError
from lambdas.spot.saga_step import Call, Wait
from lambdas.spot.swap import EndedSwap, GroupJournal, Swap


@dataclass(frozen=True, slots=True)
class RefusedLaunch:
    """A launch for which there was no capacity."""

    swap: Swap
    zone: str
    code: str


@dataclass(frozen=True, slots=True)
class Driven:
    """How far it went.

    Attributes:
        journal: as it is now.
        wait: what is waited for, None if nothing is.
        handed_over: whether the next call is for another actuator to make.
        ended: the swaps that ended in this run.
        refused: launches for which there was no capacity.
        error: a call that failed, after which nothing more was tried.
        calls: the calls that changed something.
        intended: in a dry run, the call that would have been next.
        is_busy: whether another actuator is at work on the group, and nothing was done.
    """

    journal: GroupJournal
    wait: Wait | None = None
    handed_over: bool = False
    ended: tuple[EndedSwap, ...] = ()
    refused: tuple[RefusedLaunch, ...] = ()
    error: AmazonError | None = None
    calls: tuple[Call, ...] = ()
    intended: str | None = None
    is_busy: bool = False
