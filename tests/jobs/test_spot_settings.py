from typing import Any

import pytest

from jobs.settings import MarketSettings, Settings, SettingsError, SpotSettings
from jobs.settings.durations import DAY_MS, HOUR_MS, MINUTE_MS
from jobs.settings.load import parse_settings


def market(toml: str) -> MarketSettings:
    return parse_settings(f"[spot.market]\n{toml}".encode(), "test settings").spot.market


def test_the_defaults_are_those_of_the_best_published_hysteresis() -> None:
    assert Settings().spot == SpotSettings()
    market = Settings().spot.market
    assert (market.soak_ms, market.cool_down_ms) == (12 * MINUTE_MS, 3 * HOUR_MS)
    assert (market.good_score, market.good_scores, market.scores_apart_ms) == (3, 2, 30 * MINUTE_MS)
    assert (market.pin_after, market.pin_window_ms) == (2, DAY_MS)


def test_settings_of_the_market_are_read_from_their_table() -> None:
    assert market('soak = "5m"\ngood_score = 4\nrebalance_percent = 0') == MarketSettings(
        soak_ms=5 * MINUTE_MS, good_score=4, rebalance_percent=0
    )


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("good_score = 11", "spot.market.good_score: 11 is not allowed; it takes a whole number from 1 to 10"),
        ("good_score = 0", "spot.market.good_score: 0 is not allowed"),
        ("rebalance_percent = 101", "spot.market.rebalance_percent: 101 is not allowed"),
        ("pin_after = 0", "spot.market.pin_after: 0 is not allowed"),
        ("soak = 12", 'spot.market.soak: 12 has no unit; write "12s"'),
        ('soack = "12m"', "unknown setting spot.market.soack; did you mean spot.market.soak?"),
        (
            'pin_window = "3h12m"',
            'spot.market.pin_window: "3h12m" pins no pool: between 2 fall-backs lie at least "3h12m" of cool_down and '
            "soak",
        ),
    ],
)
def test_a_mistake_is_told_by_the_name_of_the_setting(toml: str, problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        market(toml)
    [told] = caught.value.problems
    assert problem in told


@pytest.mark.parametrize(
    "given", [{"pin_window_ms": 3 * HOUR_MS + 12 * MINUTE_MS + 1}, {"pin_window_ms": 0, "pin_after": 1}]
)
def test_a_window_in_which_a_pool_can_fall_back_often_enough_is_allowed(given: dict[str, Any]) -> None:
    assert MarketSettings(**given)
