"""What the actuators do when AWS refuses: at any of their calls, for want of a right, of capacity, or of time."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from connectors.spot_action_messages import encode
from connectors.spot_fact_records import parse_event_or_facts
from connectors.spot_facts import CapacityError, InstancesDescribed, LaunchRefused, PoolsHealth, Purchase
from lambdas.create_spot import create
from lambdas.reap_orphans import reap
from lambdas.replace_interrupted import Batch
from lambdas.scan_candidates import facts_of, scan
from lambdas.spot import actuator
from lambdas.spot.actuator import Actuator, UndoneError
from lambdas.spot.amazon import AmazonError
from lambdas.spot.cover import Cover
from lambdas.spot.describe import Describe
from lambdas.spot.fleet import GROUP_TAG, SWAP_TAG, TYPE_TAG
from lambdas.spot.swap import Outcome
from lambdas.swap_instance import swap
from tests.lambdas.spot_calls import calls_to_fail
from tests.lambdas.test_spot_actuators import handled, interruption, mutations, to_spot, work
from tests.spot_cloud import REGION, TABLE, TAG, ZONE, Cloud, Fault, cloud, is_spot
from tests.spot_fleets import fleet_of, instance

pytestmark = pytest.mark.long

MOST_CALLS = 60
RETURNED: dict[str, Any] = {"batchItemFailures": [{"itemIdentifier": "0"}]}
DONE: dict[str, Any] = {"batchItemFailures": []}


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def made(aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Actuator:
    return making(aws, tmp_path, monkeypatch)


def making(aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Actuator:
    with aws.unseen():
        monkeypatch.setitem(actuator._known_types, REGION, Describe(aws.clients).types(aws.types))
    return aws.actuator(tmp_path, **more)


def reasons(aws: Cloud) -> list[str]:
    return [one["MessageAttributes"]["Reason"]["StringValue"] for one in aws.messages("dead")]


def created(aws: Cloud, made: Actuator) -> Callable[[], Any]:
    aws.make_group(size=1)
    scan(made)
    (message,) = aws.messages("spot-creator")
    return lambda: handled(made, lambda body: create(made, body), message["Body"])


def swapped(aws: Cloud, made: Actuator) -> Callable[[], Any]:
    created(aws, made)()
    (message,) = aws.messages("instance-swapper")
    return lambda: handled(made, lambda body: swap(made, body), message["Body"])


def replaced(aws: Cloud, made: Actuator) -> Callable[[], Any]:
    aws.make_group(size=1)
    to_spot(aws, made)
    (lost,) = aws.members()
    assert is_spot(aws.instances()[lost])
    action = interruption(lost, at_ms=aws.now_ms)
    return lambda: handled(made, Batch(made, (action,)).apply, encode(action))


ACTUATORS = {"create": created, "swap": swapped, "replace": replaced}


@pytest.mark.parametrize("name", ACTUATORS)
@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.THROTTLED])
def test_refused_at_any_call_a_message_is_told_or_comes_again_and_nothing_is_left_half_done(
    name: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloud() as aws:
        made = making(aws, tmp_path, monkeypatch)
        handle = ACTUATORS[name](aws, made)
        size = aws.sizes()

        def play() -> None:
            with aws.forking(forks):
                answer = handle()
            refused = reasons(aws)
            assert len(refused) <= 1
            assert not refused or "AccessDenied" in refused[0]
            if answer == RETURNED:
                aws.now_ms += 91_000
                handle()
            work(aws, made)
            aws.now_ms += 21 * 60_000
            scan(made)
            work(aws, made, rounds=20)
            assert (aws.orphans(), aws.sizes(), aws.serving(), aws.journal().is_open) == ([], size, 1, False)
            assert len(set(aws.tokens.values())) == len(aws.tokens)

        forks = aws.failing_at(calls_to_fail(MOST_CALLS, begin=int(fault is Fault.THROTTLED)), fault)
        forks.play(play)
    assert len(forks.results) >= 3


@pytest.mark.parametrize(
    "operation", ["DescribeAutoScalingGroups", "DescribeInstances", "DescribeInstanceTypes", "DescribeSpotPriceHistory"]
)
def test_without_the_right_to_ask_a_message_goes_to_the_dead_letter_queue_and_throttled_it_comes_again(
    aws: Cloud, made: Actuator, operation: str
) -> None:
    handle = created(aws, made)
    aws.lasting = {operation: Fault.THROTTLED}
    prices_can_wait = operation == "DescribeSpotPriceHistory"  # then the price file's hold, which has no Spot prices
    assert handle() == (DONE if prices_can_wait else RETURNED)
    aws.lasting = {operation: Fault.DENIED}
    assert handle() == DONE
    told = reasons(aws)
    assert len(told) == (0 if prices_can_wait else 1)
    assert all(f"{operation}: AccessDenied" in one for one in told)
    assert (aws.launched(), mutations(aws)) == ([], [])


@pytest.mark.parametrize("fault", [Fault.NO_CAPACITY, Fault.QUOTA])
def test_an_interrupted_instance_gets_an_on_demand_one_where_there_is_no_spot_capacity(
    aws: Cloud, made: Actuator, fault: Fault
) -> None:
    handle = replaced(aws, made)
    before = len(aws.tokens)
    aws.calls.clear()
    aws.once = {"RunInstances": fault}
    assert handle() == DONE
    work(aws, made)
    assert (aws.spots(), aws.serving(), aws.orphans(), len(aws.tokens) - before) == (0, 1, [], 1)


@pytest.mark.parametrize("fault", [Fault.NO_CAPACITY, Fault.QUOTA])
def test_without_spot_capacity_an_on_demand_instance_stays_and_the_reason_is_kept(
    aws: Cloud, made: Actuator, fault: Fault
) -> None:
    handle = created(aws, made)
    (original,) = aws.members()
    aws.lasting = {"RunInstances": fault}
    assert handle() == DONE
    (ended,) = aws.journal().ended
    assert (aws.members(), aws.launched(), ended.outcome) == ([original], [], Outcome.UNDONE)
    assert fault.value in ended.reason
    assert scan(made)["swaps"] == 0  # it is left alone for an hour


# Rehearsed


def test_a_dry_run_asks_ec2_whether_it_would_launch(aws: Cloud, made: Actuator, tmp_path: Path) -> None:
    created(aws, made)
    log = io.StringIO()
    dry = logging_to(log, aws.actuator(tmp_path, dry_run=True))
    scan(made)
    (message,) = aws.messages("spot-creator")
    assert handled(dry, lambda body: create(dry, body), message["Body"]) == DONE
    (told,) = [one for one in lines(log) if one["message"] == "dry_run"]
    assert told["would"] == "launch m5.large spot, which EC2 would do"
    assert (aws.launched(), mutations(aws), aws.messages("dead")) == ([], [], [])


@pytest.mark.parametrize(
    ("fault", "answer", "refused"),
    [(Fault.UNAUTHORIZED, DONE, ["UndoneError: RunInstances: UnauthorizedOperation"]), (Fault.THROTTLED, RETURNED, [])],
)
def test_a_dry_run_tells_what_ec2_would_refuse(
    aws: Cloud, made: Actuator, tmp_path: Path, fault: Fault, answer: Any, refused: list[str]
) -> None:
    created(aws, made)
    dry = aws.actuator(tmp_path, dry_run=True)
    scan(made)
    (message,) = aws.messages("spot-creator")
    aws.lasting = {"RunInstances": fault}
    assert handled(dry, lambda body: create(dry, body), message["Body"]) == answer
    assert [one.partition(": You")[0] for one in reasons(aws)] == refused
    assert (aws.launched(), aws.journal().swaps) == ([], ())


def test_a_dry_run_of_a_replacement_launches_nothing_and_remembers_nothing(
    aws: Cloud, made: Actuator, tmp_path: Path
) -> None:
    replaced(aws, made)
    (lost,) = aws.members()
    dry = aws.actuator(tmp_path, dry_run=True)
    action = interruption(lost, at_ms=aws.now_ms)
    aws.calls.clear()
    before = aws.journal()
    assert handled(dry, Batch(dry, (action,)).apply, encode(action)) == DONE
    assert (aws.members(), mutations(aws), aws.journal()) == ([lost], [], before)
    assert aws.count("RunInstances rehearsed") == 1


# Told to the spot job


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def logging_to(log: io.StringIO, made: Actuator) -> Actuator:
    return replace(made, logger=Logger(service=f"refusals-{id(log)}", stream=log))  # a name keeps its first stream


def told(aws: Cloud) -> list[Any]:
    """What is in the stream of EC2's events."""
    with aws.unseen():
        kinesis = aws.clients.kinesis
        shard = kinesis.list_shards(StreamName="events")["Shards"][0]["ShardId"]
        at = kinesis.get_shard_iterator(StreamName="events", ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        records = kinesis.get_records(ShardIterator=at["ShardIterator"])["Records"]
    return [parse_event_or_facts(one["Data"]) for one in records]


@pytest.fixture
def telling(aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Actuator:
    with aws.unseen():
        aws.clients.kinesis.create_stream(StreamName="events", ShardCount=1)
    return making(aws, tmp_path, monkeypatch, events_stream="events")


def test_a_launch_for_want_of_capacity_is_told_once_with_its_pool_and_token(aws: Cloud, telling: Actuator) -> None:
    handle = created(aws, telling)
    before = len(told(aws))
    aws.once = {"RunInstances": Fault.NO_CAPACITY}
    assert handle() == DONE
    (fact,) = told(aws)[before:]
    assert isinstance(fact, LaunchRefused)
    assert (fact.instance_type, fact.zone, fact.error) == (
        "m5.large",
        ZONE,
        CapacityError.INSUFFICIENT_INSTANCE_CAPACITY,
    )
    assert fact.launch.startswith("headroom-")
    assert fact.launch not in aws.tokens  # it is the launch that was refused, not the next


@pytest.mark.parametrize("fault", [Fault.QUOTA, Fault.DENIED, Fault.THROTTLED])
def test_a_quota_a_missing_right_and_throttling_say_nothing_of_a_pool(
    aws: Cloud, telling: Actuator, fault: Fault
) -> None:
    handle = created(aws, telling)
    before = len(told(aws))
    aws.lasting = {"RunInstances": fault}
    handle()
    assert told(aws)[before:] == []


def test_on_demand_capacity_that_is_not_there_says_nothing_of_a_spot_pool(aws: Cloud, telling: Actuator) -> None:
    (original,) = aws.make_group(size=1)
    aws.lasting = {"RunInstances": Fault.NO_CAPACITY}
    driven = aws.begin(aws.planned(original, purchase=Purchase.ON_DEMAND))
    telling.report(driven)
    assert len(driven.refused) == 1
    assert told(aws) == []


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.THROTTLED])
def test_facts_that_cannot_be_told_hold_nothing_up(aws: Cloud, telling: Actuator, fault: Fault) -> None:
    log = io.StringIO()
    telling = logging_to(log, telling)
    handle = created(aws, telling)
    aws.once = {"RunInstances": Fault.NO_CAPACITY}
    aws.lasting = {"PutRecords": fault}
    assert handle() == DONE
    (line,) = [one for one in lines(log) if one["message"] == "facts_not_sent"]
    assert "PutRecords" in line["error"]
    work(aws, telling)
    assert aws.spots() == 1


