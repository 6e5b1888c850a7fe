"""`headroom spot apply` killed from outside, over a moto server as anybody starts it."""

import pytest

from bench.spot.apply_kills import SIZE, apply_killed

pytestmark = pytest.mark.long


def test_apply_killed_at_any_moment_is_finished_by_the_next_and_leaves_nothing_behind() -> None:
    found = apply_killed(kills=3, seed=11)
    assert found.orphans == []
    assert set(found.launches.values()) == {1}
    assert found.lowest == SIZE
    assert set(found.sizes.values()) == {(1, SIZE, SIZE)}
    assert (found.open_swaps, found.suspended, found.settled) == (0, 0, True), found.said[-30:]
