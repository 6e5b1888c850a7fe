"""A subtask's shards read over HTTP from a server with shards that end, faults and retention: what is guaranteed."""

import json
import logging
from collections.abc import Iterator
from random import Random
from time import sleep
from typing import Any

import pytest

from connectors.kinesis.client import KinesisError
from connectors.kinesis.positions import at_time
from connectors.kinesis.records import ReadBatch, ShardBatch
from connectors.kinesis.shards import SLOTS
from tests.aws_server import aws_server
from tests.connectors.kinesis_reading import Reading, assert_rows_keep_promises
from tests.kinesis_server import serve
from tests.kinesis_streams import ReadEvents, TestStream, shard_id

START_MS = 1_763_632_800_000


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def url() -> Iterator[str]:
    server, address = serve()
    yield address
    server.shutdown()
    server.server_close()


def events(first: int, number: int, step_ms: int = 10) -> list[dict[str, Any]]:
    """Events numbered from the first on, so many milliseconds apart."""
    return [{"n": each, "at": START_MS + each * step_ms} for each in range(first, first + number)]


def test_every_record_of_every_shard_is_read_once(url: str) -> None:
    stream = TestStream(url, shards=5)
    stream.put(events(0, 2_000))
    with Reading(stream.config()) as reading:
        reading.until_read(2_000)
        stream.put(events(2_000, 100))
        reading.until_read(2_100)
        for _ in range(5):
            reading.round()
    assert sorted(reading.events) == list(range(2_100))
    assert reading.late == []
    assert reading.counted.numbers["records"] == 2_100
    assert_rows_keep_promises(reading.rows)


def test_latest_begins_with_what_arrives_after_the_start(url: str) -> None:
    stream = TestStream(url, shards=2)
    stream.set(arrives_ago_s=60)
    stream.put(events(0, 50))
    stream.set(arrives_ago_s=0)
    start = at_time(Reading(stream.config()).now_ms() - 1_000)
    with Reading(stream.config(start=start)) as reading:
        reading.until(lambda: reading.counted.lags)
        stream.put(events(50, 50))
        reading.until_read(50)
    assert sorted(reading.events) == list(range(50, 100))


def test_a_time_begins_with_what_arrived_then(url: str) -> None:
    stream = TestStream(url, shards=2)
    for hours_ago, first in ((3, 0), (2, 10), (1, 20)):
        stream.set(arrives_ago_s=hours_ago * 3600)
        stream.put(events(first, 10))
    with Reading(stream.config()) as reading:
        now_ms = reading.now_ms()
    with Reading(stream.config(start=at_time(now_ms - 150 * 60_000))) as reading:
        reading.until_read(20)
    assert sorted(reading.events) == list(range(10, 30))


def test_a_start_ahead_of_the_server_s_clock_is_waited_for(url: str) -> None:
    stream = TestStream(url)
    stream.put(events(0, 10))
    stream.fail("GetShardIterator", "InvalidArgumentException", times=2)
    with Reading(stream.config(start=at_time(START_MS))) as reading:
        reading.until_read(10)
    assert reading.counted.numbers["ahead_of_clock"] == 2


def test_a_start_at_latest_survives_a_restart_before_the_first_record(url: str) -> None:
    stream = TestStream(url)
    with Reading(stream.config()) as reading:
        start = at_time(reading.now_ms() - 500)
    with Reading(stream.config(start=start)) as before:
        before.until(lambda: before.counted.lags).until(lambda: before.counted.lags[shard_id(0)]() > 0)
    stream.put(events(0, 10))
    with Reading(stream.config(start=at_time(before.now_ms())), before.states) as after:
        after.until_read(10)
    assert after.events == list(range(10))


