"""Saga step: what the saga may decide: a call, a wait, or that nothing is left to do; and how long is waited. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lambdas.spot.swap import GroupJournal, Swap

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS


@dataclass(frozen=True, slots=True)
class SagaSettings:
    """How long is waited for what.

    Attributes:
        launch_ms: until a launch of which nothing is seen is given up.
        warm_ms: until a twin must have passed its checks.
        join_ms: until a twin must be attached, and then until it must serve, its load balancers included.
        checks_ms: until a twin can have passed its status checks at the earliest; nobody looks before.
        poll_ms: between two looks, at first; a drain is looked after less and less often.
        urgent_poll_ms: the same while an original is being interrupted.
        most_poll_ms: the most between two looks. SQS delays a message by 15 minutes at most.
    """

    launch_ms: int = 10 * MINUTE_MS
    warm_ms: int = 15 * MINUTE_MS
    checks_ms: int = 90 * SECOND_MS
    join_ms: int = 20 * MINUTE_MS
    poll_ms: int = 30 * SECOND_MS
    urgent_poll_ms: int = 5 * SECOND_MS
    most_poll_ms: int = 15 * MINUTE_MS


class Call(StrEnum):
    """What may be asked of EC2 and Auto Scaling."""

    LAUNCH = "launch"
    END_TWIN = "end_twin"
    RAISE_MAX_SIZE = "raise_max_size"
    RESTORE_MAX_SIZE = "restore_max_size"
    ATTACH = "attach"
    END_ORIGINAL = "end_original"
    REMOVE_TWIN = "remove_twin"
    LOWER_DESIRED = "lower_desired"


@dataclass(frozen=True, slots=True)
class Intent:
    """A call to make, once the journal has it.

    Attributes:
        call: which.
        swap: of which swap; None for what concerns the group.
        instance_id: the instance that it concerns.
        size: the MaxSize or desired capacity to set.
    """

    call: Call
    swap: Swap | None = None
    instance_id: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `delay_ms` have passed; `reason` says what is waited for."""

    delay_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is left to do."""


@dataclass(frozen=True, slots=True)
class Step:
    """The journal as it must be written first, and what to do then."""

    journal: GroupJournal
    then: Intent | Wait | Rest
