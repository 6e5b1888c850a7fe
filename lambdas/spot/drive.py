"""Drive: takes the swaps of a group as far as they go now. The journal is written before each call."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from connectors.fields import LARGEST_INTEGER
from lambdas.spot.act import Act
from lambdas.spot.amazon import CALL_FAILED, AmazonError, UnreadError, amazon_error
from lambdas.spot.describe import Describe
from lambdas.spot.driven import Driven
from lambdas.spot.journal import JournalConflictError, JournalStore
from lambdas.spot.observe import observe
from lambdas.spot.saga import next_step
from lambdas.spot.saga_step import Call, Intent, SagaSettings, Wait
from lambdas.spot.steps import Steps
from lambdas.spot.swap import GroupJournal

ALL_CALLS: Final = frozenset(Call)
LAUNCH_CALLS: Final = frozenset({Call.LAUNCH})


class Driver:
    """What is needed to take a step.

    Args:
        describe: Questions.
        act: Changes.
        store: The journal.
        tag: The tag that puts a group under our care.
        settings: How long is waited.
        clock_ms: The time.
        dry_run: Whether nothing is written and nothing is changed.
    """

    def __init__(
        self,
        describe: Describe,
        act: Act,
        store: JournalStore,
        *,
        tag: str,
        settings: SagaSettings,
        clock_ms: Callable[[], int],
        dry_run: bool = False,
    ) -> None:
        self._describe = describe
        self._act = act
        self._store = store
        self._tag = tag
        self._settings = settings
        self._clock_ms = clock_ms
        self._dry_run = dry_run

    def drive(
        self,
        group: str,
        *,
        change: Callable[[GroupJournal], GroupJournal] = lambda journal: journal,
        may: frozenset[Call] = ALL_CALLS,
        before_wait: Callable[[GroupJournal, Wait], None] = lambda _journal, _wait: None,
        wake: int = LARGEST_INTEGER,
    ) -> Driven:
        """Takes the swaps of a group on until there is nothing more to do now.

        Args:
            group: Its name.
            change: What is to be added to its journal first, such as a swap.
            may: The calls that this actuator makes; at any other it hands over.
            before_wait: Called before the journal says that nobody is at work; sends the message that wakes the next.
            wake: Which of the group's waits this ends; one before the last is void, and nothing is done.

        Raises:
            UnreadError: The journal cannot be read.
            JournalCorruptError: The journal cannot be understood.
        """
        try:
            journal = self._store.load(group)
        except CALL_FAILED as error:
            failed = amazon_error(error, "journal")
            raise UnreadError(failed.refusal, failed.operation, failed.code, failed.said) from error
        if wake < journal.wake:
            return Driven(journal)
        now_ms = self._clock_ms()
        if journal.claimed_until_ms > now_ms:
            wait = Wait(journal.claimed_until_ms - now_ms + 1_000, "another actuator to finish")
            # The message of a wait is sent before the journal has it, so this one may have come too early.
            ahead = replace(journal, wake=wake) if journal.wake < wake < LARGEST_INTEGER else journal
            before_wait(ahead, wait)
            return Driven(journal, wait=wait, is_busy=True)
        if self._dry_run:
            return self._tried(journal, change(journal), now_ms)
        run = Steps(self._describe, self._act, self._store, self._tag, self._settings, self._clock_ms, journal)
        try:
            return run.to_the_end(change(journal), may, before_wait)
        except JournalConflictError:
            wait = Wait(self._settings.poll_ms, "another actuator to finish")
            return Driven(run.journal, wait=wait, is_busy=True)

    def _tried(self, stored: GroupJournal, journal: GroupJournal, now_ms: int) -> Driven:
        try:
            seen = observe(self._describe, journal, self._tag, {})
        except CALL_FAILED as error:
            return Driven(stored, error=amazon_error(error, "describe"))
        then = next_step(journal, seen, now_ms, self._settings).then
        if not isinstance(then, Intent):
            return Driven(stored, intended=then.reason if isinstance(then, Wait) else None)
        try:
            allowed = self._act.rehearse(then, journal.group, seen)
        except AmazonError as error:
            return Driven(stored, intended=_told(then), error=error)
        return Driven(stored, intended=f"{_told(then)}{', which EC2 would do' if allowed else ''}")


def _told(intent: Intent) -> str:
    option = intent.swap.option if intent.swap and intent.call is Call.LAUNCH else None
    what = f"{option.instance_type} {option.purchase}" if option else ""
    return " ".join(str(one) for one in (intent.call, what, intent.instance_id, intent.size) if one)