def test_children_wait_for_their_parent_and_keep_the_order(url: str) -> None:
    stream = TestStream(url)
    stream.put_into("lower", events(0, 300))
    stream.split(0)
    stream.put_into("lower", events(300, 100))
    stream.put_into("upper", events(400, 100))
    stream.set(most_records=7)
    with Reading(stream.config()) as reading:
        reading.until_read(500)
        reading.until(lambda: reading.counted.numbers["finished_shards"] == 1)
    assert reading.events[:300] == list(range(300))
    assert sorted(reading.events[300:]) == list(range(300, 500))
    assert [n for n in reading.events if 300 <= n < 400] == list(range(300, 400))


def test_a_child_of_two_waits_for_both(url: str) -> None:
    stream = TestStream(url, shards=2)
    stream.put_into("lower", events(0, 20))
    stream.put_into("upper", events(20, 300))
    stream.merge(0, 1)
    stream.put_into("lower", events(320, 50))
    stream.set(most_records=5)
    with Reading(stream.config()) as reading:
        reading.until_read(370)
    assert reading.events[320:] == list(range(320, 370))
    assert reading.late == []


@pytest.mark.parametrize("kill_every", [None, 3])
def test_splits_and_merges_under_load_lose_nothing_and_make_nothing_late(url: str, kill_every: int | None) -> None:
    stream = TestStream(url, shards=2)
    stream.set(most_records=40)
    config = stream.config()
    read: list[int] = []
    late: list[int] = []
    states: dict[int, str] = {}
    reading = Reading(config)
    written = 0
    changes = {4: ("split", 0, 1 << 126), 8: ("split", 1, 3 << 126), 12: ("merge", 2, 3), 16: ("merge", 4, 5)}
    for turn in range(1, 24):
        stream.put(events(written, 60))
        written += 60
        if turn in changes:
            what, *arguments = changes[turn]
            getattr(stream, what)(*arguments)
        reading.round()
        if kill_every and turn % kill_every == 0:
            read += reading.events
            late += reading.late
            assert_rows_keep_promises(reading.rows)
            states = reading.states
            reading.close()
            reading = Reading(config, states)
    reading.until_read(written - len(read)).close()
    assert_rows_keep_promises(reading.rows)
    assert sorted(read + reading.events) == list(range(written))
    assert late + reading.late == []


class RememberEvents(ReadEvents):
    """Gives a row for each event that neither the shard nor its parents had before."""

    def read(self, batch: ShardBatch) -> ReadBatch:
        """The rows of events that are new, and the numbers of all."""
        remembered = {n for memory in (batch.memory, *batch.inherited) if memory for n in json.loads(memory)}
        rows, progress_ms, _ = super().read(batch)
        new = {row[0]: row for row in rows if row[0] not in remembered}
        return ReadBatch(list(new.values()), progress_ms, json.dumps(sorted(remembered | new.keys())).encode())


def test_what_a_reader_remembers_goes_on_in_the_shards_of_a_split_and_a_merge(url: str) -> None:
    stream = TestStream(url, shards=2)
    config = stream.config()
    changes = {2: ("split", 0, 1 << 126), 4: ("merge", 2, 3), 6: ("merge", 4, 1), 7: ("split", 5, 1 << 127)}
    read: list[int] = []
    reading = Reading(config, read_records=RememberEvents())
    for turn in range(10):
        stream.put(events(60 * turn, 60))
        if turn in changes:
            what, *arguments = changes[turn]
            getattr(stream, what)(*arguments)
        stream.put(events(60 * turn, 60))
        reading.round()
        if turn % 3 == 0:
            read += reading.events
            states = reading.states
            reading.close()
            reading = Reading(config, states, read_records=RememberEvents())
    reading.until(lambda: len(read) + len(reading.events) >= 600)
    for _ in range(20):
        reading.round()
    reading.close()
    assert sorted(read + reading.events) == list(range(600))


