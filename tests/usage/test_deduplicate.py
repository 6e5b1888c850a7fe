"""Each eventID counts once within the horizon, whatever batches its copies come in."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.usage.deduplicate import Copy, Events, find_copies
from jobs.usage.facts import Event, batch_of, decode_batch, encode_batch
from jobs.usage.seen_events import SeenArray, SeenEvents

MINUTE = 60_000


def event(event_id: str, arrived_ms: int = 1_000, place: int = 0, **fields: int) -> Event:
    values = {"at_ms": arrived_ms, "wcu": 1, "new_bytes": 100} | fields
    return Event(event_id, ("t", "k", "S"), ("a.jsonl", 0), place, arrived_ms, event_name="MODIFY", **values)


def copies(events: Sequence[Event], seen: SeenEvents, horizon_ms: int = MINUTE) -> list[Copy]:
    batches = [decode_batch(encode_batch(batch_of(some))) for some in (events[::2], events[1::2]) if some]
    return list(find_copies(Events(batches), seen, horizon_ms))


def test_the_first_copy_counts_and_the_others_are_taken_away() -> None:
    found = copies([event("a", 3, 2), event("a", 1, 0), event("b", 2, 1)], SeenEvents())
    assert [(each.event_id, each.arrived_ms, each.is_conflict) for each in found] == [("a", 3, True)]


def test_of_copies_that_arrive_at_once_the_first_in_the_file_counts() -> None:
    found = copies([event("a", 5, 9, at_ms=4), event("a", 5, 3, at_ms=4, wcu=7)], SeenEvents())
    assert [(each.wcu, each.is_conflict) for each in found] == [(1, True)]


@pytest.mark.parametrize(("later_ms", "is_copy"), [(MINUTE - 1, True), (MINUTE, True), (MINUTE + 1, False)])
@pytest.mark.parametrize("together", [True, False])
def test_the_horizon_is_measured_from_the_copy_that_counts(later_ms: int, is_copy: bool, together: bool) -> None:
    seen = SeenEvents()
    first, second = event("a", 1_000, at_ms=1_000), event("a", 1_000 + later_ms, at_ms=1_000)
    found = copies([first, second], seen) if together else [*copies([first], seen), *copies([second], seen)]
    assert [each.is_conflict for each in found] == [False] * is_copy


@pytest.mark.parametrize("changed", [{"wcu": 2}, {"new_bytes": 101}, {"at_ms": 999}])
def test_a_copy_that_says_something_else_is_a_conflict_though_the_first_is_long_past(changed: dict[str, int]) -> None:
    seen = SeenEvents()
    assert copies([event("a")], seen) == []
    [same] = copies([event("a", 2_000, at_ms=1_000)], seen)
    [other] = copies([event("a", 3_000, **{"at_ms": 1_000} | changed)], seen)
    assert (same.is_conflict, other.is_conflict) == (False, True)


@pytest.mark.parametrize(
    ("at_ms", "windows_ms"), [(68_000, (60_000, None)), (67_999, (60_000, 60_000)), (59_999, (60_000, 0))]
)
def test_a_copy_knows_the_windows_that_it_was_summed_up_in(at_ms: int, windows_ms: tuple[int, int | None]) -> None:
    [copy] = copies([event("a", 1), event("a", 70_000, at_ms=at_ms)], SeenEvents(), 2 * MINUTE)
    assert copy.windows_ms(2_000) == windows_ms


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 5_000), st.booleans()), max_size=60),
    st.integers(1, 4_000),
)
def test_batches_say_what_one_loop_over_all_says(told: list[tuple[str, int, bool]], horizon_ms: int) -> None:
    told.sort(key=lambda each: each[1])
    events = [event(event_id, arrived_ms, place, at_ms=1) for place, (event_id, arrived_ms, _) in enumerate(told)]
    expected: list[tuple[str, int]] = []
    counted: dict[str, int] = {}
    for (event_id, _, _), each in zip(told, events, strict=True):
        before = counted.get(event_id)
        if before is not None and each.arrived_ms - before <= horizon_ms:
            expected.append((event_id, each.arrived_ms))
        else:
            counted[event_id] = each.arrived_ms
    seen, found, batch = SeenEvents(), [], []
    for place, each in enumerate(events):
        batch.append(each)
        ends = place + 1 == len(events) or (told[place][2] and events[place + 1].arrived_ms > each.arrived_ms)
        if ends:
            found += [(copy.event_id, copy.arrived_ms) for copy in copies(batch, seen, horizon_ms)]
            batch = []
    assert sorted(found) == sorted(expected)


def test_what_was_seen_is_the_same_after_it_was_kept() -> None:
    seen = SeenEvents()
    copies([event(str(number), number) for number in range(100)], seen)
    kept = {number: SeenArray.from_bytes(array.to_bytes()) for number, array in seen.arrays.items()}
    assert len(copies([event(str(number), 1_000, at_ms=number) for number in range(100)], SeenEvents(kept))) == 100


def test_memory_is_bounded_by_the_horizon_and_arrays_are_few() -> None:
    seen = SeenEvents()
    for minute in range(400):
        copies([event(f"{minute}-{number}", minute * MINUTE + number) for number in range(50)], seen, 20 * MINUTE)
    held = sum(map(len, seen.arrays.values()))
    assert 20 * 50 <= held <= 2 * 21 * 50
    assert len(seen.arrays) <= 12


def test_digests_that_begin_alike_are_told_apart() -> None:
    alike = np.array([7, 7], dtype=np.uint64)
    seen = SeenEvents()
    column = np.array([1, 2], dtype=np.uint64)
    seen.add(SeenArray(alike, column, column.astype(np.uint32), column.astype(np.int64)), 0)
    assert seen.find(np.array([7], dtype=np.uint64), np.array([2], dtype=np.uint64)) == {0: (2, 2)}
    assert seen.find(np.array([7], dtype=np.uint64), np.array([3], dtype=np.uint64)) == {}
