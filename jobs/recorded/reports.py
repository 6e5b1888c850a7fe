"""Reports that run through the graph beside the sums: how far reading is, and each record that counts for nothing.

One report stands for a chunk, in one column of one row, because rows are what a graph pays for. Pure.
"""

from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec

KEPT_OF_RECORD_BYTES: Final = 4 << 10
"""How much of a malformed record is kept."""

_MOST_FOLLOWING_BYTES: Final = 3


@dataclass(slots=True)
class Counts:
    """What was found in a stretch of the stream; times in milliseconds, None where nothing counted has one.

    `late` and `duplicates` are among the `changes`. A replay tells no duplicates.
    """

    read_bytes: int = 0
    changes: int = 0
    malformed: int = 0
    ignored: int = 0
    late: int = 0
    size_mismatch: int = 0
    first_event_ms: int | None = None
    last_event_ms: int | None = None
    without_event_id: int = 0
    duplicates: int = 0

    @property
    def events(self) -> int:
        """All records, of whatever outcome."""
        return self.changes + self.malformed + self.ignored

    def seen(self, first_ms: int, last_ms: int) -> None:
        """Widen the time between the first and the last change."""
        self.first_event_ms = first_ms if self.first_event_ms is None else min(self.first_event_ms, first_ms)
        self.last_event_ms = last_ms if self.last_event_ms is None else max(self.last_event_ms, last_ms)

    def add(self, other: "Counts") -> None:
        """Count what another stretch found too."""
        self.read_bytes += other.read_bytes
        self.changes += other.changes
        self.malformed += other.malformed
        self.ignored += other.ignored
        self.late += other.late
        self.size_mismatch += other.size_mismatch
        self.without_event_id += other.without_event_id
        self.duplicates += other.duplicates
        if other.first_event_ms is not None and other.last_event_ms is not None:
            self.seen(other.first_event_ms, other.last_event_ms)


@dataclass(slots=True)
class Report:
    """One chunk of a recording: its counts, and the lines for what counts for nothing in it.

    `keys` are digests of eight bytes that stand for partition keys.
    """

    counts: Counts = field(default_factory=Counts)
    malformed: list[dict[str, Any]] = field(default_factory=list)
    late: list[dict[str, Any]] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)


def write_report(report: Report) -> str:
    """A report as one line of JSON."""
    return msgspec.json.encode(report).decode()


def read_report(line: str) -> Report:
    """A report from its line."""
    return msgspec.json.decode(line, type=Report)


def malformed_line(reason: str, position: dict[str, str | int], record: bytes) -> dict[str, Any]:
    """A record that cannot be read, cut at 4 KiB of text; bytes that are not UTF-8 appear by their numbers."""
    end = KEPT_OF_RECORD_BYTES
    while KEPT_OF_RECORD_BYTES - end < _MOST_FOLLOWING_BYTES and _goes_on_at(record, end):
        end -= 1
    # What the numbers add is cut off again.
    text = record[:end].decode(errors="backslashreplace").encode()[:KEPT_OF_RECORD_BYTES].decode(errors="ignore")
    return {"reason": reason, "position": position, "record": text}


def _goes_on_at(text: bytes, place: int) -> bool:
    """Whether a character of UTF-8 that began before this place goes on there."""
    return place < len(text) and text[place] & 0b1100_0000 == 0b1000_0000


class LateChange(Protocol):
    """What is told of a change that is late."""

    @property
    def table(self) -> str:
        """The table's name."""

    @property
    def partition_key(self) -> str:
        """The partition key, as text."""

    @property
    def partition_key_type(self) -> str:
        """`S`, `N` or `B`."""

    @property
    def at_ms(self) -> int:
        """When the item was written."""

    @property
    def wcu(self) -> int:
        """What the write cost."""

    @property
    def document(self) -> int:
        """Its place in the chunk."""


def late_line(cost: LateChange, behind_ms: int, position: dict[str, str | int]) -> dict[str, Any]:
    """A change that came later than the out-of-orderness allows."""
    return {
        "table": cost.table,
        "partition_key": cost.partition_key,
        "partition_key_type": cost.partition_key_type,
        "at_ms": cost.at_ms,
        "behind_ms": behind_ms,
        "wcu": cost.wcu,
        "position": position,
    }
