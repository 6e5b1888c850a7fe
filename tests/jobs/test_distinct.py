from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.recorded import distinct
from jobs.recorded.distinct import DIGEST_BYTES, DistinctDigests

digests = st.lists(st.integers(0, 40).map(lambda number: number.to_bytes(DIGEST_BYTES, "big")))


@given(st.lists(digests))
def test_each_counts_once_however_often_it_is_told(told: list[list[bytes]]) -> None:
    counted = DistinctDigests()
    known: set[bytes] = set()
    for some in told:
        counted.add(some)
        known.update(some)
        assert counted.count() == len(known)


def test_nothing_told_is_none() -> None:
    counted = DistinctDigests()
    counted.add([])
    assert counted.count() == 0


def test_digests_that_differ_in_one_bit_anywhere_are_two() -> None:
    counted = DistinctDigests()
    counted.add([(1 << bit).to_bytes(DIGEST_BYTES, "big") for bit in range(64)] + [bytes(8), b"\xff" * 8])
    assert counted.count() == 66


@pytest.mark.parametrize("most_told", [1, 10, 1_000])
def test_what_is_put_together_early_counts_the_same(most_told: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_MOST_TOLD", most_told)
    counted = DistinctDigests()
    for number in range(3_000):
        counted.add([blake2b(b"%d" % (number % 700), digest_size=DIGEST_BYTES).digest()] * 3)
    assert counted.count() == 700


def test_memory_is_held_for_different_digests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distinct, "_MOST_TOLD", 100)
    counted = DistinctDigests()
    for number in range(20_000):
        counted.add([(number % 50).to_bytes(DIGEST_BYTES, "big")])
        assert counted._told_bytes <= 101 * DIGEST_BYTES
        assert sum(map(len, counted._told)) == counted._told_bytes
