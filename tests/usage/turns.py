"""Lets functions that use a ledger's store run at once, each step of it in a given order."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from jobs.usage.store import LedgerStore

STEPS = ("exists", "has", "paths", "read", "write", "remove", "open_file")


class Turns:
    """Whose turn it is. A function that has not ended waits before each of its steps; only one runs at any time."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = deque(order)
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._running: set[int] = set()
        self._here = threading.local()
        self._turn: int | None = None
        self._failures: list[BaseException] = []

    def run(self, functions: Sequence[Callable[[], None]]) -> None:
        """Run all of them to their end."""
        with pytest.MonkeyPatch.context() as patched:
            for name in STEPS:
                patched.setattr(LedgerStore, name, self._step(getattr(LedgerStore, name)))
            threads = [
                threading.Thread(target=self._run, args=(number, do), daemon=True)
                for number, do in enumerate(functions)
            ]
            self._running = set(range(len(threads)))
            for thread in threads:
                thread.start()
            while self._give_turn():
                pass
            for thread in threads:
                thread.join()
        if self._failures:
            raise self._failures[0]

    def _give_turn(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._turn is None and self._waiting == self._running)
            if not self._running:
                return False
            wanted = self._order.popleft() if self._order else 0
            self._turn = sorted(self._running)[wanted % len(self._running)]
            self._waiting.remove(self._turn)
            self._changed.notify_all()
        return True

    def _run(self, number: int, do: Callable[[], None]) -> None:
        self._here.number = number
        try:
            self._wait(number)
            do()
        except BaseException as error:  # raised where they were begun
            self._failures.append(error)
        finally:
            with self._changed:
                self._running.remove(number)
                self._turn = None
                self._changed.notify_all()

    def _wait(self, number: int) -> None:
        with self._changed:
            self._waiting.add(number)
            if self._turn == number:
                self._turn = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._turn == number)

    def _step(self, do: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **named: Any) -> Any:
            number = getattr(self._here, "number", None)
            if number is None:  # within another step, or in a thread of somebody else
                return do(*arguments, **named)
            self._wait(number)
            self._here.number = None
            try:
                return do(*arguments, **named)
            finally:
                self._here.number = number

        return step