def test_a_scan_tells_what_it_saw(aws: Cloud, telling: Actuator) -> None:
    aws.make_group(size=2, tags={f"{TAG}:MinOnDemand": "1", f"{TAG}:MaxPoolPercent": "100"})
    to_spot(aws, telling)
    *_, instances, health = told(aws)
    assert isinstance(instances, InstancesDescribed)
    assert {(one.instance_id, one.group, one.zone) for one in instances.instances} == {
        (one, "web", ZONE) for one in aws.members()
    }
    assert sorted(one.purchase for one in instances.instances) == [Purchase.ON_DEMAND, Purchase.SPOT]
    assert isinstance(health, PoolsHealth)
    assert [(one.instances, one.healthy) for one in health.pools] == [(1, 1)]


def test_a_scan_tells_what_type_an_instance_stands_for_where_that_is_another() -> None:
    larger = instance(1, Purchase.SPOT, instance_type="m5.xlarge", tags={TYPE_TAG: "m5.large"})
    alike = instance(2, Purchase.SPOT, tags={TYPE_TAG: "m5.large"})
    described, *_ = facts_of(fleet_of(larger, alike, instance(3)), Cover())
    assert isinstance(described, InstancesDescribed)
    assert [one.stands_for for one in described.instances] == ["m5.large", None, None]


