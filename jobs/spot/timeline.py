"""A recording put in the order of event time, on disk, so that its length does not matter. I/O.

EventBridge delivers in no order and up to a day late, so a recording has none either. Told in the order in which it
happened, the same events give the same result however they were recorded, once or twice, in one file or in many.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from connectors.ec2.events import Event
from connectors.recordings.files import RecordingFile
from connectors.spot_facts import Facts
from jobs.spot.recorded import read_recorded
from jobs.spot.routing import HEARD_ORDER, kind_name, route
from jobs.spot.tally import Counts

_ADD_ROW: Final = "INSERT INTO told VALUES (?, ?, ?, ?, ?, ?)"
_IN_ORDER: Final = "SELECT subject, kind, at_ms, value FROM told ORDER BY at_ms, kind_order, event_id, subject, value"
_INSTANCES: Final = """
    SELECT COUNT(DISTINCT subject) FROM told WHERE subject LIKE 'instance|%' AND kind <> 'instance_found'
"""
_WITHOUT_FACTS: Final = """
    SELECT COUNT(DISTINCT subject) FROM told
    WHERE kind IN ('interruption_warning', 'rebalance_recommendation')
    AND subject NOT IN (SELECT subject FROM told WHERE kind = 'instance_found')
"""

TimelineRow = tuple[str, str, int, str]
"""Subject, kind, time and value of something told; see `jobs.spot.routing.Routed`."""


class Timeline:
    """Takes the chunks of a recording in any order, and tells what is in them in the order of time.

    Args:
        path: A file to make, which other processes can read once all is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = Counts()
        self._rows = sqlite3.connect(path, isolation_level=None)
        # What a crash loses here is worth nothing, so no time is spent to keep it.
        self._rows.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        self._rows.execute("CREATE TABLE told (at_ms, kind_order, event_id, subject, kind, value)")
        self._rows.execute("CREATE TABLE ids (event_id PRIMARY KEY) WITHOUT ROWID")
        self._rows.execute("BEGIN")

    def __enter__(self) -> Self:
        """The timeline, empty."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file."""
        self._rows.close()

    def read(self, file: RecordingFile) -> Iterator[list[dict[str, Any]]]:
        """Add a file, some records with each step; gives a line for each of these that is malformed.

        Raises:
            OSError: The file cannot be read further.
        """
        for chunk in read_recorded(file):
            self.counts.read_bytes += chunk.read_bytes
            self.counts.ignored += chunk.ignored
            self.counts.malformed += len(chunk.malformed)
            for outcome in chunk.told:
                self._add(outcome)
            yield chunk.malformed

    def complete(self) -> int:
        """Make all that was added readable; how many rows there are."""
        [(self.counts.instances,)] = self._rows.execute(_INSTANCES)
        [(self.counts.without_facts,)] = self._rows.execute(_WITHOUT_FACTS)
        [(rows,)] = self._rows.execute("SELECT COUNT(*) FROM told")
        self._rows.execute("COMMIT")
        return int(rows)

    def _add(self, outcome: Event | Facts) -> None:
        counts = self.counts
        counts.kinds[kind_name(outcome)] += 1
        at_ms = outcome.at_ms
        counts.first_event_ms = at_ms if counts.first_event_ms is None else min(counts.first_event_ms, at_ms)
        counts.last_event_ms = at_ms if counts.last_event_ms is None else max(counts.last_event_ms, at_ms)
        added = self._rows.execute("INSERT OR IGNORE INTO ids VALUES (?)", (outcome.event_id,)).rowcount
        counts.duplicates += not added
        for told in route(outcome):
            order = HEARD_ORDER[told.kind]
            self._rows.execute(
                _ADD_ROW, (told.at_ms, order, outcome.event_id, told.subject, told.kind.value, told.value)
            )


def read_timeline(path: Path) -> Iterator[TimelineRow]:
    """All rows of a complete timeline, in order."""
    # A worker's calls come one after the other, but not always in the same thread.
    rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
    try:
        yield from rows.execute(_IN_ORDER)
    finally:
        rows.close()
