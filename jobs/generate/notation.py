"""What `headroom generate` understands in its options: text in, values out, ValueError with why not. Pure."""

import re
from datetime import UTC, datetime
from typing import Final

from jobs.generate.profile import KeyAttribute, KeyType, Misbehaving, SizeRange, Table
from jobs.settings.durations import parse_duration

NOBODY: Final = "none"

_DECIMAL_SECONDS: Final = re.compile(r"(\d{1,9})\.(\d{1,3})s")
_RATE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(?:/([smh]))?")
_RATE_SECONDS: Final = {None: 1, "s": 1, "m": 60, "h": 3_600}
_SIZE: Final = re.compile(r"(\d{1,9})(?:\s*(B|KB))?", re.IGNORECASE)
_KEY: Final = re.compile(r"([^:=]+)(?:=([SNB]))?")


def duration_ms(text: str) -> int:
    """Milliseconds of a duration: "90s", "1m30s", "250ms", and seconds also as "1.5s"."""
    decimal = _DECIMAL_SECONDS.fullmatch(text)
    if decimal is not None:
        return int(decimal[1]) * 1_000 + int(decimal[2].ljust(3, "0"))
    parsed = parse_duration(text)
    if parsed is None:
        message = f"{text!r} is not a duration; write it like 90s, 2m, 1m30s or 250ms"
        raise ValueError(message)
    return parsed


def durations_ms(text: str) -> tuple[int, int]:
    """The shorter and the longer of two durations: "2m30s..6m"; one alone is both."""
    shorter, _, longer = text.partition("..")
    return duration_ms(shorter), duration_ms(longer or shorter)


def rate_per_s(text: str) -> float:
    """Records a second: "200/s", "12000/m", "10/h"; without a unit, a second is meant."""
    matched = _RATE.fullmatch(text)
    if matched is None or not float(matched[1]):
        message = f"{text!r} is not a rate above zero; write it like 200/s, 12000/m or 10/h"
        raise ValueError(message)
    return float(matched[1]) / _RATE_SECONDS[matched[2]]


def instant_ms(text: str) -> int:
    """Milliseconds since 1970 of an ISO 8601 date and time, in UTC unless it says another zone."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not a time; write it like 2026-11-20T10:00:00Z"
        raise ValueError(message) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    since = at - epoch
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000


def size_ranges(text: str) -> tuple[SizeRange, ...]:
    """Sizes of items: "1200", "1KB..400KB"; several ranges with their shares, "40..1500@98,4KB..64KB@2"."""
    return tuple(_size_range(part) for part in text.split(","))


def _size_range(text: str) -> SizeRange:
    sizes, has_share, share = text.partition("@")
    smallest, _, largest = sizes.partition("..")
    try:
        weight = float(share) if has_share else 1.0
        return SizeRange(_size_bytes(smallest), _size_bytes(largest or smallest), weight)
    except ValueError:
        message = f"{text!r} is not a range of sizes; write it like 80..2000, 1KB..400KB or 4KB..64KB@0.02"
        raise ValueError(message) from None


def _size_bytes(text: str) -> int:
    matched = _SIZE.fullmatch(text.strip())
    if matched is None:
        raise ValueError
    return int(matched[1]) * (1_024 if (matched[2] or "").upper() == "KB" else 1)


def tables(text: str) -> tuple[Table, ...]:
    """Tables with their keys, the partition key first: "conversations:pk:sk,meters:number=N:at=N"."""
    return tuple(_table(part) for part in text.split(","))


def _table(text: str) -> Table:
    name, *keys = text.split(":")
    attributes = [_key(key, text) for key in keys]
    if not name or len(attributes) not in (1, 2):
        raise ValueError(_not_a_table(text))
    return Table(name, attributes[0], attributes[1] if len(attributes) == 2 else None)


def _key(text: str, table: str) -> KeyAttribute:
    matched = _KEY.fullmatch(text)
    if matched is None:
        raise ValueError(_not_a_table(table))
    return KeyAttribute(matched[1], KeyType(matched[2] or "S"))


def _not_a_table(text: str) -> str:
    return (
        f"{text!r} is not a table with one or two key attributes;"
        " write it like conversations:pk:sk, sessions:id or meters:number=N:at=N"
    )


def misbehaving(text: str) -> Misbehaving | None:
    """A tenant who writes too much: "KEY:START:LENGTH:RATE[:SIZES]", the key as "TABLE/KEY" in other tables.

    None for the word "none", which says that nobody does.
    """
    if text == NOBODY:
        return None
    key, *rest = text.split(":")
    if not 3 <= len(rest) <= 4:
        message = (
            f"{text!r} is not a misbehaving tenant;"
            " write it like tenant-000221:3m:90s:400/s or tenant-000221:3m:90s:10/s:8KB..12KB"
        )
        raise ValueError(message)
    table, slash, name = key.rpartition("/")
    return Misbehaving(
        partition_key=name,
        start_ms=duration_ms(rest[0]),
        length_ms=duration_ms(rest[1]),
        rate_per_s=rate_per_s(rest[2]),
        item_bytes=size_ranges(rest[3]) if len(rest) == 4 else (),
        table=table if slash else None,
    )
