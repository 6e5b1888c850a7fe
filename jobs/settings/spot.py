"""The settings of the Spot job. Pure."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from jobs.settings.durations import DAY_MS, HOUR_MS, MINUTE_MS
from jobs.settings.section import Conflict, DurationMs, Section, Unit, quoted

FULL_PERCENT = 100
"""How much an interruption, a capacity error and a loss of health each weigh; enough to suspect a pool."""

Percent = Annotated[int, Unit("percent")]
Score = Annotated[int, Unit("placement score"), Field(ge=1, le=10)]
Count = Annotated[int, Unit("count"), Field(ge=1, le=100)]


class SignalSettings(Section):
    """How long actions about instances and memories of them last."""

    action_valid_ms: DurationMs = Field(
        default=15 * MINUTE_MS,
        ge=0,
        le=DAY_MS,
        description="How long an actuator may take up a replacement, from the warning or the end of the instance.",
    )
    remember_ms: DurationMs = Field(
        default=2 * DAY_MS,
        ge=0,
        le=365 * DAY_MS,
        description="How long an instance is remembered after the last word about it. EventBridge tries for a day to "
        "deliver an event.",
    )
    remember_spot_ms: DurationMs = Field(
        default=90 * DAY_MS,
        ge=0,
        le=365 * DAY_MS,
        description="The same for a Spot Instance that may still run: its end, once forgotten that it is one, is taken "
        "for that of an On-Demand Instance.",
    )


class MarketSettings(Section):
    """How much evidence, and how long, until a pool changes its state."""

    out_of_orderness_ms: DurationMs = Field(
        default=MINUTE_MS,
        ge=0,
        le=HOUR_MS,
        description="How long evidence about a pool is waited for in a live run, so that it is weighed in the order of "
        "its times; what comes later counts at once. No action about an instance waits.",
    )
    soak_ms: DurationMs = Field(
        default=12 * MINUTE_MS,
        ge=0,
        le=DAY_MS,
        description="How long a pool is suspect, without health or a good placement score, before it falls back to "
        "On-Demand.",
    )
    fall_back_percent: Percent = Field(
        default=2 * FULL_PERCENT,
        ge=1,
        le=10_000,
        description="The weight of evidence that shows trouble beyond a lone sign: an interruption, a capacity error "
        f"and a loss of health weigh {FULL_PERCENT} each.",
    )
    rebalance_percent: Percent = Field(
        default=30,
        ge=0,
        le=FULL_PERCENT,
        description="What a rebalance recommendation weighs. In the one public count, 9 of 30 came true.",
    )
    rebalance_window_ms: DurationMs = Field(
        default=30 * MINUTE_MS,
        ge=0,
        le=DAY_MS,
        description="How long recommendations alone add up towards suspicion.",
    )
    good_score: Score = Field(default=3, description="The lowest Spot placement score that is good.")
    good_scores: Count = Field(default=2, description="Good scores in a row that let a pool be used again.")
    scores_apart_ms: DurationMs = Field(
        default=30 * MINUTE_MS, ge=0, le=DAY_MS, description="The least time between two of them."
    )
    cool_down_ms: DurationMs = Field(
        default=3 * HOUR_MS,
        ge=0,
        le=30 * DAY_MS,
        description="The least time between a fall-back and the return from it.",
    )
    pin_after: Count = Field(
        default=2,
        description="How many fall-backs within pin_window pin a pool to On-Demand, until a person releases it.",
    )
    pin_window_ms: DurationMs = Field(
        default=DAY_MS, ge=0, le=30 * DAY_MS, description="A fall-back this old no longer counts."
    )
    action_valid_ms: DurationMs = Field(
        default=HOUR_MS,
        ge=0,
        le=DAY_MS,
        description="How long an actuator may take up a fall-back or a return.",
    )

    @classmethod
    def conflicts(cls, values: Mapping[str, Any]) -> Iterator[Conflict]:
        """A window so short that no pool can fall back often enough within it to be pinned."""
        if not {"pin_after", "pin_window_ms", "cool_down_ms", "soak_ms"} <= values.keys():
            return
        shortest_ms = (values["pin_after"] - 1) * (values["cool_down_ms"] + values["soak_ms"])
        if values["pin_window_ms"] <= shortest_ms and values["pin_after"] > 1:
            window, shortest = quoted(values["pin_window_ms"]), quoted(shortest_ms)
            text = (
                f"{window} pins no pool: between {values['pin_after']} fall-backs lie at least {shortest} of cool_down "
                "and soak"
            )
            yield Conflict(("pin_window",), text)


class SpotSettings(Section):
    """When a Spot Instance is replaced, and a Spot pool given up and used again."""

    signals: SignalSettings = Field(
        default=SignalSettings(), description="How long actions about instances and memories of them last."
    )
    market: MarketSettings = Field(
        default=MarketSettings(), description="How much evidence, and how long, until a Spot pool changes its state."
    )
