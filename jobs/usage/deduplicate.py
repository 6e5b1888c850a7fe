"""Which events are copies of one that was counted, and what to take away from the sums that counted them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from jobs.recorded.distinct import Key
from jobs.usage.facts import EVENT_COLUMNS, EVENT_NAMES, EventBatch
from jobs.usage.minute_sums import WINDOW_MS, FileLayout, KeySum, MinuteSums
from jobs.usage.seen_events import SeenArray, SeenEvents

_MIX: Final = tuple(
    np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)
)
_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Copy:
    """An event that was counted too often.

    Attributes:
        arrived_ms: When it arrived.
        is_conflict: Whether it says something else than the one that counts.
    """

    event_id: str
    key: Key
    file: str
    arrived_ms: int
    at_ms: int
    wcu: int
    new_bytes: int
    event_name: str
    is_conflict: bool

    def windows_ms(self, out_of_orderness_ms: int) -> tuple[int, int | None]:
        """The window in which it was summed up, and the one that it corrects there, if any."""
        own_ms, arrived_ms = (each // WINDOW_MS * WINDOW_MS for each in (self.at_ms, self.arrived_ms))
        return (arrived_ms, own_ms) if self.at_ms < self.arrived_ms - out_of_orderness_ms else (own_ms, None)


def taken_away(
    copies: Iterable[Copy], out_of_orderness_ms: int, layout: FileLayout
) -> Iterator[tuple[str, MinuteSums]]:
    """What copies added to sums, as sums to take away again, by the paths of the files that they belong to."""
    windows: dict[int, list[tuple[str, KeySum]]] = {}
    for copy in copies:
        window_ms, corrects_ms = copy.windows_ms(out_of_orderness_ms)
        sums = -copy.wcu, -1 if copy.wcu else 0, -copy.new_bytes, -1
        table, partition_key, key_type = copy.key
        key_sum = KeySum(partition_key, key_type, copy.event_name, corrects_ms, *sums)
        windows.setdefault(window_ms, []).append((table, key_sum))
    for window_ms, key_sums in windows.items():
        yield from layout.dealt(window_ms, key_sums)


@dataclass(slots=True)
class CopiesReport:
    """What was found about copies: how many there were, and the lines for conflicts."""

    duplicates: int = 0
    conflicts: list[dict[str, Any]] = field(default_factory=list)


def write_copies_report(report: CopiesReport) -> str:
    """A report as one line of JSON."""
    return msgspec.json.encode(report).decode()


def read_copies_report(line: str) -> CopiesReport:
    """A report from its line."""
    return msgspec.json.decode(line, type=CopiesReport)


def conflict_line(copy: Copy) -> dict[str, Any]:
    """A copy that says something else than the event of the same `eventID` that counts."""
    table, partition_key, partition_key_type = copy.key
    return {
        "event_id": copy.event_id,
        "table": table,
        "partition_key": partition_key,
        "partition_key_type": partition_key_type,
        "at_ms": copy.at_ms,
        "event_name": copy.event_name,
        "wcu": copy.wcu,
        "new_bytes": copy.new_bytes,
        "file": copy.file,
    }


class Events:
    """Events of one partition from several batches, as columns."""

    def __init__(self, batches: Sequence[EventBatch]) -> None:
        self.event_ids = [event_id for batch in batches for event_id in batch.event_ids]
        self._keys = [key for batch in batches for key in batch.keys]
        origins = sorted({origin for batch in batches for origin in batch.origins})
        ranks = {origin: rank for rank, origin in enumerate(origins)}
        self._origins = origins
        columns = [np.frombuffer(batch.columns, dtype=EVENT_COLUMNS) for batch in batches]
        joined = np.concatenate(columns) if columns else np.empty(0, dtype=EVENT_COLUMNS)
        counts = [len(each) for each in columns]
        first_keys = np.cumsum([0, *(len(batch.keys) for batch in batches)])[:-1]
        self.columns = {name: np.ascontiguousarray(joined[name]) for name in EVENT_COLUMNS.names or ()}
        self.columns["key"] = self.columns["key"].astype(np.int64) + np.repeat(first_keys, counts)
        self.columns["origin"] = np.concatenate(
            [
                np.array([ranks[origin] for origin in batch.origins], dtype=np.int64)[each["origin"]]
                for batch, each in zip(batches, columns, strict=True)
            ]
            or [np.empty(0, dtype=np.int64)]
        )

    def digests(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Both halves of the digest of each `eventID`."""
        text = b"".join(blake2b(each.encode(), digest_size=_DIGEST_BYTES).digest() for each in self.event_ids)
        halves = np.frombuffer(text, dtype=np.uint64).reshape(-1, 2)
        return np.ascontiguousarray(halves[:, 0]), np.ascontiguousarray(halves[:, 1])

    def contents(self) -> npt.NDArray[np.uint32]:
        """A hash of what each event says, as far as the ledger is concerned."""
        of_keys = np.array([crc32("\0".join(key).encode()) for key in self._keys], dtype=np.uint64)
        columns = self.columns
        mixed = (of_keys[columns["key"]] if len(self._keys) else of_keys) * _MIX[0]
        for name, odd in zip(("at_ms", "wcu", "new_bytes"), _MIX[1:], strict=True):
            mixed = (mixed ^ columns[name].astype(np.uint64)) * odd
        mixed = (mixed ^ columns["event_name"].astype(np.uint64)) * _MIX[0]
        return (mixed >> np.uint64(32)).astype(np.uint32)

    def copy(self, place: int, *, is_conflict: bool) -> Copy:
        """The event at a place, as a copy."""
        values = {name: int(column[place]) for name, column in self.columns.items()}
        return Copy(
            event_id=self.event_ids[place],
            key=self._keys[values["key"]],
            file=self._origins[values["origin"]][0],
            arrived_ms=values["arrived_ms"],
            at_ms=values["at_ms"],
            wcu=values["wcu"],
            new_bytes=values["new_bytes"],
            event_name=EVENT_NAMES[values["event_name"]],
            is_conflict=is_conflict,
        )


