"""Times as events write them. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
# The day of the week is not compared: it is redundant, and AWS's own examples have a wrong one.
_RFC_1123 = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?"
    r"([0-9]{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def iso_8601_ms(text: str) -> int:
    """Milliseconds since 1970 of a time such as 2026-03-14T15:09:26.535Z.

    Raises:
        ValueError: It is no such time, or before 1970.
    """
    if not _ISO_8601.fullmatch(text):
        message = "is not a time in ISO 8601"
        raise ValueError(message)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = "is not a time in ISO 8601"
        raise ValueError(message) from None
    return _since_1970(at)


def rfc_1123_ms(text: str) -> int:
    """Milliseconds since 1970 of a time such as Sat, 14 Mar 2026 15:09:26 GMT.

    Raises:
        ValueError: It is no such time, or before 1970.
    """
    matched = _RFC_1123.fullmatch(text)
    if matched is None:
        message = "is not a time in RFC 1123"
        raise ValueError(message)
    day, month, year, hour, minute, second = matched.groups()
    try:
        at = datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    except ValueError:
        message = "is not a time in RFC 1123"
        raise ValueError(message) from None
    return _since_1970(at)


def _since_1970(at: datetime) -> int:
    at_ms = (at - _EPOCH) // timedelta(milliseconds=1)
    if at_ms < 0:
        message = "is before 1970"
        raise ValueError(message)
    return at_ms
