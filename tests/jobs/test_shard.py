import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.dynamodb.fast_path import FastPath, event_id
from connectors.kinesis.records import KinesisRecord, ShardBatch
from jobs.capacity.lane import LaneRow, LaneSettings
from jobs.capacity.shard import read_batch
from jobs.generate import Profile, records
from jobs.generate.malformed import MalformedKind
from jobs.recorded.reports import Report, read_report

SETTINGS = LaneSettings(step_ms=5_000, out_of_orderness_ms=2_000, future_tolerance_ms=3_600_000)
AT_MS = 1_800_000_000_000


def record(at_ms: int, key: str = "a", identity: str | None = None, **fields: Any) -> bytes:
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


def arrived(*contents: bytes, arrived_ms: int = AT_MS + 10_000_000) -> list[KinesisRecord]:
    return [KinesisRecord(content, str(number), arrived_ms / 1_000) for number, content in enumerate(contents)]


class Shard:
    """A shard as the source keeps it: its progress, what it promised, and the reader's memory."""

    def __init__(self, *parents: "Shard") -> None:
        self.progress_ms: int = min((parent.progress_ms for parent in parents), default=0)
        self.promised_ms: int = min((parent.promised_ms for parent in parents), default=0)
        self.memory = b""
        self.inherited = tuple(parent.memory for parent in parents)

    def take(self, polled: list[KinesisRecord]) -> tuple[dict[tuple[str, int], int], Report]:
        """The sums of a poll by key and step end, and its report."""
        promised = self.promised_ms, self.promised_ms
        batch = ShardBatch("shard-0", polled, self.progress_ms, *promised, self.memory, self.inherited)
        rows, self.progress_ms, self.memory = read_batch(batch, FastPath({}), SETTINGS)
        self.inherited = ()
        *sums, report = [LaneRow(*row) for row in rows]
        assert all(row.at_ms >= row.low_water_ms for row in (*sums, report))
        self.promised_ms = max(self.promised_ms, self.progress_ms - SETTINGS.out_of_orderness_ms)
        assert report.report is not None
        return {(str(row.partition_key), row.at_ms + 1): row.wcu for row in sums}, read_report(report.report)


def test_a_poll_is_summed_up_by_key_and_step() -> None:
    polled = arrived(record(AT_MS), record(AT_MS + 1), record(AT_MS + 4_999, "b"), record(AT_MS + 5_000))
    sums, report = Shard().take(polled)
    assert sums == {("a", AT_MS + 5_000): 2, ("b", AT_MS + 5_000): 1, ("a", AT_MS + 10_000): 1}
    assert (report.counts.changes, report.counts.first_event_ms, report.counts.last_event_ms) == (
        4,
        AT_MS,
        AT_MS + 5_000,
    )


@pytest.mark.parametrize(("behind_ms", "is_late"), [(1_999, False), (2_000, False), (2_001, True)])
def test_a_change_behind_the_progress_by_more_than_the_bound_is_late(behind_ms: int, is_late: bool) -> None:
    into = Shard()
    into.take(arrived(record(AT_MS)))
    sums, report = into.take(arrived(record(AT_MS - behind_ms)))
    assert (sums == {}) is is_late
    assert report.counts.late == is_late
    if is_late:
        assert report.late[0]["position"] == {"shard": "shard-0", "sequence_number": "0"}


@pytest.mark.parametrize(("ahead_ms", "is_late"), [(-1, False), (0, False), (1, True)])
def test_a_change_before_what_the_subtask_has_promised_is_late(ahead_ms: int, is_late: bool) -> None:
    into = Shard()
    into.promised_ms = AT_MS + ahead_ms
    sums, report = into.take(arrived(record(AT_MS)))
    assert (sums == {}) is is_late
    assert report.counts.late == is_late


def test_a_clock_that_is_ahead_makes_nobody_late() -> None:
    into = Shard()
    polled = arrived(record(AT_MS + 3_000_000, "ahead"), record(AT_MS - 2_000), arrived_ms=AT_MS)
    sums, report = into.take(polled)
    assert (report.counts.late, into.progress_ms) == (0, AT_MS)
    assert len(sums) == 2