def test_a_child_listed_late_holds_the_low_water_mark_until_it_is_read(url: str) -> None:
    stream = TestStream(url)
    stream.put_into("lower", events(0, 10))
    with Reading(stream.config(discovery_interval_ms=600_000)) as reading:
        reading.until_read(10)
        stream.split(0)
        reading.until(lambda: reading.counted.numbers["finished_shards"])
        before_ms = reading.low_water_ms
        stream.put_into("upper", events(10, 10))
        reading.until_read(20)
    assert before_ms <= START_MS + 100
    assert reading.late == []


@pytest.mark.parametrize(
    ("operation", "code", "status", "counted"),
    [
        ("GetRecords", "ProvisionedThroughputExceededException", 400, "throttled"),
        ("GetRecords", "ExpiredIteratorException", 400, "expired_iterators"),
        ("GetRecords", "InternalFailure", 500, "server_errors"),
        ("GetRecords", "ServiceUnavailable", 503, "server_errors"),
        ("GetShardIterator", "ProvisionedThroughputExceededException", 400, "throttled"),
        ("GetShardIterator", "InternalFailure", 500, "server_errors"),
        ("ListShards", "LimitExceededException", 400, "listing_errors"),
        ("DescribeStreamSummary", "InternalFailure", 500, "listing_errors"),
    ],
)
def test_what_passes_by_itself_is_counted_and_tried_again(
    url: str, operation: str, code: str, status: int, counted: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = TestStream(url, shards=2)
    stream.put(events(0, 200))
    stream.set(most_records=30)
    stream.fail(operation, code, times=3, status=status)
    with Reading(stream.config()) as reading:
        reading.until_read(200)
    assert sorted(reading.events) == list(range(200))
    assert reading.counted.numbers[counted] == 3
    assert "trying again" in caplog.text


def test_iterators_that_expire_while_nothing_is_read_cost_nothing(url: str) -> None:
    stream = TestStream(url)
    stream.set(iterator_life_s=0.05)
    stream.put(events(0, 20))
    with Reading(stream.config(poll_interval_ms=150)) as reading:
        reading.until_read(20)
        reading.until(lambda: reading.counted.numbers["expired_iterators"] >= 2)
        stream.put(events(20, 20))
        reading.until_read(40)
    assert reading.events == list(range(40))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("AccessDeniedException", "access denied"),
        ("ExpiredTokenException", "credentials have expired"),
        ("UnrecognizedClientException", "credentials are not valid"),
    ],
)
@pytest.mark.parametrize("operation", ["ListShards", "GetRecords"])
def test_what_a_person_must_put_right_fails_and_says_so(url: str, operation: str, code: str, said: str) -> None:
    stream = TestStream(url)
    stream.fail(operation, code)
    with Reading(stream.config()) as reading, pytest.raises(KinesisError, match=f"stream changes: .*{said}"):
        reading.until(lambda: False)


def test_a_stream_that_is_not_there_fails_and_says_so(url: str) -> None:
    stream = TestStream(url)
    config = stream.config()
    stream.client.delete_stream(StreamName=stream.name)
    with Reading(config) as reading, pytest.raises(KinesisError, match="no such stream"):
        reading.until(lambda: False)


def test_a_shard_ahead_of_the_others_is_held_back(url: str) -> None:
    stream = TestStream(url, shards=2)
    minute_ms = 60_000
    stream.put_into("lower", events(0, 60, minute_ms))  # an hour in the one
    stream.put_into("upper", [{"n": 1_000 + each, "at": START_MS + each * minute_ms} for each in range(60)])
    stream.set(most_records=1)
    drift_ms = 5 * minute_ms
    with Reading(stream.config(max_drift_ms=drift_ms)) as reading:
        reading.until_read(120)
    newest = {"lower": 0, "upper": 0}
    for number, at_ms, _, kind in reading.rows:
        if kind == "event":
            newest["upper" if number >= 1_000 else "lower"] = at_ms - START_MS
            assert abs(newest["upper"] - newest["lower"]) <= drift_ms + minute_ms
    assert reading.late == []


