"""An oracle for the usage ledger: reads everything, puts the copies of each change in order, counts the first.

As `tests.oracle` it is plainly right rather than fast, and shares nothing with the job but the values of settings.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet

from jobs.settings import Settings
from tests import oracle

MINUTE_MS = 60_000

Group = tuple[str, str, str, int, str, int | None]
"""Table, partition key, its type, window start, event name, and the window that is corrected."""

Sums = tuple[int, int, int]
"""WCU, writes and bytes written."""


class Copy(NamedTuple):
    """One record of a change, in the order in which copies come."""

    arrived_ms: int
    file: str
    place: int
    event_id: str
    facts: tuple[Any, ...]


class Judged(NamedTuple):
    rows: dict[Group, Sums]
    counts: dict[str, int]


def judge(files: Mapping[str, Iterable[bytes]], settings: Settings) -> Judged:
    """The rows of the ledger of some files, each given by its name and its records."""
    counts: Counter[str] = Counter()
    copies: list[Copy] = []
    for name, records in files.items():
        copies += arrivals(name, list(records), settings, counts)
    counted: dict[str, tuple[int, tuple[Any, ...]]] = {}
    sums: dict[Group, list[int]] = defaultdict(lambda: [0, 0, 0])
    for copy in sorted(copies, key=lambda copy: copy[:3]):
        table, key, key_type, at_ms, wcu, event_name, new_bytes = copy.facts
        if copy.event_id:
            first = counted.get(copy.event_id)
            if first is not None and copy.arrived_ms - first[0] <= settings.usage.horizon_ms:
                counts["duplicates"] += 1
                counts["conflicts"] += first[1] != copy.facts
                continue
            counted[copy.event_id] = copy.arrived_ms, copy.facts
        own_ms, corrects_ms = window(at_ms), None
        if at_ms < copy.arrived_ms - settings.window.out_of_orderness_ms:
            own_ms, corrects_ms = window(copy.arrived_ms), own_ms
        total = sums[table, key, key_type, own_ms, event_name, corrects_ms]
        for place, more in enumerate((wcu, wcu > 0, new_bytes)):
            total[place] += more
    return Judged({group: (total[0], total[1], total[2]) for group, total in sums.items()}, dict(counts))


def window(at_ms: int) -> int:
    return at_ms // MINUTE_MS * MINUTE_MS


def arrivals(name: str, records: Sequence[bytes], settings: Settings, counts: Counter[str]) -> list[Copy]:
    """The valid changes of a file with the newest time so far at each."""
    changes = oracle.read(records, settings, Counter())
    kept = {id(change) for change in oracle.plausible(changes, settings.decode.future_tolerance_ms, counts)}
    remaining = iter(changes)
    copies: list[Copy] = []
    newest_ms = -math.inf
    for record in records:
        try:
            oracle.parse(record, settings)
        except (oracle.Ignored, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
            continue
        change = next(remaining)
        if id(change) not in kept:
            continue
        fields = json.loads(record)
        new = fields["dynamodb"].get("NewImage")
        newest_ms = max(newest_ms, change.at_ms)
        table, key, key_type = change[:3]
        new_bytes = 0 if new is None else oracle.weigh_named(new, 1)
        facts = (table, key, key_type, change.at_ms, change.wcu, fields["eventName"], new_bytes)
        copies.append(Copy(int(newest_ms), name, len(copies), fields.get("eventID") or "", facts))
    return copies


def attributed(rows: Mapping[Group, Sums]) -> dict[tuple[str, str, str, int, str], Sums]:
    """Sums by the window in which the changes were made, corrections put where they belong."""
    sums: dict[tuple[str, str, str, int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for (table, key, key_type, own_ms, event_name, corrects_ms), row in rows.items():
        total = sums[table, key, key_type, own_ms if corrects_ms is None else corrects_ms, event_name]
        for place, more in enumerate(row):
            total[place] += more
    return {group: (total[0], total[1], total[2]) for group, total in sums.items()}


def read_ledger(ledger: Path) -> dict[Group, Sums]:
    """The rows of a ledger; no two of them are of the same group."""
    rows: dict[Group, Sums] = {}
    for path in sorted(ledger.rglob("*.parquet")):
        table = path.relative_to(ledger).parts[0].removeprefix("table=")
        for row in pyarrow.parquet.ParquetFile(path).read().to_pylist():
            own_ms, corrects_ms = row["window_start_ms"], row["corrects"]
            key, key_type = row["partition_key"], row["partition_key_type"]
            group = (table, key, key_type, own_ms, row["event_name"], corrects_ms)
            assert group not in rows
            rows[group] = row["wcu"], row["writes"], row["bytes_written"]
    return rows