@pytest.mark.parametrize(("ahead_ms", "is_malformed"), [(3_599_999, False), (3_600_000, False), (3_600_001, True)])
def test_a_time_far_ahead_of_its_arrival_is_malformed(ahead_ms: int, is_malformed: bool) -> None:
    sums, report = Shard().take(arrived(record(AT_MS + ahead_ms), arrived_ms=AT_MS))
    assert report.counts.malformed == is_malformed
    assert bool(sums) is not is_malformed
    if is_malformed:
        assert "far ahead" in report.malformed[0]["reason"]


def test_what_is_no_change_is_kept_or_ignored() -> None:
    polled = arrived(b"nonsense", record(AT_MS, eventSource="aws:other"), b"", record(AT_MS))
    sums, report = Shard().take(polled)
    assert (report.counts.malformed, report.counts.ignored, len(sums)) == (2, 1, 1)
    assert [line["record"] for line in report.malformed] == ["nonsense", ""]


def test_a_change_counts_once_however_often_it_comes_while_it_is_in_time() -> None:
    into = Shard()
    once = record(AT_MS)
    assert into.take(arrived(once, once, record(AT_MS + 1)))[1].counts.duplicates == 1
    into.take(arrived(record(AT_MS + 2_000)))
    sums, report = into.take(arrived(once))
    assert (sums, report.counts.duplicates, report.counts.late) == ({}, 1, 0)
    into.take(arrived(record(AT_MS + 2_001)))
    sums, report = into.take(arrived(once))
    assert (sums, report.counts.duplicates, report.counts.late) == ({}, 0, 1)


def test_changes_without_an_identity_count_each_time() -> None:
    nameless = record(AT_MS, eventID=None)
    assert Shard().take(arrived(nameless, nameless))[0] == {("a", AT_MS + 5_000): 2}


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.1, 0.5]), st.integers(1, 400))
def test_duplicates_change_no_sum(seed: int, fraction: float, polled_at_once: int) -> None:
    profile = Profile(seed=seed, records=300, duplicates=0, late=0, malformed=0, rate_per_s=50, disorder_ms=1_900)
    once = list(records(profile))
    random, again = Random(seed), []
    for content in once:
        again += [content] * (1 + (random.random() < fraction))
    assert total_of(again, polled_at_once) == total_of(once, len(once))


def total_of(contents: list[bytes], polled_at_once: int) -> dict[tuple[str, int], int]:
    into = Shard()
    total: dict[tuple[str, int], int] = {}
    for start in range(0, len(contents), polled_at_once):
        sums, _ = into.take(arrived(*contents[start : start + polled_at_once], arrived_ms=1 << 50))
        for key, wcu in sums.items():
            total[key] = total.get(key, 0) + wcu
    return total


@pytest.mark.parametrize("form", [lambda content: content, lambda content: json.dumps(json.loads(content)).encode()])
def test_the_identity_is_what_the_record_says_it_is(form: Any) -> None:
    profile = Profile(records=200, malformed_kinds=(MalformedKind.NOT_JSON,), malformed=0)
    for content in map(form, records(profile)):
        identity = event_id(content)
        assert identity is not None
        assert identity.decode() == msgspec.json.decode(content)["eventID"]


def test_an_attribute_called_like_the_identity_is_not_taken_for_it() -> None:
    image = {"eventID": {"S": 'x"eventID":"no"'}, "pk": {"S": "a"}}
    content = json.dumps({"dynamodb": {"NewImage": image}, "eventID": "yes"}).encode()
    assert event_id(content) == b"yes"
    assert event_id(json.dumps({"dynamodb": {"NewImage": image}}).encode()) is None


def test_what_comes_twice_around_a_split_or_a_merge_counts_once() -> None:
    lower, upper = Shard(), Shard()
    lower.take(arrived(record(AT_MS, "a")))
    upper.take(arrived(record(AT_MS, "b")))
    half, merged = Shard(lower), Shard(lower, upper)
    assert half.take(arrived(record(AT_MS, "a"), record(AT_MS, "b")))[0] == {("b", AT_MS + 5_000): 1}
    assert merged.take(arrived(record(AT_MS, "a"), record(AT_MS, "b"), record(AT_MS, "c")))[0] == {
        ("c", AT_MS + 5_000): 1
    }
    assert merged.take(arrived(record(AT_MS, "a"), record(AT_MS, "c")))[0] == {}
