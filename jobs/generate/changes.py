"""The changes that tenants make to their items: who writes when, in order of time. Pure."""

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random

from jobs.generate.attributes import pick
from jobs.generate.items import build_shelf
from jobs.generate.profile import Misbehaving, Profile, Table
from jobs.generate.tables import LiveTable, Sizes


def changes(profile: Profile) -> Iterator[tuple[int, bytes]]:
    """Every change with its time in microseconds, in order of time; without end unless a duration ends it."""
    random = Random(f"{profile.seed}/changes")  # noqa: S311 - the same seed has to give the same recording
    shelf = build_shelf(Random(f"{profile.seed}/items"), _key_names(profile.tables))  # noqa: S311 - as above
    everybody = Sizes(profile.item_bytes)
    tables = [LiveTable(profile, table, shelf) for table in profile.tables]
    culprits = [
        (tenant.partition_key, _table_of(tenant, tables), Sizes(tenant.item_bytes or profile.item_bytes))
        for tenant in profile.misbehaving
    ]
    shares = list(accumulate(1 / rank**profile.zipf for rank in range(1, profile.tenants + 1)))
    for at_us, culprit in _arrivals(profile):
        if culprit < 0:
            rank = bisect_right(shares, random.random() * shares[-1], 0, profile.tenants - 1) + 1
            name, table, sizes = f"tenant-{rank:06d}", pick(random, tables), everybody
        else:
            name, table, sizes = culprits[culprit]
        yield at_us, table.change(random, name, sizes, at_us)


def _arrivals(profile: Profile) -> Iterator[tuple[int, int]]:
    """Times of changes in microseconds, each with the index of the misbehaving tenant it is from, or -1."""
    start_us = profile.start_ms * 1_000
    length_us = None if profile.duration_ms is None else profile.duration_ms * 1_000
    streams = [_evenly(Random(f"{profile.seed}/arrivals"), -1, start_us, length_us, profile.rate_per_s)]  # noqa: S311 - as above
    for index, tenant in enumerate(profile.misbehaving):
        random = Random(f"{profile.seed}/arrivals/{index}")  # noqa: S311 - as above
        streams.append(_from(tenant, index, random, start_us, length_us))
    return streams[0] if len(streams) == 1 else heapq.merge(*streams)


def _from(
    tenant: Misbehaving, index: int, random: Random, start_us: int, length_us: int | None
) -> Iterator[tuple[int, int]]:
    first_us = tenant.start_ms * 1_000
    most_us = tenant.length_ms * 1_000
    own_us = most_us if length_us is None else min(most_us, length_us - first_us)
    return _evenly(random, index, start_us + first_us, own_us, tenant.rate_per_s)


def _evenly(
    random: Random, source: int, start_us: int, length_us: int | None, rate_per_s: float
) -> Iterator[tuple[int, int]]:
    """One time in each interval of the rate, anywhere in it."""
    interval_us = 1_000_000 / rate_per_s
    draw = random.random
    count = 0
    while True:
        offset_us = int((count + draw()) * interval_us)
        if length_us is not None and offset_us >= length_us:
            return
        yield start_us + offset_us, source
        count += 1


def _key_names(tables: Sequence[Table]) -> frozenset[str]:
    return frozenset(key.name for table in tables for key in (table.partition_key, table.sort_key) if key is not None)


def _table_of(tenant: Misbehaving, tables: Sequence[LiveTable]) -> LiveTable:
    return next(table for table in tables if tenant.table in (None, table.table.name))
