"""Schedule: the hours of a week in which a group may be changed, in its own time zone. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_FORM: Final = re.compile(r"([A-Z][a-z]{2})(?:-([A-Z][a-z]{2}))?(?:\s+(\d\d):(\d\d)-(\d\d):(\d\d))?")
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """Days of the week (0 is Monday), from a minute of the day until before another.

    Where the end is not after the start, the hours go on into the next day.
    """

    days: frozenset[int]
    start_minute: int
    end_minute: int

    def include(self, local: datetime) -> bool:
        """Whether a local time is among them."""
        minute = local.hour * 60 + local.minute
        if self.start_minute < self.end_minute:
            return local.weekday() in self.days and self.start_minute <= minute < self.end_minute
        yesterday = (local.weekday() - 1) % len(DAYS)
        return (local.weekday() in self.days and minute >= self.start_minute) or (
            yesterday in self.days and minute < self.end_minute
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a group may be changed: within any of these hours."""

    hours: tuple[Hours, ...]
    time_zone: ZoneInfo

    def is_open(self, at_ms: int) -> bool:
        """Whether it may be changed now."""
        local = datetime.fromtimestamp(at_ms / 1_000, tz=UTC).astimezone(self.time_zone)
        return any(hours.include(local) for hours in self.hours)


def parse_schedule(text: str, time_zone: str) -> Schedule:
    """A schedule such as `Mon-Fri 22:00-06:00; Sat-Sun`, of which the parts without hours are whole days.

    Raises:
        ValueError: The text is not of this form, or there is no such time zone.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, OSError, ValueError) as error:  # which of them depends on how the name is wrong
        reason = f"{time_zone!r} is no time zone"
        raise ValueError(reason) from error
    return Schedule(tuple(_hours(part.strip()) for part in text.split(";")), zone)


def _hours(text: str) -> Hours:
    found = _FORM.fullmatch(text)
    if not found:
        reason = f"{text!r} is not of the form `Mon-Fri 08:00-20:00`"
        raise ValueError(reason)
    first, last, *clock = found.groups()
    start, end = _day(first), _day(last or first)
    days = frozenset((start + at) % len(DAYS) for at in range((end - start) % len(DAYS) + 1))
    if clock[0] is None:
        return Hours(days, 0, _DAY_MINUTES)
    return Hours(days, _minute(clock[0], clock[1], text), _minute(clock[2], clock[3], text))


def _day(name: str) -> int:
    if name not in DAYS:
        reason = f"{name!r} is none of {', '.join(DAYS)}"
        raise ValueError(reason)
    return DAYS.index(name)


def _minute(hour: str, minute: str, text: str) -> int:
    at = int(hour) * 60 + int(minute)
    if at > _DAY_MINUTES or int(minute) > 59:
        reason = f"{text!r} has a time that is none"
        raise ValueError(reason)
    return at
