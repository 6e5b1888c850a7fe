"""Swap run: takes swaps of many groups on from one process, as the queues do between functions."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from lambdas.spot.drive import Driver
from lambdas.spot.driven import Driven
from lambdas.spot.swap import EndedSwap, GroupJournal, PlannedSwap, open_swap

RETRY_MS: Final = 15_000
MOST_FAILURES: Final = 5
"""As often as the queues' redrive policy lets a message fail."""


@dataclass(frozen=True, slots=True)
class News:
    """What happened in one round.

    Attributes:
        lines: it, for people.
        ended: the swaps that ended.
        given_up: groups whose calls failed again and again; the journal has what is left to do.
    """

    lines: tuple[str, ...] = ()
    ended: tuple[EndedSwap, ...] = ()
    given_up: tuple[str, ...] = ()


@dataclass
class _Turn:
    swaps: list[PlannedSwap]
    at_ms: int = 0
    failures: int = 0
    last: str = ""


@dataclass
class SwapRun:
    """Groups taken on in turn, each when its wait is over.

    Args:
        driver: What takes a step.
        swaps: What is to be begun.
        begun: Groups that have swaps under way.
    """

    driver: Driver
    swaps: Iterable[PlannedSwap]
    begun: Iterable[str] = ()
    _turns: dict[str, _Turn] = field(init=False)

    def __post_init__(self) -> None:
        self._turns = {name: _Turn([]) for name in self.begun}
        for swap in self.swaps:
            self._turns.setdefault(swap.group, _Turn([])).swaps.append(swap)

    @property
    def is_done(self) -> bool:
        """Whether no group has anything left to do."""
        return not self._turns

    @property
    def next_at_ms(self) -> int:
        """When the next group's wait is over."""
        return min(turn.at_ms for turn in self._turns.values())

    def go_on(self, now_ms: int) -> News:
        """Takes every group on whose wait is over.

        Raises:
            AmazonError: The journal cannot be read.
            JournalCorruptError: The journal cannot be understood.
        """
        news = News()
        for name, turn in sorted(self._turns.items()):
            if turn.at_ms <= now_ms:
                news = _added(news, self._drive(name, turn, now_ms))
        return news

    def _drive(self, name: str, turn: _Turn, now_ms: int) -> News:
        driven = self.driver.drive(name, change=lambda journal: _opened(journal, turn.swaps, now_ms))
        if not driven.is_busy:
            turn.swaps = []
        lines = [
            f"{name}: {ended.original_id} -> {ended.twin_id or 'nothing'}: {ended.outcome}, {ended.reason}"
            for ended in driven.ended
        ]
        said = str(driven.error) if driven.error else _waits_for(driven, now_ms)
        if said and said != turn.last:
            lines.append(f"{name}: {said}" if driven.error else f"{name}: waits for {said}")
        turn.last = said
        turn.failures = turn.failures + 1 if driven.error else 0
        given_up = self._schedule(name, turn, driven, now_ms)
        return News(tuple(lines), driven.ended, given_up)

    def _schedule(self, name: str, turn: _Turn, driven: Driven, now_ms: int) -> tuple[str, ...]:
        if driven.wait is not None:
            turn.at_ms = now_ms + driven.wait.delay_ms
        elif driven.error is not None and driven.journal.is_open and turn.failures < MOST_FAILURES:
            turn.at_ms = now_ms + RETRY_MS
        else:
            del self._turns[name]
            return (name,) if driven.error is not None and driven.journal.is_open else ()
        return ()


def _waits_for(driven: Driven, now_ms: int) -> str:
    claimed_until_ms = driven.journal.claimed_until_ms
    if driven.is_busy and claimed_until_ms > now_ms:
        until = datetime.fromtimestamp(claimed_until_ms / 1_000, UTC)
        return (
            f"the claim of another run or function, until {until:%H:%M:%S} UTC; if that was killed, "
            "this run then goes on from where it stopped"
        )
    return driven.wait.reason if driven.wait else ""


def _opened(journal: GroupJournal, planned: Iterable[PlannedSwap], at_ms: int) -> GroupJournal:
    new = [open_swap(one, at_ms) for one in planned if journal.swap_of(one.original_id) is None]
    return replace(journal, swaps=(*journal.swaps, *new))


def _added(before: News, news: News) -> News:
    return News(before.lines + news.lines, before.ended + news.ended, before.given_up + news.given_up)