def test_no_shard_makes_another_late_while_catching_up_in_any_order_of_answers(url: str) -> None:
    stream = TestStream(url, shards=4)
    random = Random(3)
    disordered = [{"n": n, "at": START_MS + n * 50 + random.randrange(1_900)} for n in range(1_200)]
    stream.put(disordered, keys=37)
    stream.set(most_records=13)
    stream.fail("GetRecords", "ProvisionedThroughputExceededException", times=20)
    with Reading(stream.config(max_drift_ms=10_000)) as reading:
        reading.until_read(1_200)
    assert reading.late == []
    assert_rows_keep_promises(reading.rows)


@pytest.mark.parametrize(("behind_ms", "is_late"), [(1_999, False), (2_000, False), (2_001, True)])
def test_late_is_what_is_behind_its_own_shard_by_more_than_the_out_of_orderness(
    url: str, behind_ms: int, is_late: bool
) -> None:
    stream = TestStream(url)
    stream.put([{"n": 0, "at": START_MS}, {"n": 1, "at": START_MS - behind_ms}])
    with Reading(stream.config()) as reading:
        reading.until_read(2)
    assert reading.late == ([1] if is_late else [])


def test_time_goes_on_without_records_and_at_the_pace_of_the_stream(url: str) -> None:
    stream = TestStream(url, shards=2)
    stream.put_into("lower", events(0, 10))  # written today, about last November
    with Reading(stream.config(margin_ms=500, out_of_orderness_ms=1_000)) as reading:
        reading.until_read(10)
        newest_ms = START_MS + 90
        reading.until(lambda: reading.low_water_ms >= newest_ms - 1_000)
        reading.until(lambda: reading.low_water_ms >= newest_ms - 1_000 + 300)
        reading.pass_ms(60_000)
        reading.until(lambda: reading.low_water_ms >= newest_ms + 58_000)
        assert reading.low_water_ms < newest_ms + 70_000


