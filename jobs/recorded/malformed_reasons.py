"""Why records of a replay were malformed, so that whoever sees only how many they were sees what to do too. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

_SHOWN: Final = 3
_MOST_KEPT: Final = 10_000
"""Where each record has a reason of its own, as its values are in it, not all are kept."""


class MalformedReasons:
    """How often each reason was given."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take note of lines of `malformed.jsonl`."""
        for line in lines:
            reason = line["reason"]
            if reason in self._counts or len(self._counts) < _MOST_KEPT:
                self._counts[reason] += 1

    def told(self) -> list[str]:
        """A line for each of the commonest reasons, and none of those that were given less than a tenth as often."""
        commonest = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]
        return [f"{count:,} x {reason}" for reason, count in commonest if count * 10 >= commonest[0][1]]
