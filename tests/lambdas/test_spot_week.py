"""A simulated day of a small fleet, with all that goes wrong in the week that `bench.spot.week` measures."""

import pytest

from bench.spot.week import simulate


@pytest.mark.parametrize("seed", [1, 2])
def test_a_day_of_droughts_kills_and_losses_leaves_nothing_behind(seed: int) -> None:
    week, figures = simulate(seed=seed, days=1, groups=3, size=4, changes=14)
    assert figures["swaps done"]
    assert figures["saving %"]
    nothing = (
        "orphans at the end",
        "double launches",
        "MaxSize left raised",
        "swaps left open",
        "instance-seconds below the On-Demand minimum",
    )
    assert {name: figures[name] for name in nothing} == dict.fromkeys(nothing, 0)
    assert week.world.hasty == []
