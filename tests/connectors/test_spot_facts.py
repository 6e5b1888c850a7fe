import json
from dataclasses import fields, replace
from typing import Any, get_args

import pytest

from connectors.ec2.events import Ignored, InterruptionWarning, Malformed
from connectors.spot_fact_records import DETAIL_TYPES, encode_facts, parse_event_or_facts
from connectors.spot_facts import (
    MOST_IN_RECORD,
    CapacityError,
    DescribedInstance,
    Facts,
    InstancesDescribed,
    LaunchRefused,
    PlacementScores,
    PoolHealth,
    PoolName,
    PoolScore,
    PoolsHealth,
    PoolsReleased,
    Purchase,
    describe_instances,
    facts_id,
)
from tests.connectors.test_ec2_events import EVENTS

TOLD: dict[str, Any] = {
    "event_id": "3f9b8d2c",
    "account": "604418233907",
    "region": "eu-west-1",
    "at_ms": 1_773_500_000_123,
}
INSTANCE = DescribedInstance(
    instance_id="i-0004be7a92c1d03f5",
    instance_type="m7g.2xlarge",
    zone="eu-west-1b",
    group="inbox-workers",
    purchase=Purchase.SPOT,
    platform="Linux/UNIX",
    launched_at_ms=1_773_400_000_000,
    stands_for="m7g.xlarge",
)
POOL: dict[str, str] = {"instance_type": "m7g.2xlarge", "zone": "eu-west-1b"}
EACH: tuple[Facts, ...] = (
    InstancesDescribed(**TOLD, instances=(INSTANCE,)),
    PlacementScores(**TOLD, scores=(PoolScore(**POOL, score=7),)),
    PoolsHealth(**TOLD, pools=(PoolHealth(**POOL, instances=3, healthy=0),)),
    LaunchRefused(**(TOLD | POOL), error=CapacityError.UNFULFILLABLE_CAPACITY, launch="swap-7f21"),
    PoolsReleased(**TOLD, pools=(PoolName(**POOL),)),
)


def record(facts: Facts) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode_facts(facts))
    return read


def parsed(record: dict[str, Any]) -> object:
    return parse_event_or_facts(json.dumps(record).encode())


def test_every_kind_is_tried() -> None:
    assert {type(facts) for facts in EACH} == set(get_args(Facts)) == set(DETAIL_TYPES)


@pytest.mark.parametrize("facts", EACH, ids=lambda facts: type(facts).__name__)
def test_what_is_encoded_is_read_back(facts: Facts) -> None:
    assert parse_event_or_facts(encode_facts(facts)) == facts
    assert encode_facts(facts).isascii()
    assert b"\n" not in encode_facts(facts)


@pytest.mark.parametrize("facts", EACH, ids=lambda facts: type(facts).__name__)
def test_any_missing_unknown_or_null_field_of_the_detail_is_refused(facts: Facts) -> None:
    names = [each.name for each in fields(facts) if each.name not in TOLD]
    for name in names:
        without, null, more = record(facts), record(facts), record(facts)
        del without["detail"][name]
        null["detail"][name] = None
        more["detail"]["more"] = 1
        for broken in (without, null, more):
            outcome = parsed(broken)
            assert isinstance(outcome, Malformed)
            assert (outcome.event_id, outcome.at_ms) == (TOLD["event_id"], TOLD["at_ms"])


def test_an_instance_that_stands_for_no_other_type_need_not_say_so() -> None:
    """Recordings of earlier scans do not."""
    own = InstancesDescribed(**TOLD, instances=(replace(INSTANCE, stands_for=None),))
    told = record(own)
    assert "stands_for" not in told["detail"]["instances"][0]
    assert parsed(told) == own


@pytest.mark.parametrize("facts", EACH, ids=lambda facts: type(facts).__name__)
def test_an_unknown_version_is_refused_by_its_number(facts: Facts) -> None:
    broken = record(facts)
    broken["detail"]["version"] = 2
    outcome = parsed(broken)
    assert isinstance(outcome, Malformed)
    assert outcome.reason == "detail.version is 2, and this release reads 1"


@pytest.mark.parametrize(
    ("number", "name", "value", "reason"),
    [
        (0, "instance_id", "i-xyz", "is not an instance id"),
        (0, "purchase", "reserved", "is none of on-demand, spot, covered"),
        (0, "zone", "EU", "is not a zone"),
        (0, "platform", "", "is empty"),
        (0, "stands_for", "huge", "is not an instance type"),
        (0, "launched_at_ms", "yesterday", "is not an integer"),
        (1, "score", 0, "is not an integer from 1 to 10"),
        (1, "score", 11, "is not an integer from 1 to 10"),
        (2, "instances", 0, "is not an integer from 1"),
        (2, "healthy", 4, "is not an integer from 0 to 3"),
        (4, "instance_type", "huge", "is not an instance type"),
    ],
)
def test_an_element_that_is_wrong_is_refused_by_its_place(number: int, name: str, value: object, reason: str) -> None:
    broken = record(EACH[number])
    [elements] = [each for each in broken["detail"].items() if each[0] != "version"]
    elements[1][0][name] = value
    outcome = parsed(broken)
    assert isinstance(outcome, Malformed)
    assert outcome.reason.startswith(f"detail.{elements[0]}[0].{name} {reason}")


def test_a_refusal_that_tells_nothing_of_the_pool_is_none() -> None:
    broken = record(EACH[3])
    broken["detail"]["error"] = "MaxSpotInstanceCountExceeded"
    assert isinstance(parsed(broken), Malformed)


def test_a_sweep_is_told_in_pages() -> None:
    instances = [INSTANCE] * (2 * MOST_IN_RECORD + 1)
    told = {name: TOLD[name] for name in ("account", "region", "at_ms")}
    pages = list(describe_instances(**told, instances=instances))
    assert [len(page.instances) for page in pages] == [MOST_IN_RECORD, MOST_IN_RECORD, 1]
    assert len({page.event_id for page in pages}) == len(pages)
    assert all(len(encode_facts(page)) < 256 << 10 for page in pages)
    assert list(describe_instances(**told, instances=instances)) == pages
    assert list(describe_instances(**told, instances=[])) == []


@pytest.mark.parametrize("count", [0, MOST_IN_RECORD + 1])
def test_a_record_without_elements_or_with_too_many_is_refused(count: int) -> None:
    broken = record(EACH[1])
    broken["detail"]["scores"] *= count
    outcome = parsed(broken)
    assert isinstance(outcome, Malformed)
    assert outcome.reason == f"detail.scores has {count} elements, not 1 to {MOST_IN_RECORD}"


def test_the_events_of_aws_are_read_as_before() -> None:
    message = (EVENTS / "interruption_warning.json").read_bytes()
    assert isinstance(parse_event_or_facts(message), InterruptionWarning)


def test_another_kind_of_ours_is_ignored() -> None:
    unknown = record(EACH[0]) | {"detail-type": "Headroom Something"}
    assert isinstance(parsed(unknown), Ignored)


def test_an_id_depends_on_all_that_is_told() -> None:
    assert len({facts_id("scores", 1), facts_id("scores", 2), facts_id("health", 1), facts_id("scores", "1")}) == 4
