"""The one error of reading change records."""

from __future__ import annotations

import reprlib
from typing import Any

_STEP_CHARS = 80


class MalformedRecordError(ValueError):
    """Something in a change record that DynamoDB cannot have written.

    Its text is the path of the attribute, where there is one, and the reason:
    ``NewImage.meta.M.retries: not a number: 'many'``.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason

    def within(self, step: str) -> MalformedRecordError:
        """Return the same error one step further out in the record."""
        # Names come from strangers and end up on terminals: bounded, and without control characters.
        shown = step if step.isprintable() else step.encode("unicode_escape", "replace").decode("ascii")
        shown = shown if len(shown) <= _STEP_CHARS else f"{shown[:_STEP_CHARS]}..."
        return MalformedRecordError(self.reason, f"{shown}.{self.path}" if self.path else shown)


def shown(value: Any) -> str:
    """Return a value from a record as a reason may quote it: bounded, without control characters."""
    return reprlib.repr(value)
