"""State is found by the uid of its operator: one that was released stays, or a snapshot cannot be restored."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.execution import ExecutionMode
from jobs.settings.load import parse_settings

RELEASED = json.loads((Path(__file__).parents[2] / "infra" / "released_uids.json").read_text(encoding="utf-8"))
# Crossings between Flink's APIs and what holds no state, and operators of Flink SQL, which it names by its plan.
NAMED_BY_FLINK = re.compile(
    r"Source: \*anonymous_datagen.*|TableToDataStream|DataStreamToTable|FlatMap|Map|_stream_key_by_map_operator"
    r"|Timestamps/Watermarks"
    r"|(?:Calc|WatermarkAssigner|WindowAggregate|ConstraintEnforcer)\[\d+\]"
)
LIVE = b"""
[kinesis]
stream = "changes"
region = "eu-west-1"
[rules]
stream = "rules"
[sqs]
queue_url = "https://sqs.eu-west-1.amazonaws.com/111122223333/actions.fifo"
region = "eu-west-1"
"""


def define_capacity(environment: Any) -> None:
    from jobs.capacity.live import define

    define(environment, parse_settings(LIVE, "live settings"))


def define_spot(environment: Any) -> None:
    from jobs.spot.live import define

    define(environment, parse_settings(LIVE, "live settings"))


def define_usage(environment: Any) -> None:
    from jobs.usage.live import define

    define(environment, parse_settings(LIVE, "live settings"))


DEFINE: dict[str, Callable[[Any], None]] = {"capacity": define_capacity, "spot": define_spot, "usage": define_usage}


def test_every_capability_with_released_uids_is_looked_at() -> None:
    assert set(RELEASED) == set(DEFINE)


@pytest.mark.flink
@pytest.mark.parametrize("capability", sorted(RELEASED))
def test_no_released_uid_has_disappeared_and_every_operator_of_ours_has_one(capability: str) -> None:
    from jobs.runtime import local_environment

    environment = local_environment(parallelism=1, execution_mode=ExecutionMode.THREAD)
    DEFINE[capability](environment)
    graph = environment.streams._j_stream_execution_environment.getStreamGraph(True)
    nodes = list(graph.getStreamNodes().toArray())
    uids = {node.getTransformationUID() for node in nodes} - {None}
    unnamed = [node.getOperatorName() for node in nodes if node.getTransformationUID() is None]
    assert set(RELEASED[capability]) <= uids
    assert uids == set(RELEASED[capability]), "new uids: add them to infra/released_uids.json when they are released"
    assert [name for name in unnamed if not NAMED_BY_FLINK.fullmatch(name)] == []
