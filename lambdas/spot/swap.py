"""Swap: one instance of a group that another takes the place of, and what is remembered of it. Pure."""

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final

from connectors.spot_facts import Purchase
from lambdas.spot.fleet import TemplateVersion

KEPT_MS: Final = 24 * 3_600_000
"""How long it is remembered how a swap ended."""

RETRY_MS: Final = 3_600_000
"""How long an instance is left alone after a swap of it came to nothing."""


class Purpose(StrEnum):
    """Why an instance is swapped."""

    TO_SPOT = "to_spot"
    """Spot capacity costs less."""
    TO_ON_DEMAND = "to_on_demand"
    """The group wants more On-Demand Instances, or its pool is given up."""
    ROLL_OUT = "roll_out"
    """Its image is not that of the launch template."""
    REPLACE = "replace"
    """It is interrupted: no time may be lost."""


@dataclass(frozen=True, slots=True)
class LaunchOption:
    """What may be launched; `per_hour` is what it cost when it was chosen."""

    instance_type: str
    purchase: Purchase
    per_hour: Decimal | None = None

    @property
    def is_spot(self) -> bool:
        """Whether it is Spot capacity."""
        return self.purchase is Purchase.SPOT


@dataclass(frozen=True, slots=True)
class PlannedSwap:
    """What is to be done, and why.

    Attributes:
        options: what to launch, the best first; the others are for want of capacity.
        per_hour: what the original costs.
        reason: why, for people.
    """

    group: str
    original_id: str
    original_type: str
    original_purchase: Purchase
    purpose: Purpose
    template: TemplateVersion
    subnet_id: str
    zone: str
    options: tuple[LaunchOption, ...]
    per_hour: Decimal | None
    reason: str

    @property
    def saving_per_hour(self) -> Decimal | None:
        """What an hour costs less with the first option; negative where it costs more."""
        price = self.options[0].per_hour
        return None if price is None or self.per_hour is None else self.per_hour - price


class Phase(StrEnum):
    """How far a swap has come. The journal says so before the step is taken."""

    LAUNCHING = "launching"
    """The twin may have been asked for."""
    WARMING = "warming"
    """There is a twin, outside the group, whose health and equivalence are awaited."""
    ATTACHING = "attaching"
    """The twin may have been attached, and the desired capacity be one more."""
    JOINING = "joining"
    """The twin is in the group, and its service is awaited."""
    ENDING = "ending"
    """The original may have been ended, and the desired capacity be as before."""
    DRAINING = "draining"
    """The original is on its way out."""
    UNDOING = "undoing"
    """The twin is to go, wherever it is."""


_PAST_UNDOING: Final = frozenset({Phase.ENDING, Phase.DRAINING})
_CROWDED: Final = frozenset({Phase.ATTACHING, Phase.JOINING, Phase.ENDING})


class Outcome(StrEnum):
    """How a swap ended."""

    DONE = "done"
    """The twin serves in place of the original."""
    UNDONE = "undone"
    """The original is as it was, and the twin, if there ever was one, has ended."""
    KEPT = "kept"
    """The group needs both by now, or what is left of them, and was left as it is."""


@dataclass(frozen=True, slots=True)
class Swap:
    """A swap under way.

    Attributes:
        template: the version that the twin is launched from.
        subnet_id: where it is launched; part of what makes a repeated launch the same launch.
        attempt: which of the options is tried.
        asked_at_ms: when the twin of this attempt was first asked for; None before that.
        twin_id: the twin, once it is known.
        since_ms: since when it is in its phase.
        desired_before: the desired capacity before the twin was attached.
        lower_to: the desired capacity once only one of both counts, from when it was asked to be lowered.
        why: in UNDOING, why.
        asked_to_end: whether, in UNDOING, a twin that is not to be seen was asked to end.
    """

    swap_id: str
    original_id: str
    purpose: Purpose
    template: TemplateVersion
    subnet_id: str
    options: tuple[LaunchOption, ...]
    phase: Phase
    since_ms: int
    opened_at_ms: int
    attempt: int = 0
    asked_at_ms: int | None = None
    twin_id: str | None = None
    desired_before: int | None = None
    lower_to: int | None = None
    why: str | None = None
    asked_to_end: bool = False

    @property
    def urgent(self) -> bool:
        """Whether the original ends by itself within two minutes."""
        return self.purpose is Purpose.REPLACE

    @property
    def crowds(self) -> bool:
        """Whether the group may hold original and twin, and its desired capacity may be one more."""
        return self.phase in _CROWDED or (self.phase is Phase.UNDOING and self.desired_before is not None)

    @property
    def cannot_be_undone(self) -> bool:
        """Whether the original may have been ended, so that it is the twin that stays."""
        return self.phase in _PAST_UNDOING

    @property
    def option(self) -> LaunchOption:
        """What this attempt launches."""
        return self.options[self.attempt]

    @property
    def client_token(self) -> str:
        """What makes RunInstances launch once, however often it is asked: one token for each attempt.

        Source: EC2 Developer Guide, ec2-api-idempotency; 64 ASCII characters at most.
        """
        return f"headroom-{self.swap_id}-{self.attempt}"

    def begun_again(self, at_ms: int) -> "Swap | None":
        """Another swap of the same original, with what was not tried yet; None if that is nothing."""
        options = self.options[self.attempt + 1 :]
        if not options:
            return None
        return _begun(f"{self.swap_id} {at_ms}", self, options, at_ms)


