"""Steps: one run over the swaps of a group. The journal is written before each call."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from connectors.spot_facts import Purchase
from lambdas.spot.act import Act
from lambdas.spot.amazon import CALL_FAILED, AmazonError, Refusal, amazon_error
from lambdas.spot.describe import Describe
from lambdas.spot.driven import Driven, RefusedLaunch
from lambdas.spot.journal import JournalStore
from lambdas.spot.observe import observe
from lambdas.spot.observed import Observed
from lambdas.spot.saga import next_step
from lambdas.spot.saga_step import Call, Intent, Rest, SagaSettings, Step, Wait
from lambdas.spot.swap import GroupJournal, Outcome, Phase, Swap

CLAIM_MS: Final = 90_000
"""How long a call and what is asked before it may take: nobody else touches the group so long. An invocation that
takes longer writes its claim anew with each step; one that died lets the next begin when it has run out."""

_MOST_STEPS: Final = 60
_BACKWARDS: Final = frozenset({Call.END_TWIN, Call.REMOVE_TWIN, Call.RESTORE_MAX_SIZE, Call.LOWER_DESIRED})


class Steps:
    """Takes the swaps of one group on, step by step, each written to the journal before it is taken."""

    def __init__(
        self,
        describe: Describe,
        act: Act,
        store: JournalStore,
        tag: str,
        settings: SagaSettings,
        clock_ms: Callable[[], int],
        journal: GroupJournal,
    ) -> None:
        self._describe = describe
        self._act = act
        self._store = store
        self._tag = tag
        self._settings = settings
        self._clock_ms = clock_ms
        self._written = self._written_before = self.journal = journal
        self._ended_before = {ended.swap_id for ended in journal.ended}
        self._refused: list[RefusedLaunch] = []
        self._calls: list[Call] = []
        self._compared: dict[str, tuple[str, ...]] = {}
        self._failed: AmazonError | None = None

    def to_the_end(
        self, journal: GroupJournal, may: frozenset[Call], before_wait: Callable[[GroupJournal, Wait], None]
    ) -> Driven:
        """Steps, until one is a wait, a rest, an error, or another actuator's."""
        self.journal = journal
        for _ in range(_MOST_STEPS):
            if not self.journal.is_open:
                return self._rest()
            try:
                stopped = self._next(may, before_wait)
            except AmazonError as error:
                stopped = self._stopped(error)
            if stopped is not None:
                return stopped
        return self._stopped(AmazonError(Refusal.REFUSED, "drive", "TooManySteps", "the group does not come to rest"))

    def _next(self, may: frozenset[Call], before_wait: Callable[[GroupJournal, Wait], None]) -> Driven | None:
        seen = self._observe()
        step = next_step(self.journal, seen, self._clock_ms(), self._settings)
        if isinstance(step.then, Rest):
            self.journal = step.journal
            return self._rest()
        if isinstance(step.then, Wait):
            return self._wait(step, step.then, before_wait)
        if step.then.call not in may:
            return self._hand_over(before_wait)
        self._write(step.journal, claim=True)
        try:
            self._take(step.then, self._act.call(step.then, self.journal.group, seen))
        except AmazonError as error:
            if not self._go_on_after(step.then, error):
                raise
        return None

    def _observe(self) -> Observed:
        try:
            return observe(self._describe, self.journal, self._tag, self._compared)
        except CALL_FAILED as error:
            raise amazon_error(error, "describe") from error

    def _take(self, intent: Intent, launched: str | None) -> None:
        self._calls.append(intent.call)
        if intent.call is Call.LAUNCH and intent.swap is not None and launched is not None:
            warming = replace(intent.swap, phase=Phase.WARMING, twin_id=launched, since_ms=self._clock_ms())
            self.journal = self.journal.with_swap(warming)
        if intent.call is Call.END_ORIGINAL and intent.swap is not None:
            draining = replace(intent.swap, phase=Phase.DRAINING, since_ms=self._clock_ms())
            self.journal = self.journal.with_swap(draining)
        if intent.call is Call.REMOVE_TWIN and intent.swap is not None:
            self.journal = self.journal.with_swap(replace(intent.swap, desired_before=None, lower_to=None))

    def _go_on_after(self, intent: Intent, error: AmazonError) -> bool:
        """Whether there is something to do after a failed call, within this run: the next best, or undoing."""
        swap = intent.swap
        if error.refusal is Refusal.TRANSIENT or intent.call in _BACKWARDS:
            return False
        if intent.call is Call.LAUNCH and swap is not None:
            return self._launch_failed(swap, error)
        if error.refusal is Refusal.REFUSED and self._failed is None:
            self._failed = error
            if intent.call is Call.END_ORIGINAL and swap is not None and not swap.urgent:
                # Nothing was ended or lowered. Of an urgent one that is seen from the desired capacity.
                self.journal = self.journal.with_swap(replace(swap, phase=Phase.JOINING, lower_to=None))
            return True  # what is true may have changed: look again, once
        self._failed = error
        self._undo(swap, str(error))
        return True

    def _launch_failed(self, swap: Swap, error: AmazonError) -> bool:
        if error.refusal in (Refusal.NO_CAPACITY, Refusal.QUOTA):
            self._refused.append(RefusedLaunch(swap, self._zone(swap), error.code))
            attempt = _next_attempt(swap, error.refusal)
            if attempt is None:
                self._end(swap, f"no capacity: {error}")
            else:
                self.journal = self.journal.with_swap(replace(swap, attempt=attempt, asked_at_ms=None))
            return True
        asked_before = any(
            one.swap_id == swap.swap_id and one.asked_at_ms is not None and one.attempt == swap.attempt
            for one in self._written_before.swaps
        )
        if asked_before:
            return False  # the first time may have taken effect, so this is not the last word
        self._failed = error
        self._end(swap, str(error))
        return True

    def _zone(self, swap: Swap) -> str:
        original = self._describe.instances([swap.original_id]).get(swap.original_id)
        return original.zone if original else ""

    def _end(self, swap: Swap, reason: str) -> None:
        self.journal = self.journal.without(swap, Outcome.UNDONE, reason, self._clock_ms())

    def _undo(self, swap: Swap | None, why: str) -> None:
        undone = [swap] if swap else [one for one in self.journal.swaps if one.phase is Phase.WARMING]
        for one in undone:
            undoing = replace(one, phase=Phase.UNDOING, since_ms=self._clock_ms(), why=why)
            self.journal = self.journal.with_swap(undoing)

    def _rest(self) -> Driven:
        if self.journal != self._written or self._written.claimed_until_ms:
            self._write(self.journal, claim=False)
        return self._driven(error=self._failed if self._failed and self._was_given_up() else None)

    def _wait(self, step: Step, wait: Wait, before_wait: Callable[[GroupJournal, Wait], None]) -> Driven:
        self.journal = replace(step.journal, wake=self._written.wake + 1)
        before_wait(self.journal, wait)
        self._write(self.journal, claim=False)
        return self._driven(wait=wait, error=self._failed if self._was_given_up() else None)

    def _hand_over(self, before_wait: Callable[[GroupJournal, Wait], None]) -> Driven:
        self.journal = replace(self.journal, wake=self._written.wake + 1)
        before_wait(self.journal, Wait(0, "the next actuator"))
        self._write(self.journal, claim=False)
        return self._driven(handed_over=True)

    def _stopped(self, error: AmazonError) -> Driven:
        """Leaves the group to the next run, which will find everything in the journal."""
        if self._written.claimed_until_ms:
            with suppress(AmazonError):  # then the claim ends by itself
                self._write(self.journal, claim=False)
        return self._driven(error=error)

    def _was_given_up(self) -> bool:
        return any(ended.swap_id not in self._ended_before for ended in self.journal.ended)

    def _driven(
        self, *, wait: Wait | None = None, handed_over: bool = False, error: AmazonError | None = None
    ) -> Driven:
        return Driven(
            self.journal,
            wait=wait,
            handed_over=handed_over,
            ended=tuple(ended for ended in self.journal.ended if ended.swap_id not in self._ended_before),
            refused=tuple(self._refused),
            error=error,
            calls=tuple(self._calls),
        )

    def _write(self, journal: GroupJournal, *, claim: bool) -> None:
        now_ms = self._clock_ms()
        self._written_before = self._written
        written = replace(
            journal,
            version=self._written.version + 1,
            claimed_until_ms=now_ms + CLAIM_MS if claim else 0,
            last_moved_ms=now_ms,
        )
        try:
            self._store.save(written)
        except CALL_FAILED as error:
            raise amazon_error(error, "journal") from error
        self._written = self.journal = written


def _next_attempt(swap: Swap, refusal: Refusal) -> int | None:
    """The next of the options; after a quota of Spot Instances, the next that is none."""
    for attempt in range(swap.attempt + 1, len(swap.options)):
        if refusal is not Refusal.QUOTA or swap.options[attempt].purchase is Purchase.ON_DEMAND:
            return attempt
    return None
