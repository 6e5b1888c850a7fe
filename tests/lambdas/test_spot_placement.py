"""Which placement scores a scan asks for, and what it tells the spot job of them."""

import io
import json
from dataclasses import replace

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics

from connectors.spot_fact_records import encode_facts, parse_event_or_facts
from connectors.spot_facts import PoolScore, Purchase
from lambdas.scan_candidates import scores_of
from lambdas.spot import actuator
from lambdas.spot.actuator import Actuator
from lambdas.spot.environment import Environment
from lambdas.spot.fleet import Fleet, Market, Pool
from lambdas.spot.placement import MOST_QUESTIONS, SCAN_MS, pool_scores, score_facts, score_questions
from tests.aws_answers import Answers, answering
from tests.spot_fleets import TYPES, ZONE, facts, fleet_of, instance

LOST = Pool("m5.large", ZONE)


def spots(count: int, instance_type: str = "m5.large") -> Fleet:
    return fleet_of(*(instance(at, Purchase.SPOT, instance_type=instance_type) for at in range(1, count + 1)))


@pytest.fixture
def enough(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """A fleet with one Spot Instance, and a third family that could take its place."""
    return with_kin(spots(1))


def with_kin(fleet: Fleet) -> Fleet:
    return replace(
        fleet, types={one.instance_type: one for one in [*TYPES, facts("m6i.large"), facts("m6i.xlarge", 4)]}
    )


def test_a_pool_is_scored_by_its_type_and_the_nearest_of_two_other_families(enough: Fleet) -> None:
    (question,) = score_questions(enough)
    assert question.types == ("m5.large", "m5a.large", "m6i.large")
    assert (question.instance_type, question.zones) == ("m5.large", frozenset({ZONE}))


def test_with_fewer_than_three_types_nothing_is_asked_for_the_score_would_be_low_whatever_there_is() -> None:
    fleet = spots(1)
    few = {name: fleet.types[name] for name in ("m5.large", "m5a.large", "m5.xlarge")}
    assert score_questions(replace(fleet, types=few)) == []


@pytest.mark.parametrize(("instances", "capacity"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8)])
def test_amounts_go_in_powers_of_two_so_that_the_same_is_asked_again(instances: int, capacity: int) -> None:
    (question,) = score_questions(with_kin(spots(instances)))
    assert question.capacity == capacity


@pytest.mark.parametrize(
    ("market", "asked"), [(Market.ARMED, 0), (Market.SUSPECT, 1), (Market.FALLBACK, 1), (Market.PINNED, 0)]
)
def test_pools_that_wait_for_their_market_are_asked_for_though_nothing_runs_there(market: Market, asked: int) -> None:
    fleet = with_kin(fleet_of(instance(1), markets={LOST: market}))
    assert len(score_questions(fleet)) == asked


def many(count: int, at_ms: int) -> Fleet:
    types = [facts(f"m{number}.large") for number in range(1, count + 1)]
    instances = [instance(at, Purchase.SPOT, instance_type=one.instance_type) for at, one in enumerate(types, 1)]
    return replace(fleet_of(*instances), types={one.instance_type: one for one in types}, at_ms=at_ms)


@pytest.mark.parametrize("count", [MOST_QUESTIONS - 1, MOST_QUESTIONS, MOST_QUESTIONS + 1, 3 * MOST_QUESTIONS + 1])
def test_a_scan_asks_only_so_often_and_every_type_has_its_turn(count: int) -> None:
    seen: set[str] = set()
    for number in range(-(-count // MOST_QUESTIONS) + 1):
        questions = score_questions(many(count, number * SCAN_MS))
        assert len(questions) <= MOST_QUESTIONS
        seen |= {one.instance_type for one in questions}
    assert len(seen) == count


def test_zone_ids_become_names_and_zones_without_a_pool_of_ours_are_left_out(enough: Fleet) -> None:
    (question,) = score_questions(enough)
    names = {"euw1-az3": ZONE, "euw1-az1": "eu-west-1b"}
    scores = list(pool_scores(question, {"euw1-az3": 7, "euw1-az1": 9, "euw1-az9": 9}, names))
    assert scores == [PoolScore("m5.large", ZONE, 7)]
    (told,) = score_facts(enough, scores)
    assert parse_event_or_facts(encode_facts(told)) == told


def made(aws: Answers, monkeypatch: pytest.MonkeyPatch, log: io.StringIO | None = None) -> Actuator:
    monkeypatch.setattr(actuator, "_known_zones", {})
    environment = Environment("t", "c", "s", None, "AsgOptimiser", None, "events", False, "1" * 12, "eu-west-1")
    logger = Logger(service=f"placement-{id(log)}", stream=log or io.StringIO())  # a name keeps its first stream
    return Actuator(environment, aws.clients, logger, EphemeralMetrics(namespace="H", service="test"))


def test_scores_are_asked_of_ec2_as_it_documents_them(enough: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering() as aws:
        aws.lists = {
            "GetSpotPlacementScores": [
                {"region": "eu-west-1", "availabilityZoneId": f"euw1-az{number}", "score": number}
                for number in (1, 2, 3)
            ],
            "DescribeAvailabilityZones": [
                {"zoneName": ZONE, "zoneId": "euw1-az3"},
                {"zoneName": "eu-west-1b", "zoneId": "euw1-az1"},
            ],
        }
        actuator_ = made(aws, monkeypatch)
        assert list(scores_of(actuator_, enough)) == [PoolScore("m5.large", ZONE, 3)]
        asked = next(each for name, each in aws.asked if name == "GetSpotPlacementScores")
        assert {name: asked[name] for name in ("SingleAvailabilityZone", "TargetCapacity", "RegionName.1")} == {
            "SingleAvailabilityZone": "true",
            "TargetCapacity": "1",
            "RegionName.1": "eu-west-1",
        }
        list(scores_of(actuator_, enough))
        assert aws.count("DescribeAvailabilityZones") == 1


def test_scores_that_ec2_refuses_hold_up_no_scan(enough: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    with answering() as aws:
        aws.refused = {"GetSpotPlacementScores": "UnauthorizedOperation"}
        assert list(scores_of(made(aws, monkeypatch, log), enough)) == []
    line = json.loads(log.getvalue())
    assert line["message"] == "no_placement_scores"
    assert "GetSpotPlacementScores: UnauthorizedOperation" in line["reason"]
