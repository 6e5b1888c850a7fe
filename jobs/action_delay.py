"""How long decisions took lately, as one number that a gauge can tell. Pure.

In process mode a distribution of PyFlink reaches Flink's reporters as an object and not as a number, so that nobody
can publish it (`FlinkMetricContainer.FlinkDistributionGauge`). A gauge is read about once a minute, so it tells the
longest delay of the last one.
"""

from collections import deque
from typing import Final

_LATELY_MS: Final = 60_000


class ActionDelay:
    """The longest delay of the last minute, in milliseconds."""

    def __init__(self) -> None:
        # From the longest to the newest: of two, the earlier and shorter one can never be the longest again.
        self._delays: deque[tuple[int, int]] = deque()

    def add(self, issued_at_ms: int, now_ms: int) -> None:
        """Take note of a decision about a time, made now; a time ahead of the clock counts as no delay."""
        delay_ms = max(0, now_ms - issued_at_ms)
        while self._delays and self._delays[-1][1] <= delay_ms:
            self._delays.pop()
        self._delays.append((now_ms, delay_ms))

    def longest_ms(self, now_ms: int) -> int:
        """The longest one since a minute before a time; 0 where there was none."""
        while self._delays and self._delays[0][0] <= now_ms - _LATELY_MS:
            self._delays.popleft()
        return self._delays[0][1] if self._delays else 0
