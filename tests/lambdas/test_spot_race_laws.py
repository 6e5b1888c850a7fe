"""The laws of the actuators where several are at work on a group, each stopped at each of its calls."""

import pytest

from tests.spot_race import Race


@pytest.mark.parametrize("seed", range(60))
def test_however_actuators_meet_capacity_minimum_and_sizes_hold_and_nothing_is_left_behind(seed: int) -> None:
    assert Race(seed).run() == []
