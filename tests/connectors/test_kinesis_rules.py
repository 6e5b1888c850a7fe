"""What is pure of the Kinesis source: slots, key groups, positions, promises, what is tried again."""

from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from connectors.kinesis.client import Answer, KinesisError
from connectors.kinesis.key_groups import key_group_of, keys_of_groups
from connectors.kinesis.low_water import Progress, inherited
from connectors.kinesis.polling import Cursor, Fetched, Gone, Trouble, Troubled, backoff_ms, poll
from connectors.kinesis.positions import OLDEST, after, at_time, parse_start
from connectors.kinesis.records import NO_TIME_MS
from connectors.kinesis.shards import SLOTS, may_begin, parse_shard, slots_beside, subtask_of
from connectors.kinesis.state import ShardState, SlotState, read_state, write_state

NOW_MS = 1_763_632_800_000


def listed(first_hash_key: int, **more: str) -> dict[str, Any]:
    return {"ShardId": "s", "HashKeyRange": {"StartingHashKey": str(first_hash_key), "EndingHashKey": "0"}, **more}


@pytest.mark.parametrize(
    ("first_hash_key", "slot"),
    [(0, 0), ((1 << 124) - 1, 0), (1 << 124, 1), ((1 << 127) - 1, 7), (1 << 127, 8), ((1 << 128) - 1, 15)],
)
def test_a_shard_s_slot_is_the_part_of_the_hash_keys_that_it_begins_in(first_hash_key: int, slot: int) -> None:
    assert parse_shard(listed(first_hash_key)).slot == slot


def test_a_shard_names_its_parents() -> None:
    assert parse_shard(listed(0)).parent_ids == ()
    assert parse_shard(listed(0, ParentShardId="a")).parent_ids == ("a",)
    assert parse_shard(listed(0, ParentShardId="a", AdjacentParentShardId="b")).parent_ids == ("a", "b")


@pytest.mark.parametrize("subtasks", range(1, SLOTS + 1))
def test_every_subtask_owns_slots_side_by_side_and_none_is_left(subtasks: int) -> None:
    owners = [subtask_of(slot, subtasks) for slot in range(SLOTS)]
    assert owners == sorted(owners)
    assert set(owners) == set(range(subtasks))
    for slot in range(SLOTS):
        assert slots_beside(slot, subtasks) == {other for other in range(SLOTS) if owners[other] == owners[slot]}


def test_key_groups_are_those_that_flink_computes() -> None:
    # KeyGroupRangeAssignment.assignToKeyGroup(Row.of(key), groups), as Flink 2.3.0 answers.
    assert [key_group_of(key, 128) for key in range(3)] == [33, 44, 97]
    assert keys_of_groups(16) == [8, 0, 53, 33, 21, 11, 36, 9, 3, 14, 12, 17, 1, 6, 37, 31]


@pytest.mark.parametrize(
    ("parents", "finished", "may"),
    [
        ((), set(), True),
        (("a",), set(), False),
        (("a",), {"a"}, True),
        (("a", "b"), {"a"}, False),
        (("a", "b"), {"a", "b"}, True),
        (("gone",), set(), True),
        (("gone", "b"), set(), False),
        (("gone", "b"), {"b"}, True),
    ],
)
def test_a_shard_begins_after_all_its_parents_that_are_known(
    parents: tuple[str, ...], finished: set[str], may: bool
) -> None:
    assert may_begin(parents, {"a", "b"}, finished) is may


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("latest", at_time(NOW_MS)),
        ("LATEST", at_time(NOW_MS)),
        ("trim_horizon", OLDEST),
        ("2025-11-20T10:00:00Z", at_time(NOW_MS)),
        ("2025-11-20T11:00:00+01:00", at_time(NOW_MS)),
        ("2025-11-20T10:00:00", at_time(NOW_MS)),
        ("yesterday", None),
        ("", None),
        ("1969-12-31", None),
    ],
)
def test_a_start_is_a_word_or_a_time(text: str, position: object) -> None:
    assert parse_start(text, NOW_MS) == position


def test_a_position_says_what_kinesis_wants_to_hear() -> None:
    assert OLDEST.iterator_arguments() == {"ShardIteratorType": "TRIM_HORIZON"}
    assert at_time(1_500).iterator_arguments() == {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1.5}
    arguments = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "7"}
    assert after("7").iterator_arguments() == arguments


def test_state_comes_back_as_it_was_and_nothing_is_the_state_of_a_slot_never_seen() -> None:
    shard = ShardState("s", ("a", "b"), after("123"), Progress(1, 2, 3, 4), begun=True, finished_ms=5)
    state = SlotState((shard,), late_before_ms=6, begun=True)
    assert read_state(write_state(state)) == state
    assert read_state(None) == SlotState()