# On a schedule


def scanned(aws: Cloud, made: Actuator) -> Callable[[], Any]:
    """A scan that has everything to do: a candidate, a group whose message was lost, a pool to score."""
    aws.make_group("pools", size=2, tags={f"{TAG}:MinOnDemand": "1", f"{TAG}:MaxPoolPercent": "100"})
    to_spot(aws, made)
    aws.make_group("web", size=1)
    scan(made)
    (message,) = aws.messages("spot-creator")
    create(made, message["Body"].encode())
    assert len(aws.messages("instance-swapper")) == 1  # and lost
    aws.now_ms += 21 * 60_000
    aws.make_group("next", size=1)
    return lambda: scan(made)


def reaped(aws: Cloud, made: Actuator) -> Callable[[], Any]:
    """A reap with an orphan to adopt, and one to end."""
    aws.make_group(size=1)
    scan(made)
    (message,) = aws.messages("spot-creator")
    create(made, message["Body"].encode())
    (twin,) = aws.launched()
    aws.messages("instance-swapper")
    with aws.unseen():
        aws.clients.dynamodb.delete_item(TableName=TABLE, Key={"key": {"S": "group#web"}})
        aws.clients.ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, ClientToken="x", InstanceType="m6g.large",
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": SWAP_TAG, "Value": "f" * 20}, {"Key": GROUP_TAG, "Value": "gone"}],
                }
            ],
        )  # fmt: skip
        started = aws.clients.ec2.describe_instances(InstanceIds=[twin])["Reservations"][0]["Instances"][0]
    aws.now_ms = int(started["LaunchTime"].timestamp() * 1_000) + 16 * 60_000
    return lambda: reap(made)


