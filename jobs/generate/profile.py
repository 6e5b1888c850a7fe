"""What a recording shall look like. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from jobs.generate.malformed import MalformedKind

MAX_ITEM_BYTES: Final = 400 * 1024
"""Source: Amazon DynamoDB Developer Guide, ServiceQuotas, "Item size"."""

MAX_PARTITION_KEY_BYTES: Final = 2048
"""Source: Amazon DynamoDB Developer Guide, ServiceQuotas, "Partition key length"."""

# Outside these a reader could not tell milliseconds from microseconds: all above 1e14 it takes for those.
_EARLIEST_START_MS: Final = 10**11
_LATEST_START_MS: Final = 9 * 10**13


class ProfileError(ValueError):
    """A profile that no recording can have; `field` is the field of `Profile` to change."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class KeyType(StrEnum):
    """Types that a key attribute can have."""

    S = "S"
    N = "N"
    B = "B"


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """An attribute of a primary key."""

    name: str
    type: KeyType = KeyType.S


@dataclass(frozen=True, slots=True)
class Table:
    """A table: with a sort key, a tenant has many items; without one, the tenant is the item."""

    name: str
    partition_key: KeyAttribute
    sort_key: KeyAttribute | None = None


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Items of these sizes, the small ones likelier; the weight is its share beside other ranges."""

    smallest_bytes: int
    largest_bytes: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Misbehaving:
    """A tenant who for a while writes `rate_per_s` items more than the law of the others gives it.

    `start_ms` counts from the start of the recording. Without a table it is the first one; without sizes,
    those of everybody.
    """

    partition_key: str
    start_ms: int
    length_ms: int
    rate_per_s: float
    item_bytes: tuple[SizeRange, ...] = ()
    table: str | None = None


CONVERSATIONS: Final = Table("conversations", KeyAttribute("pk"), KeyAttribute("sk"))
SESSIONS: Final = Table("sessions", KeyAttribute("id"))
EVERYDAY_ITEM_BYTES: Final = (
    SizeRange(40, 1_500, 98),
    SizeRange(1_500, 40 * 1024, 1.95),
    SizeRange(40 * 1024, MAX_ITEM_BYTES, 0.05),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """A recording to make: it ends at `records` lines or after `duration_ms`, whichever comes first.

    Ratios of kinds of change are of all changes, the rest being inserts. In a table without a sort key an
    insert of an item that exists becomes a modification, and the other way round. `duplicates`, `late` and
    `malformed` are fractions of the changes. `microseconds` is the fraction of times told in them.

    Raises:
        ProfileError: no recording can look like this.
    """

    seed: int = 1
    records: int | None = None
    duration_ms: int | None = None
    start_ms: int = 1_795_168_800_000
    rate_per_s: float = 200.0
    tenants: int = 2_000
    zipf: float = 1.1
    tables: tuple[Table, ...] = (CONVERSATIONS, SESSIONS)
    misbehaving: tuple[Misbehaving, ...] = ()
    item_bytes: tuple[SizeRange, ...] = EVERYDAY_ITEM_BYTES
    modify_ratio: float = 0.55
    remove_ratio: float = 0.08
    ttl_ratio: float = 0.02
    duplicates: float = 0.01
    disorder_ms: int = 1_500
    late: float = 0.001
    late_by_ms: tuple[int, int] = (150_000, 360_000)
    malformed: float = 0.001
    malformed_kinds: tuple[MalformedKind, ...] = tuple(MalformedKind)
    microseconds: float = 0.3

    def __post_init__(self) -> None:
        for field, reason in _problems(self):
            raise ProfileError(field, reason)

    @property
    def expected_ms(self) -> float:
        """How long the recording is at most, in milliseconds of event time."""
        by_count = float("inf") if self.records is None else self.records / self.rate_per_s * 1_000
        return by_count if self.duration_ms is None else min(by_count, self.duration_ms)

    @property
    def expected_records(self) -> int:
        """About how many records it will have, exactly so when `records` decides."""
        changes = self.rate_per_s * self.expected_ms / 1_000 + sum(
            tenant.rate_per_s * max(0, min(tenant.length_ms, self.expected_ms - tenant.start_ms)) / 1_000
            for tenant in self.misbehaving
        )
        everything = int(changes * (1 + self.duplicates + self.malformed))
        return everything if self.records is None else min(self.records, everything)


def _problems(profile: Profile) -> Iterator[tuple[str, str]]:
    if profile.records is None and profile.duration_ms is None:
        yield "records", "the recording needs an end: a number of records, a duration or both"
    yield from _positive_problems(profile)
    yield from _ratio_problems(profile)
    yield from _time_problems(profile)
    yield from _table_problems(profile.tables)
    yield from _size_problems("item_bytes", profile.item_bytes)
    for tenant in profile.misbehaving:
        yield from _misbehaving_problems(profile, tenant)


def _positive_problems(profile: Profile) -> Iterator[tuple[str, str]]:
    for field in ("records", "duration_ms", "rate_per_s", "tenants"):
        value = getattr(profile, field)
        if value is not None and not 0 < value < float("inf"):
            yield field, f"{value} is not above zero"
    if not 0 <= profile.zipf <= 10:
        yield "zipf", f"{profile.zipf} is not from 0 (all tenants write alike) to 10 (one tenant writes all)"


def _ratio_problems(profile: Profile) -> Iterator[tuple[str, str]]:
    for field in (
        "modify_ratio",
        "remove_ratio",
        "ttl_ratio",
        "duplicates",
        "late",
        "malformed",
        "microseconds",
    ):
        if not 0 <= getattr(profile, field) <= 1:
            yield field, f"{getattr(profile, field)} is not from 0 to 1"
    if profile.modify_ratio + profile.remove_ratio + profile.ttl_ratio > 1:
        yield "modify_ratio", "together with the other two ratios it is more than 1"
    if profile.malformed and not profile.malformed_kinds:
        yield "malformed_kinds", "there is no kind of malformed records to make"


def _time_problems(profile: Profile) -> Iterator[tuple[str, str]]:
    if not _EARLIEST_START_MS < profile.start_ms < _LATEST_START_MS:
        yield "start_ms", "the recording has to start after 1973 and before the year 4800"
    if profile.disorder_ms < 0:
        yield "disorder_ms", f"{profile.disorder_ms} is below zero"
    if profile.late and not profile.disorder_ms < profile.late_by_ms[0] <= profile.late_by_ms[1]:
        yield "late_by_ms", "late records have to be later than the disorder, the shorter time first"


def _table_problems(tables: tuple[Table, ...]) -> Iterator[tuple[str, str]]:
    if not tables:
        yield "tables", "there has to be at least one"
    if len({table.name for table in tables}) < len(tables):
        yield "tables", "two of them have the same name"
    for table in tables:
        names = [key.name for key in (table.partition_key, table.sort_key) if key is not None]
        if not table.name or not all(names):
            yield "tables", "a name of a table or key attribute is empty"
        if len(set(names)) < len(names):
            yield "tables", f"{table.name} has the same attribute twice in its key"


def _size_problems(field: str, ranges: tuple[SizeRange, ...]) -> Iterator[tuple[str, str]]:
    if not ranges:
        yield field, "there has to be at least one range of sizes"
    for sizes in ranges:
        if not 1 <= sizes.smallest_bytes <= sizes.largest_bytes <= MAX_ITEM_BYTES:
            shown = f"{sizes.smallest_bytes}..{sizes.largest_bytes}"
            yield field, f"{shown} is not within 1 to {MAX_ITEM_BYTES} bytes, the most that DynamoDB keeps"
        if not 0 < sizes.weight < float("inf"):
            yield field, f"the share {sizes.weight} is not above zero"


def _misbehaving_problems(profile: Profile, tenant: Misbehaving) -> Iterator[tuple[str, str]]:
    name = tenant.partition_key
    table = {table.name: table for table in profile.tables}.get(tenant.table or profile.tables[0].name)
    if table is None:
        yield "misbehaving", f"{name} writes to the table {tenant.table}, which the recording does not have"
    elif table.partition_key.type is KeyType.N and not name.rpartition("-")[2].isdecimal():
        yield (
            "misbehaving",
            f"{name} does not end in a number, which is what {table.name} has for partition key",
        )
    if not 0 < len(name.encode()) <= MAX_PARTITION_KEY_BYTES:
        yield "misbehaving", f"a tenant's name has 1 to {MAX_PARTITION_KEY_BYTES} bytes"
    if not tenant.length_ms > 0 or not 0 < tenant.rate_per_s < float("inf"):
        yield "misbehaving", f"{name} has no length or rate above zero"
    if not 0 <= tenant.start_ms < profile.expected_ms:
        ends_s = profile.expected_ms / 1_000
        yield (
            "misbehaving",
            f"{name} starts at {tenant.start_ms / 1_000:g} s, but the recording ends by {ends_s:g} s",
        )
    if tenant.item_bytes:
        yield from _size_problems("misbehaving", tenant.item_bytes)
