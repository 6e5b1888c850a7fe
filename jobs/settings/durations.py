"""Durations as people write them ("2m", "1m30s") and as the program holds them (milliseconds). Pure."""

import re
from itertools import pairwise

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_UNIT_MS = {"d": DAY_MS, "h": HOUR_MS, "m": MINUTE_MS, "s": SECOND_MS, "ms": 1}
# Fifteen digits hold 30,000 years in milliseconds, and stay far from Python's limit on digits in a number.
_PART = re.compile(r"([0-9]{1,15})(ms|[dhms])")


def parse_duration(text: str) -> int | None:
    """Milliseconds that a duration says, or None when it is not one.

    A duration is one or more whole numbers, each with its unit (d, h, m, s, ms), each unit at most once and
    the longer before the shorter: "500ms", "2m", "1m30s".
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    units_ms = [_UNIT_MS[unit] for _, unit in parts]
    if any(later >= earlier for earlier, later in pairwise(units_ms)):
        return None
    return sum(int(number) * unit_ms for (number, _), unit_ms in zip(parts, units_ms, strict=True))


def format_duration(duration_ms: int) -> str:
    """The duration as `parse_duration` reads it, in the fewest parts: "1m30s" for 90,000.

    Raises:
        ValueError: duration_ms is negative.
    """
    if duration_ms < 0:
        message = f"a duration is never negative: {duration_ms}"
        raise ValueError(message)
    text = ""
    rest_ms = duration_ms
    for unit, unit_ms in _UNIT_MS.items():
        count, rest_ms = divmod(rest_ms, unit_ms)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