REAPS = ("TerminateInstances", "UpdateAutoScalingGroup", "AttachInstances", "TerminateInstanceInAutoScalingGroup")
"""What a reap that adopts one orphan and ends another asks for."""

SCHEDULED = {"scan": scanned, "reap": reaped}
LOGS: list[io.StringIO] = []  # loggers are known by them, so none may take the place of another


@pytest.mark.parametrize("name", SCHEDULED)
@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.THROTTLED])
def test_refused_at_any_call_what_runs_on_a_schedule_names_the_call_and_the_next_run_does_what_is_left(
    name: str, fault: Fault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cloud() as aws:
        LOGS.append(log := io.StringIO())
        monkeypatch.setattr(actuator, "_known_zones", {})
        with aws.unseen():
            aws.clients.kinesis.create_stream(StreamName="events", ShardCount=1)
        made = logging_to(log, making(aws, tmp_path, monkeypatch, events_stream="events"))
        handle = SCHEDULED[name](aws, made)
        after = len(log.getvalue())
        quiet = ("SendMessageBatch", "PutRecords") if name == "scan" else REAPS

        def play() -> None:
            said = ""
            with aws.forking(forks):
                try:
                    handle()
                except (AmazonError, UndoneError) as error:
                    said = str(error)
            if forks.forked_at is not None:
                refused = aws.calls[forks.forked_at][1]
                told = said + log.getvalue()[after:]
                assert f"{refused}: {fault.value}" in told or f"{fault.value}) when calling the {refused}" in told
            assert set(mutations(aws)) <= set(quiet)
            handle()
            work(aws, made, rounds=20)
            aws.now_ms += 21 * 60_000
            scan(made)
            work(aws, made, rounds=20)
            assert (aws.orphans(), aws.journal().is_open, aws.serving(), aws.sizes()) == ([], False, 1, (1, 1, 1))
            assert len(set(aws.tokens.values())) == len(aws.tokens)

        forks = aws.failing_at(calls_to_fail(MOST_CALLS, begin=int(fault is Fault.THROTTLED)), fault)
        forks.play(play)
    assert len(forks.results) >= 3


@pytest.mark.parametrize("name", ACTUATORS)
@pytest.mark.parametrize(("fault", "answer"), [(Fault.DENIED, DONE), (Fault.THROTTLED, RETURNED)])
def test_without_the_right_to_read_the_journal_a_message_goes_to_the_dead_letter_queue(
    aws: Cloud, made: Actuator, name: str, fault: Fault, answer: Any
) -> None:
    handle = ACTUATORS[name](aws, made)
    alive = aws.launched()
    aws.calls.clear()
    aws.lasting = {"GetItem": fault}
    assert handle() == answer
    assert [one.partition(": You")[0].partition(": ")[2] for one in reasons(aws)] == (
        ["GetItem: AccessDenied"] if fault is Fault.DENIED else []
    )
    assert (aws.launched(), mutations(aws)) == (alive, [])
    aws.lasting = {}
    aws.now_ms += 21 * 60_000
    scan(made)
    work(aws, made)
    assert (aws.orphans(), aws.serving(), aws.journal().is_open) == ([], 1, False)
