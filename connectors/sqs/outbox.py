"""An outbox: messages that wait for a FIFO queue to accept them, and which of them are to be sent next. Pure.

Within a group a message is sent when the one before it has been accepted, so a failure never lets a later message
overtake. Groups wait for each other in nothing but an outage.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

MOST_IN_BATCH: Final = 10
MOST_BATCH_BYTES: Final = 1_048_576
"""Both from https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

FIRST_PAUSE_MS: Final = 100
LONGEST_PAUSE_MS: Final = 5_000


class Message(NamedTuple):
    """A message, with the time from which nobody needs it any more."""

    group_id: str
    deduplication_id: str
    body: str
    not_after_ms: int


class Waiting(NamedTuple):
    """A message in the outbox and its number there, which is higher than that of every earlier one."""

    number: int
    message: Message


@dataclass(slots=True)
class _Group:
    """The messages of a group in their order, and from when on the first of them may be sent."""

    waiting: deque[Waiting]
    failures: int = 0
    due_ms: int = 0


class Outbox:
    """Messages in the order in which they came, group by group.

    Args:
        waiting: What waits already, in any order.
    """

    def __init__(self, waiting: Iterable[Waiting] = ()) -> None:
        self._groups: dict[str, _Group] = {}
        self._next_number = 0
        self._failures = 0
        self._due_ms = 0
        for each in sorted(waiting):
            self._put(each)

    def __len__(self) -> int:
        return sum(len(group.waiting) for group in self._groups.values())

    def add(self, message: Message) -> Waiting:
        """The message as it waits from now on."""
        waiting = Waiting(self._next_number, message)
        self._put(waiting)
        return waiting

    def batch(self, now_ms: int) -> list[Waiting]:
        """What is to be sent next: at most ten messages and 1 MiB, of each group only the first."""
        chosen: list[Waiting] = []
        if now_ms < self._due_ms:
            return chosen
        chosen_bytes = 0
        for group in self._groups.values():
            if group.due_ms > now_ms:
                continue
            first = group.waiting[0]
            body_bytes = len(first.message.body.encode())
            if chosen and chosen_bytes + body_bytes > MOST_BATCH_BYTES:
                continue
            chosen.append(first)
            chosen_bytes += body_bytes
            if len(chosen) == MOST_IN_BATCH:
                break
        return chosen

    def remove(self, waiting: Waiting) -> None:
        """Forget a message that was accepted, or will never be; its group goes on with the next one."""
        group = self._groups[waiting.message.group_id]
        group.waiting.remove(waiting)
        group.failures, group.due_ms = 0, 0
        if not group.waiting:
            del self._groups[waiting.message.group_id]

    def postpone(self, waiting: Waiting, now_ms: int) -> None:
        """Let the group of a message that was not accepted wait, longer after each failure."""
        group = self._groups[waiting.message.group_id]
        group.due_ms = now_ms + pause_ms(group.failures)
        group.failures += 1

    def answered(self) -> None:
        """Take note that the queue answers."""
        self._failures, self._due_ms = 0, 0

    def unanswered(self, now_ms: int) -> None:
        """Let everything wait, longer after each time that the queue did not answer."""
        self._due_ms = now_ms + pause_ms(self._failures)
        self._failures += 1

    def due_ms(self) -> int | None:
        """The time from which on there is something to send; None where nothing waits."""
        if not self._groups:
            return None
        return max(self._due_ms, min(group.due_ms for group in self._groups.values()))

    def _put(self, waiting: Waiting) -> None:
        self._next_number = max(self._next_number, waiting.number + 1)
        group = self._groups.setdefault(waiting.message.group_id, _Group(deque()))
        group.waiting.append(waiting)


def pause_ms(failures: int) -> int:
    """How long to wait after one more failure than so many in a row."""
    return min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS << min(failures, 16))
