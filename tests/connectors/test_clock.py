import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.dynamodb.change import Change
from connectors.dynamodb.clock import RECORDS_AROUND, is_too_far_ahead, malformed_clock
from connectors.dynamodb.parse import parse_change
from tests.connectors.recorded import AT_MS, record

TOLERANCE_MS = 3_600_000


@pytest.mark.parametrize(("ahead_ms", "is_ahead"), [(-1, False), (0, False), (1, True)])
def test_as_far_as_tolerated_is_not_too_far(ahead_ms: int, is_ahead: bool) -> None:
    assert is_too_far_ahead(AT_MS + TOLERANCE_MS + ahead_ms, [AT_MS], TOLERANCE_MS) is is_ahead


def test_what_nothing_follows_is_believed() -> None:
    assert not is_too_far_ahead(AT_MS, [], TOLERANCE_MS)


@pytest.mark.parametrize(("wrong", "is_ahead"), [(0, True), (6, True), (7, True), (8, False), (15, False)])
def test_most_of_fifteen_decide(wrong: int, is_ahead: bool) -> None:
    # Seven more with the same wrong clock are outvoted, eight are the majority.
    far_ms = AT_MS + 10 * TOLERANCE_MS
    following = [far_ms] * wrong + [AT_MS] * (RECORDS_AROUND - wrong)
    assert is_too_far_ahead(far_ms, following, TOLERANCE_MS) is is_ahead


@pytest.mark.parametrize(("behind", "beyond", "is_ahead"), [(1, 0, True), (1, 1, False), (2, 1, True), (2, 2, False)])
def test_of_few_a_half_that_lies_beyond_the_gap_too_is_enough(behind: int, beyond: int, is_ahead: bool) -> None:
    far_ms = AT_MS + 10 * TOLERANCE_MS
    assert is_too_far_ahead(far_ms, [AT_MS] * behind + [far_ms] * beyond, TOLERANCE_MS) is is_ahead


@given(st.lists(st.integers(0, 2), min_size=RECORDS_AROUND, max_size=40))
def test_the_order_of_the_fifteen_does_not_matter_nor_what_comes_after_them(hours: list[int]) -> None:
    times = [AT_MS + hour * TOLERANCE_MS for hour in hours]
    at_ms = AT_MS + 2 * TOLERANCE_MS
    expected = is_too_far_ahead(at_ms, times, TOLERANCE_MS)
    assert is_too_far_ahead(at_ms, sorted(times[:RECORDS_AROUND]), TOLERANCE_MS) == expected


def test_a_change_that_is_not_believed_keeps_what_it_says() -> None:
    parsed = parse_change(record(AT_MS, "a"), {})
    assert isinstance(parsed, Change)
    malformed = malformed_clock(parsed)
    assert str(AT_MS) in malformed.reason
    assert "ApproximateCreationDateTime" in malformed.reason
    for name in ("table", "partition_key", "partition_key_type", "at_ms", "event_id", "event_name"):
        assert getattr(malformed, name) == getattr(parsed, name)