def test_an_empty_stream_of_several_subtasks_lets_time_go_on(url: str) -> None:
    stream = TestStream(url, shards=2)
    config = stream.config(margin_ms=0, out_of_orderness_ms=0)
    with Reading(config, slots=range(SLOTS // 2), subtasks=2) as reading:
        reading.until(lambda: reading.low_water_ms > reading.now_ms() - 2_000)
        first_ms = reading.low_water_ms
        reading.until(lambda: reading.low_water_ms > first_ms + 100)


def test_a_subtask_without_shards_lets_time_go_on(url: str) -> None:
    stream = TestStream(url, shards=1)
    with Reading(stream.config(), slots=range(SLOTS // 2, SLOTS), subtasks=2) as reading:
        reading.until(lambda: reading.low_water_ms > reading.now_ms() - 10_000)


def test_subtasks_share_the_shards_and_a_checkpoint_fits_any_number_of_them(url: str) -> None:
    stream = TestStream(url, shards=6)
    stream.put(events(0, 600))
    config = stream.config()
    read: list[int] = []
    states: dict[int, str] = {}
    for part in (range(8), range(8, 16)):
        with Reading(config, slots=part, subtasks=2) as reading:
            for _ in range(100):
                reading.round()
                sleep(0.005)
            assert len(reading.counted.lags) == 3
            read += reading.events
            states |= reading.states
    stream.put(events(600, 60))
    with Reading(config, states) as alone:
        alone.until_read(660 - len(read))
    assert sorted(read + alone.events) == list(range(660))


def test_a_slot_that_comes_to_the_wrong_subtask_is_refused(url: str) -> None:
    stream = TestStream(url)
    with pytest.raises(KinesisError, match="slot 15"):
        Reading(stream.config(), slots=(0, 15), subtasks=2)


def test_records_dropped_before_they_were_read_are_counted_and_logged(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = TestStream(url)
    stream.set(arrives_ago_s=30 * 3600, most_records=1)
    stream.put(events(0, 3_000))
    with Reading(stream.config()) as before:
        before.until_read(10)
    assert len(before.events) < 3_000
    assert before.counted.numbers["retention_gaps"] == 0
    stream.trim(0, records=3_000)
    stream.set(arrives_ago_s=0)
    stream.put(events(3_000, 5))
    with Reading(stream.config(), before.states) as after, caplog.at_level(logging.ERROR):
        after.until(lambda: after.events)
    assert after.events == list(range(3_000, 3_005))
    assert after.counted.numbers["retention_gaps"] == 1
    assert f"gap {shard_id(0)}" in [row[3] for row in after.rows]
    assert "the stream dropped before it was read" in caplog.text
    assert shard_id(0) in caplog.text


def test_a_closed_shard_that_expired_unread_is_a_gap_and_its_children_are_read(url: str) -> None:
    stream = TestStream(url)
    stream.put_into("lower", events(0, 10))
    stream.set(most_records=3)
    with Reading(stream.config()) as before:
        before.until_read(3)
        states = dict(before.states)
    stream.split(0)
    stream.put_into("lower", events(10, 10))
    stream.trim(0, records=10)
    with Reading(stream.config(), states) as after:
        after.until(lambda: 19 in after.events)
    assert after.counted.numbers["retention_gaps"] == 1
    assert after.events == list(range(10, 20))


def test_a_checkpoint_within_retention_is_no_gap(url: str) -> None:
    stream = TestStream(url)
    stream.set(arrives_ago_s=23 * 3600, most_records=10)
    stream.put(events(0, 30))
    with Reading(stream.config()) as before:
        before.until_read(10)
    with Reading(stream.config(), before.states) as after:
        after.until_read(30 - len(before.events))
    assert after.counted.numbers["retention_gaps"] == 0


def test_a_checkpoint_of_another_stream_of_that_name_is_refused(url: str) -> None:
    stream = TestStream(url)
    stream.put(events(0, 10))
    with Reading(stream.config()) as before:
        before.until_read(10)
    states = {
        slot: state.replace("4960", "1").replace("000000000000000000", "") for slot, state in before.states.items()
    }
    with Reading(stream.config(), states) as after, pytest.raises(KinesisError, match="read on from the checkpoint"):
        after.until(lambda: False)


def test_state_forgets_finished_shards_that_the_stream_no_longer_lists(url: str) -> None:
    stream = TestStream(url)
    stream.put_into("lower", events(0, 10))
    stream.split(0)
    with Reading(stream.config()) as reading:
        reading.until(lambda: reading.counted.numbers["finished_shards"])
        assert shard_id(0) in reading.states[0]
        stream.trim(0, records=10)
        reading.until(lambda: '"parent_ids":[]' not in reading.states[0])


def test_lag_is_how_far_reading_is_behind_arrival(url: str) -> None:
    stream = TestStream(url)
    stream.set(arrives_ago_s=3_600, most_records=1)
    stream.put(events(0, 3_000))
    with Reading(stream.config()) as reading:
        reading.until_read(5)
        assert len(reading.events) < 3_000
        assert 3_500_000 < reading.counted.lags[shard_id(0)]() < 3_700_000
        stream.set(most_records=1_000)
        reading.until_read(3_000).round()
        assert reading.counted.lags[shard_id(0)]() < 60_000


def test_moto_s_server_is_read_too() -> None:
    with aws_server() as url:
        stream = TestStream(url, shards=3)
        stream.put(events(0, 300))
        with Reading(stream.config()) as reading:
            reading.until_read(300)
        with Reading(stream.config(), reading.states) as restored:
            stream.put(events(300, 30))
            restored.until_read(30)
        with Reading(stream.config(start=at_time(reading.now_ms()))) as latest:
            latest.until(lambda: len(latest.counted.lags) == 3)
            stream.put(events(330, 30))
            latest.until_read(30)
    assert sorted(reading.events) == list(range(300))
    assert sorted(restored.events) == list(range(300, 330))
    assert sorted(latest.events) == list(range(330, 360))
