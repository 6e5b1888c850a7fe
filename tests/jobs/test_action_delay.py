from hypothesis import given
from hypothesis import strategies as st

from jobs.action_delay import ActionDelay


def test_a_delay_counts_for_a_minute() -> None:
    delay = ActionDelay()
    delay.add(issued_at_ms=900, now_ms=1_000)
    assert [delay.longest_ms(now_ms) for now_ms in (60_999, 61_000)] == [100, 0]


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(-5, 500)), max_size=30))
def test_it_is_the_longest_of_those_of_the_last_minute(told: list[tuple[int, int]]) -> None:
    delay, now_ms, all_told = ActionDelay(), 0, []
    for pause_ms, delay_ms in told:
        now_ms += pause_ms
        delay.add(now_ms - delay_ms, now_ms)
        all_told.append((now_ms, max(0, delay_ms)))
        assert delay.longest_ms(now_ms) == max(each for at_ms, each in all_told if at_ms > now_ms - 60_000)