def find_copies(events: Events, seen: SeenEvents, horizon_ms: int) -> Iterator[Copy]:
    """The events that are copies of one that was counted; all others are counted now.

    Of the events with one `eventID` the one that arrived first counts (where two arrived at once, by their places in
    the recording), and after that none that arrives within the horizon of it.

    Args:
        events: All that arrived since those that were seen; none that is still to come arrived before them.
        seen: What was counted before. It takes note of what is counted now.
        horizon_ms: For how long an event that was counted is remembered.
    """
    if not events.event_ids:
        return
    (high, low), contents, columns = events.digests(), events.contents(), events.columns
    order = np.lexsort((columns["place"], columns["origin"], columns["arrived_ms"], low, high))
    high, low, contents = high[order], low[order], contents[order]
    arrived_ms = columns["arrived_ms"][order]
    same_as_before = np.zeros(len(order), dtype=bool)
    same_as_before[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    counts = np.ones(len(order), dtype=bool)
    known = seen.find(high, low)
    run = 0, 0  # of the one that counts: when it arrived, and what it said
    for place in sorted({*known, *np.flatnonzero(same_as_before).tolist()}):
        if not same_as_before[place]:
            run = known[place]
        elif not same_as_before[place - 1] and place - 1 not in known:
            run = int(arrived_ms[place - 1]), int(contents[place - 1])
        if arrived_ms[place] - run[0] <= horizon_ms:
            counts[place] = False
            yield events.copy(int(order[place]), is_conflict=bool(contents[place] != run[1]))
        else:
            run = int(arrived_ms[place]), int(contents[place])
    newest_ms = int(arrived_ms.max())
    counted = SeenArray(high, low, contents, arrived_ms).taken(counts)
    seen.add(counted, newest_ms - horizon_ms)