def test_records_promise_that_nothing_older_comes_but_for_the_out_of_orderness() -> None:
    progress = Progress().with_records(10_000, 10_700, 2_000)
    assert (progress.newest_ms, progress.delay_ms, progress.low_water_ms) == (10_000, 700, 8_000)
    later = progress.with_records(9_500, 11_000, 2_000)
    assert (later.newest_ms, later.delay_ms, later.low_water_ms) == (10_000, 1_000, 8_000)


def test_without_records_time_goes_on_as_far_as_delay_margin_and_out_of_orderness_let_it() -> None:
    progress = Progress().with_records(10_000, 10_700, 2_000).with_cursor(20_000, 700, 1_000, 2_000)
    assert (progress.cursor_ms, progress.low_water_ms, progress.newest_ms) == (20_000, 16_300, 10_000)
    assert Progress().with_cursor(20_000, None, 1_000, 2_000).low_water_ms == NO_TIME_MS


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 10**6), st.integers(0, 10**6)), max_size=30))
def test_a_promise_and_what_is_read_never_fall(steps: list[tuple[bool, int, int]]) -> None:
    progress = Progress()
    for has_records, at_ms, delay_ms in steps:
        former = progress
        if has_records:
            progress = progress.with_records(at_ms, at_ms + delay_ms, 500)
            assert progress.low_water_ms >= at_ms - 500
        else:
            progress = progress.with_cursor(at_ms, delay_ms, 100, 500)
        assert progress.low_water_ms >= former.low_water_ms
        assert progress.newest_ms >= former.newest_ms
        assert progress.cursor_ms >= former.cursor_ms


def test_a_child_keeps_what_the_slower_of_its_parents_promised() -> None:
    parents = [Progress(100, 5, 900, 80), Progress(200, 7, 800, 180)]
    assert inherited(parents) == Progress(100, 7, NO_TIME_MS, 80)
    assert inherited([]) == Progress()


class Calls:
    """A client whose calls end as they are told."""

    stream = "changes"

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    def iterator(self, shard_id: str, arguments: dict[str, object]) -> str:
        self.asked.append("iterator")
        return "fresh"

    def records(self, iterator: str, limit: int) -> Answer:
        self.asked.append(iterator)
        if self.error:
            raise self.error
        return Answer([], "next", 0)


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said"}}, "GetRecords")


def test_an_iterator_in_hand_is_used_and_one_that_expired_is_asked_for_anew() -> None:
    calls = Calls()
    cursor = Cursor(OLDEST)
    assert isinstance(poll(calls, "s", cursor, lambda: 1), Fetched)
    poll(calls, "s", Cursor(OLDEST, "held"), lambda: 1)
    assert calls.asked == ["iterator", "fresh", "held"]
    assert Cursor(OLDEST, "held").after_trouble(Trouble.EXPIRED_ITERATOR) == Cursor(OLDEST, None, 1)
    assert Cursor(OLDEST, "held", 1).after_trouble(Trouble.THROTTLED) == Cursor(OLDEST, "held", 2)


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (refused("ProvisionedThroughputExceededException"), Trouble.THROTTLED),
        (refused("KMSThrottlingException"), Trouble.THROTTLED),
        (refused("InternalFailure"), Trouble.UNAVAILABLE),
        (refused("SomethingNew"), Trouble.UNAVAILABLE),
        (EndpointConnectionError(endpoint_url="http://x"), Trouble.UNAVAILABLE),
        (ReadTimeoutError(endpoint_url="http://x"), Trouble.UNAVAILABLE),
        (refused("ExpiredIteratorException"), Trouble.EXPIRED_ITERATOR),
        (refused("InvalidArgumentException"), Trouble.EXPIRED_ITERATOR),
    ],
)
def test_what_passes_by_itself_is_trouble(error: Exception, trouble: Trouble) -> None:
    outcome = poll(Calls(error), "s", Cursor(after("7"), "held"), lambda: 1)
    assert isinstance(outcome, Troubled)
    assert outcome.trouble is trouble


def test_a_shard_that_is_gone_is_gone() -> None:
    assert poll(Calls(refused("ResourceNotFoundException")), "s", Cursor(after("7"), "held"), lambda: 1) == Gone()


@pytest.mark.parametrize(
    "error", [refused("AccessDeniedException"), refused("KMSAccessDeniedException"), NoCredentialsError()]
)
def test_what_a_person_must_put_right_is_an_error(error: Exception) -> None:
    with pytest.raises(KinesisError, match="stream changes"):
        poll(Calls(error), "s", Cursor(after("7"), "held"), lambda: 1)


def test_waiting_doubles_up_to_ten_seconds() -> None:
    random = Random(1)
    for attempts, longest_ms in ((1, 200), (2, 400), (6, 6_400), (7, 10_000), (1_000, 10_000)):
        waits = {backoff_ms(attempts, random) for _ in range(200)}
        assert longest_ms // 2 <= min(waits) <= max(waits) <= longest_ms
