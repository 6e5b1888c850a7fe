"""Faults at each call of a play, without playing again what led there: the process forks before the call.

The parent goes on as if nothing had been, to the next call. What is shared by a fork, a connection or a file that is
written, is shared by all of them: a play is one of this process alone, as those over moto are.
"""

import gc
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Generic, NoReturn, TypeVar

_T = TypeVar("_T")

_HELD, _BROKEN = b"+", b"-"
_LONGEST_S = 120


@dataclass
class Forks(Generic[_T]):
    """Where a play forks, and what came of it in each of the forks.

    Attributes:
        at: the calls, counted from 0, before which it does.
        fail: makes the call with this number fail; called in the fork.
        results: what the play gave in each fork, in the order of the calls.
        forked_at: in a fork, the call that fails there.
    """

    at: Container[int]
    fail: Callable[[int], None]
    results: list[_T] = field(default_factory=list)
    forked_at: int | None = None
    _to_parent: int | None = None

    def before(self, call: int) -> None:
        """Fork, where it is time: here returns the fork with the fault set, and then, when that is over, the parent.

        Raises:
            AssertionError: What held in the play did not in the fork.
        """
        if self._to_parent is not None or call not in self.at:
            return
        from_fork, to_parent = os.pipe()
        gc.freeze()  # what the collector does not touch, the fork need not copy
        fork = os.fork()
        if fork == 0:
            os.close(from_fork)
            gc.disable()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(_LONGEST_S)  # nobody else ends a fork that hangs
            self._to_parent, self.forked_at = to_parent, call
            self.fail(call)
            return
        os.close(to_parent)
        with os.fdopen(from_fork, "rb") as told:
            held, result = told.read(1), told.read()
        os.waitpid(fork, 0)
        if held != _HELD:
            reason = f"at call {call}: {result.decode() or 'the fork died'}"
            raise AssertionError(reason)
        self.results.append(pickle.loads(result))  # noqa: S301 - our own fork wrote it

    def play(self, play: Callable[[], _T]) -> _T:
        """What the play gives where nothing fails; `results` has what it gave in the forks."""
        try:
            result = play()
        except BaseException:
            if self._to_parent is not None:
                self._end(_BROKEN + traceback.format_exc().encode())
            raise
        if self._to_parent is not None:
            self._end(_HELD + pickle.dumps(result))
        return result

    def _end(self, told: bytes) -> NoReturn:
        """The end of a fork, in which nothing of what the process set up may be taken down."""
        assert self._to_parent is not None
        try:
            with os.fdopen(self._to_parent, "wb") as to_parent:
                to_parent.write(told)
        finally:
            os._exit(0)
