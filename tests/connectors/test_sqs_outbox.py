from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from connectors.sqs.fifo import group_id
from connectors.sqs.outbox import LONGEST_PAUSE_MS, MOST_BATCH_BYTES, Message, Outbox, Waiting, pause_ms

NEVER_MS = 1 << 60


def message(group: str, name: str = "a", body: str = "{}") -> Message:
    return Message(group, name, body, NEVER_MS)


def names(batch: list[Waiting]) -> list[str]:
    return [each.message.deduplication_id for each in batch]


def test_of_each_group_only_the_first_is_sent() -> None:
    outbox = Outbox()
    for group, name in [("g", "1"), ("h", "2"), ("g", "3"), ("i", "4")]:
        outbox.add(message(group, name))
    batch = outbox.batch(0)
    assert names(batch) == ["1", "2", "4"]
    for each in batch:
        outbox.remove(each)
    assert names(outbox.batch(0)) == ["3"]


@pytest.mark.parametrize(("waiting", "sent"), [(9, 9), (10, 10), (11, 10)])
def test_a_batch_has_ten_messages_at_most(waiting: int, sent: int) -> None:
    outbox = Outbox()
    for number in range(waiting):
        outbox.add(message(f"group-{number}"))
    assert len(outbox.batch(0)) == sent


@pytest.mark.parametrize(("more_bytes", "sent"), [(-1, 2), (0, 2), (1, 1)])
def test_a_batch_has_a_mebibyte_at_most(more_bytes: int, sent: int) -> None:
    outbox = Outbox()
    outbox.add(message("g", body="x" * (MOST_BATCH_BYTES // 2)))
    outbox.add(message("h", body="ä" * (MOST_BATCH_BYTES // 4) + "x" * more_bytes if more_bytes >= 0 else "x"))
    assert len(outbox.batch(0)) == sent


def test_a_message_larger_than_a_batch_is_tried_alone() -> None:
    outbox = Outbox()
    outbox.add(message("g", body="x" * (MOST_BATCH_BYTES + 1)))
    outbox.add(message("h"))
    assert len(outbox.batch(0)) == 1


def test_a_message_that_was_not_accepted_holds_up_its_group_and_no_other() -> None:
    outbox = Outbox()
    first, other = outbox.add(message("g", "1")), outbox.add(message("h", "2"))
    outbox.add(message("g", "3"))
    outbox.remove(other)
    outbox.postpone(first, 1_000)
    outbox.add(message("h", "4"))
    assert names(outbox.batch(1_000)) == ["4"]
    assert names(outbox.batch(1_099)) == ["4"]
    assert names(outbox.batch(1_100)) == ["1", "4"]


def test_an_outage_holds_up_everything_for_longer_and_longer_until_an_answer() -> None:
    outbox = Outbox()
    outbox.add(message("g"))
    due = []
    for _ in range(9):
        outbox.unanswered(0)
        due.append(outbox.due_ms())
    assert due == [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]
    assert (outbox.batch(4_999), len(outbox.batch(5_000))) == ([], 1)
    outbox.answered()
    assert len(outbox.batch(0)) == 1


@given(st.integers(0, 10_000))
def test_no_pause_is_longer_than_the_longest(failures: int) -> None:
    assert 0 < pause_ms(failures) <= pause_ms(failures + 1) <= LONGEST_PAUSE_MS


def test_what_is_restored_goes_on_in_its_order_under_new_numbers() -> None:
    before = Outbox()
    kept = [before.add(message("g", str(number))) for number in range(3)]
    outbox = Outbox(reversed(kept[1:]))
    assert (names(outbox.batch(0)), outbox.add(message("g")).number, len(outbox)) == (["1"], 3, 3)


class Sending(RuleBasedStateMachine):
    """An outbox before a queue that fails in every way it can, and a job that is restored now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.state: dict[int, Waiting] = {}
        self.added: dict[str, list[str]] = defaultdict(list)
        self.accepted: dict[str, list[str]] = defaultdict(list)
        self.now_ms = 0

    @rule(group=st.sampled_from("abc"))
    def add(self, group: str) -> None:
        name = f"{group}{len(self.added[group])}"
        waiting = self.outbox.add(message(group, name))
        self.state[waiting.number] = waiting
        self.added[group].append(name)

    @rule(accepts=st.lists(st.booleans(), min_size=3, max_size=3))
    def send(self, accepts: list[bool]) -> None:
        batch = self.outbox.batch(self.now_ms)
        self.outbox.answered()
        for waiting, is_accepted in zip(batch, accepts, strict=False):
            if is_accepted:
                self.outbox.remove(waiting)
                del self.state[waiting.number]
                self.accepted[waiting.message.group_id].append(waiting.message.deduplication_id)
            else:
                self.outbox.postpone(waiting, self.now_ms)

    @rule()
    def fail(self) -> None:
        self.outbox.unanswered(self.now_ms)

    @rule(later_ms=st.integers(0, 6_000))
    def wait(self, later_ms: int) -> None:
        self.now_ms += later_ms

    @rule()
    def restore(self) -> None:
        self.outbox = Outbox(self.state.values())

    @invariant()
    def each_group_is_accepted_in_its_order_and_nothing_is_lost(self) -> None:
        for group, added in self.added.items():
            accepted = self.accepted[group]
            waiting = [each.message.deduplication_id for each in sorted(self.state.values())]
            assert accepted + [name for name in waiting if name in added] == added
        assert len(self.outbox) == len(self.state)

    @invariant()
    def what_waits_is_sent_within_the_longest_pause(self) -> None:
        due_ms = self.outbox.due_ms()
        assert (due_ms is None) == (not self.state)
        if due_ms is not None:
            assert due_ms <= self.now_ms + LONGEST_PAUSE_MS
            assert self.outbox.batch(due_ms)


TestSending = Sending.TestCase


@pytest.mark.parametrize(
    ("key", "is_kept"),
    [
        ("conversations:tenant-7", True),
        ("t:!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", True),
        ("x" * 127, True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("", False),
        ("t:a b", False),
        ("t:a\n", False),
        ("t:tenant-ä", False),
        ("t:\ud800", False),
    ],
)
def test_a_key_that_sqs_allows_is_its_own_group_and_any_other_is_hashed(key: str, is_kept: bool) -> None:
    group = group_id(key)
    assert (group == key) is is_kept
    assert group_id(group) == group
    assert group.isascii()
    assert 1 <= len(group) <= 128
