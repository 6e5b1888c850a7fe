"""Every metric is documented, and every count of a replay's summary is a metric."""

from pathlib import Path

import pytest

from connectors.kinesis.polling import Trouble
from connectors.published_metrics import SOURCE_COUNTERS
from connectors.sqs.sink import EXPIRED, REFUSED, SENT
from jobs.capacity.tally import Tally
from jobs.metric_names import (
    ACTION_DELAY,
    CAPACITY,
    LAG,
    OUTBOX,
    RULES,
    SOURCE_LAG,
    SPOT_ACTUATORS,
    SPOT_DECIDED,
    SPOT_READ,
    SUSPEND,
    USAGE,
)
from jobs.spot.routing import counted_kinds
from jobs.spot.tally import Tally as SpotTally
from jobs.usage.tally import UsageTally
from lambdas.spot.saga_step import Call
from lambdas.spot.swap import Outcome
from lambdas.suspend.handler import APPLY_DELAY, MALFORMED, METRIC_OF_OUTCOME, RETURNED, UNKNOWN

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
NO_COUNTS = {"first_event_ms", "last_event_ms", "wall_s", "events_per_s", "duplicates_seen_if_known"}
REMEMBERED_WITHOUT_END = {"partition_keys"}


def test_every_count_of_the_summary_is_a_metric() -> None:
    counts = set(Tally().summary(1.0)) - NO_COUNTS - REMEMBERED_WITHOUT_END
    assert counts == set(CAPACITY) - {"duplicates"}


def test_every_count_of_the_summary_of_the_usage_job_is_a_metric() -> None:
    # Corrections of closed periods are made by a replay alone, in the place of what it would write anew.
    counts = set(UsageTally().summary(1.0)) - NO_COUNTS - REMEMBERED_WITHOUT_END - {"closed_period_corrections"}
    assert counts == set(USAGE) - {"duplicates"}


def test_the_metrics_of_the_actuator_are_those_that_it_publishes() -> None:
    assert set(SUSPEND) == {*METRIC_OF_OUTCOME.values(), MALFORMED, UNKNOWN, RETURNED, APPLY_DELAY}


def test_the_metrics_of_the_outbox_are_those_that_it_publishes() -> None:
    assert set(OUTBOX) == {SENT, EXPIRED, REFUSED, "outages", "waiting"}


def test_every_count_of_the_spot_job_s_summary_is_a_metric_but_for_what_would_be_remembered_without_end() -> None:
    remembered = {"duplicates", "instances", "instances_without_facts", "pools"}
    counts = set(SpotTally().summary(1.0)) - NO_COUNTS - remembered - {"kinds"}
    assert counts | counted_kinds() == {*SPOT_READ, *SPOT_DECIDED}


def test_a_source_counts_every_trouble() -> None:
    assert set(Trouble) <= set(SOURCE_COUNTERS)


def test_every_call_and_every_end_of_a_swap_is_a_metric() -> None:
    calls = {f"Calls{call.title().replace('_', '')}" for call in Call}
    assert calls == {name for name in SPOT_ACTUATORS if name.startswith("Calls")} - {"CallsFailed"}
    ends = {f"Swaps{outcome.title()}" for outcome in Outcome}
    assert ends == {name for name in SPOT_ACTUATORS if name.startswith("Swaps")}


@pytest.mark.parametrize(
    "name",
    [
        *(CAPACITY | USAGE),
        ACTION_DELAY,
        LAG,
        *OUTBOX,
        *RULES,
        SOURCE_LAG,
        *SUSPEND,
        *SPOT_READ,
        *SPOT_DECIDED,
        *SPOT_ACTUATORS,
        *SOURCE_COUNTERS,
    ],
)
def test_every_metric_is_in_the_operations_guide(name: str) -> None:
    assert f"| `{name}` |" in OPERATIONS
