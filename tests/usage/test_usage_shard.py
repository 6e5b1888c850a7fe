"""What a live shard puts into the ledger: the same whatever the batches, and what the batch oracle says."""

import json
from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.change_facts import FactPath
from connectors.kinesis.records import KinesisRecord, ShardBatch
from jobs.recorded.reports import Counts, read_report
from jobs.usage.facts import EVENT_COLUMNS, UsageRow, decode_batch
from jobs.usage.minute_sums import FileLayout, decode_sums
from jobs.usage.shard import ShardSettings, mark_row, read_batch

SETTINGS = ShardSettings(
    out_of_orderness_ms=2_000, future_tolerance_ms=3_600_000, margin_ms=1_000, layout=FileLayout(900_000, 2)
)
AT_MS = 1_800_000_000_000  # a whole minute
LONG_AFTER_MS = AT_MS + 3_000_000

Sums = dict[tuple[str, int, int | None], list[int]]
Arrivals = dict[str, list[tuple[int, int]]]


def record(at_ms: int, identity: str | None = None, key: str = "a", **fields: Any) -> bytes:
    content = {
        "eventID": identity or f"{key}-{at_ms}",
        "eventName": "INSERT",
        "tableName": "t",
        "dynamodb": {
            "ApproximateCreationDateTime": at_ms,
            "Keys": {"pk": {"S": key}},
            "NewImage": {"pk": {"S": key}},
            "SizeBytes": 6,
        },
    }
    return json.dumps(content | fields).encode()


def polled(*contents: bytes, arrived_ms: int = LONG_AFTER_MS) -> list[KinesisRecord]:
    return [KinesisRecord(content, str(number), arrived_ms / 1_000) for number, content in enumerate(contents)]


class Shard:
    """A shard as the source keeps it, and all that came of it."""

    def __init__(self) -> None:
        self.progress_ms = 0
        self.promised_ms = 0
        self.memory = b""
        self.sums: Sums = {}
        self.arrivals: Arrivals = {}
        self.counts = Counts()
        self.malformed: list[dict[str, Any]] = []

    def take(self, records: list[KinesisRecord]) -> "Shard":
        batch = ShardBatch("shard-0", records, self.progress_ms, self.promised_ms, self.promised_ms, self.memory)
        rows, self.progress_ms, self.memory = read_batch(batch, FactPath({}), SETTINGS)
        for row in (UsageRow(*each) for each in rows):
            assert row.at_ms >= row.low_water_ms == self.promised_ms
            if row.sums is not None:
                minute = decode_sums(row.sums)
                assert row.at_ms == minute.last_ms
                for each in minute.sums:
                    group = each.partition_key, minute.window_start_ms - AT_MS, each.corrects_ms
                    total = self.sums.setdefault(group, [0, 0])
                    total[0] += each.wcu
                    total[1] += each.changes
            if row.events is not None:
                events = decode_batch(row.events)
                columns = np.frombuffer(events.columns, dtype=EVENT_COLUMNS)
                for identity, each in zip(events.event_ids, columns, strict=True):
                    self.arrivals.setdefault(identity, []).append((int(each["arrived_ms"]), int(each["place"])))
            if row.report is not None:
                report = read_report(row.report)
                self.counts.add(report.counts)
                self.malformed += report.malformed
        return self


@pytest.mark.parametrize(("behind_ms", "is_late"), [(1_999, False), (2_000, False), (2_001, True)])
def test_a_change_behind_the_newest_by_more_than_the_bound_corrects_its_minute(behind_ms: int, is_late: bool) -> None:
    at_ms = AT_MS + 60_500
    shard = Shard().take(polled(record(at_ms)))
    shard.take(polled(record(at_ms - behind_ms)))
    assert (shard.counts.changes, shard.counts.late) == (2, int(is_late))
    key = ("a", 60_000, AT_MS) if is_late else ("a", 0, None)
    assert shard.sums[key] == [1, 1]


