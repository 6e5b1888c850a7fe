"""The leases that one choice of settings would have given, decided by the job's own policy. Pure.

While a lease runs, totals over the limit change nothing until it is time to extend it. How long that is, the policy
itself is asked once for each length of a lease; what lies between is passed over.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jobs.capacity.policy import DecisionKind, LeaseState, lease_when_over
from jobs.settings import LeaseSettings, WindowSettings


class Lease(NamedTuple):
    """A lease given, or made longer, at a step end."""

    kind: DecisionKind
    step_end_ms: int
    lease_end_ms: int


class Leases:
    """Decides about one key after the other.

    Args:
        lease: How long leases are.
        window: When totals are looked at.
    """

    def __init__(self, lease: LeaseSettings, window: WindowSettings) -> None:
        self._lease = lease
        self._window = window
        self._idle_ms: dict[int, int] = {}

    def given(self, first_ms: Sequence[int], last_ms: Sequence[int]) -> Iterator[Lease]:
        """The leases of a key, in the order of their times.

        Args:
            first_ms: The first step end of each stretch in which the key is over its limit, in order.
            last_ms: The last step end of each.
        """
        lease, window = self._lease, self._window
        state = LeaseState.calm()
        at, earliest_ms, end = 0, 0, len(last_ms)
        while (at := bisect_left(last_ms, earliest_ms, at)) < end:
            step_end_ms = max(first_ms[at], earliest_ms)
            state, kind = lease_when_over(state, step_end_ms, lease, window)
            if kind is None:
                earliest_ms = step_end_ms + window.step_ms
                continue
            yield Lease(kind, step_end_ms, state.lease_end_ms)
            earliest_ms = step_end_ms + self._idle_for_ms(state, step_end_ms)

    def _idle_for_ms(self, state: LeaseState, step_end_ms: int) -> int:
        """How long after this decision no total changes anything, because the lease need not be extended yet."""
        known = self._idle_ms.get(state.level_index)
        if known is None:
            known = self._idle_ms[state.level_index] = self._asked_idle_ms(state, step_end_ms)
        return known

    def _asked_idle_ms(self, state: LeaseState, step_end_ms: int) -> int:
        later_ms = step_end_ms + self._window.step_ms
        while lease_when_over(state, later_ms, self._lease, self._window)[1] is None:
            later_ms += self._window.step_ms
        return later_ms - step_end_ms