@dataclass(frozen=True, slots=True)
class EndedSwap:
    """How a swap ended, kept for a day."""

    swap_id: str
    original_id: str
    twin_id: str | None
    purpose: Purpose
    outcome: Outcome
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class RaisedMaxSize:
    """The MaxSize of a group was `before`, and has since been raised by us to `raised_to` at most."""

    before: int
    raised_to: int

    def is_ours(self, max_size: int) -> bool:
        """Whether a MaxSize is one that we may have set; any other is the user's."""
        return self.before <= max_size <= self.raised_to


@dataclass(frozen=True, slots=True)
class GroupJournal:
    """What is remembered of a group: the swaps under way, and what must be put back.

    Attributes:
        version: counts the writes; each is made on the one before.
        claimed_until_ms: until when its last writer may be at work; 0 if it has said that it is not.
        wake: counts the waits; a message of an earlier one is void.
        last_moved_ms: when it was last written.
    """

    group: str
    version: int = 0
    claimed_until_ms: int = 0
    wake: int = 0
    last_moved_ms: int = 0
    raised: RaisedMaxSize | None = None
    swaps: tuple[Swap, ...] = ()
    ended: tuple[EndedSwap, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether there is anything left to do."""
        return bool(self.swaps) or self.raised is not None

    def swap_of(self, original_id: str) -> Swap | None:
        """The swap under way of an instance."""
        return next((swap for swap in self.swaps if swap.original_id == original_id), None)

    def resting(self, original_id: str, at_ms: int) -> EndedSwap | None:
        """The swap that lately came to nothing, for which an instance is left alone."""
        return next(
            (
                ended
                for ended in reversed(self.ended)
                if ended.original_id == original_id
                and ended.outcome is not Outcome.DONE
                and at_ms < ended.at_ms + RETRY_MS
            ),
            None,
        )

    def with_swap(self, swap: Swap) -> "GroupJournal":
        """The same with a swap as it is now."""
        return replace(self, swaps=tuple(swap if one.swap_id == swap.swap_id else one for one in self.swaps))

    def without(self, swap: Swap, outcome: Outcome, reason: str, at_ms: int) -> "GroupJournal":
        """The same with a swap ended."""
        ended = EndedSwap(swap.swap_id, swap.original_id, swap.twin_id, swap.purpose, outcome, reason, at_ms)
        return replace(
            self,
            swaps=tuple(one for one in self.swaps if one.swap_id != swap.swap_id),
            ended=(*(one for one in self.ended if one.at_ms > at_ms - KEPT_MS), ended),
        )


def open_swap(planned: PlannedSwap, at_ms: int) -> Swap:
    """A swap at its beginning, known by what is swapped and when it was decided."""
    decided = f"{planned.group} {planned.original_id} {planned.purpose} {at_ms}"
    return _begun(decided, planned, planned.options, at_ms)


def _begun(decided: str, wanted: PlannedSwap | Swap, options: tuple[LaunchOption, ...], at_ms: int) -> Swap:
    return Swap(
        swap_id=hashlib.sha256(decided.encode()).hexdigest()[:20],
        original_id=wanted.original_id,
        purpose=wanted.purpose,
        template=wanted.template,
        subnet_id=wanted.subnet_id,
        options=options,
        phase=Phase.LAUNCHING,
        since_ms=at_ms,
        opened_at_ms=at_ms,
    )