@pytest.mark.parametrize(("pause_ms", "is_late"), [(12_999, False), (13_000, False), (13_001, True)])
def test_after_a_pause_a_change_that_the_source_would_not_have_waited_for_is_late(pause_ms: int, is_late: bool) -> None:
    """It is as if time had gone on by the pause, but for the margin: here up to 10 s after the newest."""
    taken_ms = AT_MS + 20_000
    shard = Shard().take(polled(record(AT_MS + 10_000), arrived_ms=taken_ms))
    shard.take(polled(record(AT_MS + 20_000), arrived_ms=taken_ms + pause_ms))
    assert shard.counts.late == int(is_late)


def test_the_margin_is_waited_once_and_the_pause_counts_through_records_that_are_no_changes() -> None:
    shard = Shard().take(polled(record(AT_MS), arrived_ms=AT_MS + 500))
    shard.take(polled(b"{", arrived_ms=AT_MS + 10_000))
    # Heard up to AT_MS + 8,500: what was written before AT_MS + 6,500 is late.
    shard.take(polled(record(AT_MS + 6_499), record(AT_MS + 6_500), arrived_ms=AT_MS + 10_000))
    assert (shard.counts.late, shard.counts.malformed) == (1, 1)
    assert shard.malformed[0]["position"] == {"shard": "shard-0", "sequence_number": "0"}


def test_nothing_comes_behind_what_was_promised() -> None:
    shard = Shard()
    shard.promised_ms = AT_MS + 120_000
    shard.take(polled(record(AT_MS), record(AT_MS + 119_999), record(AT_MS + 120_000)))
    assert shard.counts.late == 2
    assert shard.sums == {
        ("a", 120_000, AT_MS): [1, 1],
        ("a", 120_000, AT_MS + 60_000): [1, 1],
        ("a", 120_000, None): [1, 1],
    }


@pytest.mark.parametrize(("ahead_ms", "is_malformed"), [(3_599_999, 0), (3_600_000, 0), (3_600_001, 1)])
def test_a_clock_far_ahead_of_its_arrival_is_malformed_and_one_ahead_closes_nothing(
    ahead_ms: int, is_malformed: int
) -> None:
    shard = Shard().take(polled(record(AT_MS + ahead_ms), record(AT_MS - 1_000, key="b"), arrived_ms=AT_MS))
    assert shard.counts.malformed == is_malformed
    assert (shard.counts.late, shard.progress_ms) == (0, AT_MS - 1_000 if is_malformed else AT_MS)


def test_what_is_not_ours_and_what_has_no_event_id_are_counted() -> None:
    ignored = json.dumps({"source": "aws.ec2", "detail-type": "x", "detail": {}}).encode()
    shard = Shard().take(polled(ignored, record(AT_MS, eventID=None)))
    assert (shard.counts.ignored, shard.counts.changes, shard.counts.without_event_id) == (1, 1, 1)
    assert shard.arrivals == {}


def test_a_mark_says_nothing_but_the_time() -> None:
    row = mark_row(AT_MS)
    assert Counter(row)[None] == len(row) - 2
    assert (row.at_ms, row.low_water_ms) == (AT_MS, AT_MS)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_rows_and_arrivals_do_not_depend_on_batches(seed: int, sizes: list[int]) -> None:
    random = Random(seed)
    arrived_ms, records = AT_MS + 5_000, []
    for number in range(60):
        arrived_ms += random.choice([0, 0, 3, 700, 9_000, 61_000])
        at_ms = arrived_ms - random.choice([100, 500, 2_500, 4_000, 70_000])
        content = b"{" if random.random() < 0.05 else record(at_ms, f"e{random.randrange(50)}", random.choice("abc"))
        records.append(KinesisRecord(content, str(number), arrived_ms / 1_000))
    whole = Shard().take(records)
    pieces, taken = Shard(), 0
    while taken < len(records):
        for size in sizes:
            if some := records[taken : taken + size]:
                pieces.take(some)
            taken += size
    assert (pieces.sums, pieces.arrivals) == (whole.sums, whole.arrivals)
    assert (pieces.counts, pieces.progress_ms) == (whole.counts, whole.progress_ms)
