"""The actuators, joined by their queues, over moto."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.ec2.events import InstanceAction, InstanceState
from connectors.spot_action_messages import encode
from connectors.spot_actions import (
    FallBack,
    FallBackEvidence,
    ReplaceEvidence,
    ReplaceInstance,
    ReturnEvidence,
    ReturnToSpot,
    replace_action_id,
)
from lambdas.create_spot import create
from lambdas.local_trigger import LocalContext, Queue, lambda_event
from lambdas.reap_orphans import reap
from lambdas.replace_interrupted import Batch
from lambdas.scan_candidates import scan
from lambdas.spot import actuator, commitment_scan
from lambdas.spot.actuator import Actuator
from lambdas.spot.describe import Describe
from lambdas.spot.fleet import GROUP_TAG, SWAP_TAG, Market, Pool
from lambdas.spot.invocation import work_off
from lambdas.spot.swap import Outcome
from lambdas.swap_instance import swap
from tests.aws_answers import plan as savings_plan_answer
from tests.aws_answers import rate as rate_answer
from tests.spot_cloud import ACCOUNT, REGION, TAG, ZONE, Cloud, Fault, cloud, is_spot


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def made(aws: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Actuator:
    with aws.unseen():
        monkeypatch.setitem(actuator._known_types, REGION, Describe(aws.clients).types(aws.types))
    return aws.actuator(tmp_path)


def work(aws: Cloud, made: Actuator, rounds: int = 12) -> None:
    """Both queues, until they are empty."""
    for _ in range(rounds):
        bodies = [(create, one["Body"]) for one in aws.messages("spot-creator")]
        bodies += [(swap, one["Body"]) for one in aws.messages("instance-swapper")]
        if not bodies:
            return
        aws.now_ms += 31_000
        for handle, body in bodies:
            handle(made, body.encode())


def handled(made: Actuator, handle: Any, *bodies: str | bytes) -> Any:
    """What a batch of messages comes to, as Lambda would have it."""
    texts = [body.decode() if isinstance(body, bytes) else body for body in bodies]
    messages = [
        {"MessageId": str(at), "ReceiptHandle": "x", "Body": text, "MD5OfBody": ""} for at, text in enumerate(texts)
    ]
    event = lambda_event(messages, Queue("url", "arn:aws:sqs:eu-west-1:123456789012:q"))
    return work_off(made, event, LocalContext(), handle)


def interruption(
    instance_id: str, *, account: str = ACCOUNT, region: str = REGION, at_ms: int, announced: bool = True
) -> ReplaceInstance:
    return ReplaceInstance(
        action_id=replace_action_id(account=account, region=region, instance_id=instance_id, restarted_at_ms=None),
        issued_at_ms=at_ms,
        not_after_ms=at_ms + 900_000,
        account=account,
        region=region,
        instance_id=instance_id,
        evidence=ReplaceEvidence(
            announced=announced,
            event_id="e",
            instance_action=InstanceAction.TERMINATE if announced else None,
            warned_at_ms=at_ms if announced else None,
            rebalanced_at_ms=None,
            state=None if announced else InstanceState.TERMINATED,
            state_at_ms=None if announced else at_ms,
        ),
    )


def to_spot(aws: Cloud, made: Actuator) -> None:
    """Everything that can be Spot is."""
    for _ in range(8):
        if scan(made)["swaps"] == 0:
            return
        work(aws, made)


def test_a_fleet_becomes_spot_by_way_of_the_queues(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=3, tags={f"{TAG}:MinOnDemand": "1", f"{TAG}:MaxPoolPercent": "100"})
    to_spot(aws, made)
    assert (aws.spots(), aws.serving(), aws.sizes(), aws.orphans()) == (2, 3, (1, 3, 3), [])
    assert [ended.outcome for ended in aws.journal().ended] == [Outcome.DONE, Outcome.DONE]


def test_a_group_of_hundreds_is_described_in_pages(aws: Cloud) -> None:
    with aws.unseen():
        real = aws.make_group(size=2)
    ids = [f"i-{number:017x}" for number in range(449)]
    assert set(Describe(aws.clients).instances([*ids, real[0]])) == {real[0]}
    assert aws.count("DescribeInstances") == 3


def test_raising_the_minimum_turns_spot_back_into_on_demand(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=3, tags={f"{TAG}:MinOnDemand": "1", f"{TAG}:MaxPoolPercent": "100"})
    to_spot(aws, made)
    with aws.unseen():
        aws.clients.autoscaling.create_or_update_tags(
            Tags=[
                {
                    "ResourceId": "web",
                    "ResourceType": "auto-scaling-group",
                    "Key": f"{TAG}:MinOnDemand",
                    "Value": "3",
                    "PropagateAtLaunch": False,
                }
            ]
        )
    to_spot(aws, made)
    assert (aws.spots(), aws.serving(), aws.sizes(), aws.orphans()) == (0, 3, (1, 3, 3), [])


def test_a_group_that_went_to_a_larger_type_on_spot_comes_back_to_its_own(aws: Cloud, made: Actuator) -> None:
    tags = {f"{TAG}:AllowedTypes": "m5.xlarge", f"{TAG}:MaxPoolPercent": "100"}
    aws.make_group(size=1, tags=tags)
    to_spot(aws, made)
    (spot,) = aws.members()
    assert (aws.instances()[spot].instance_type, aws.spots()) == ("m5.xlarge", 1)
    Batch(made, ()).apply(encode(fall_back(aws.now_ms, "m5.xlarge")))
    to_spot(aws, made)
    (back,) = aws.members()
    assert (aws.instances()[back].instance_type, aws.spots(), aws.orphans()) == ("m5.large", 0, [])


def test_reserved_instances_are_used_before_spot(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=3, tags={f"{TAG}:MaxPoolPercent": "100"})
    reserved = {"InstanceType": "m5.large", "ProductDescription": "Linux/UNIX", "Scope": "Region", "InstanceCount": 2}
    aws.reserved = [reserved]
    to_spot(aws, made)
    assert aws.spots() == 1
    aws.reserved = [reserved | {"InstanceCount": 3}]
    to_spot(aws, made)
    assert (aws.spots(), aws.serving(), aws.orphans()) == (0, 3, [])


def test_a_savings_plan_is_used_before_spot_and_a_group_without_one_is_not_held_back(
    aws: Cloud, made: Actuator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commitment_scan, "_known_rates", {})
    aws.make_group(size=3, tags={f"{TAG}:MaxPoolPercent": "100"})
    aws.savings_plans = [savings_plan_answer("sp-1", "0.0700")]
    aws.plan_rates = [rate_answer("m5.large", "0.0700")]
    to_spot(aws, made)
    assert (aws.spots(), aws.serving()) == (2, 3)
    aws.savings_plans = [savings_plan_answer("sp-1", "0.2099")]
    to_spot(aws, made)
    assert (aws.spots(), aws.serving(), aws.orphans()) == (1, 3, [])


def test_a_market_that_is_given_up_turns_to_on_demand_and_returns_when_it_is_armed(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=1, tags={f"{TAG}:AllowedTypes": "current"})
    to_spot(aws, made)
    assert aws.spots() == 1
    batch = Batch(made, ())
    batch.apply(encode(fall_back(aws.now_ms)))
    to_spot(aws, made)
    assert (aws.spots(), aws.serving()) == (0, 1)
    batch.apply(encode(return_to_spot(aws.now_ms)))
    batch.apply(encode(fall_back(aws.now_ms - 10_000_000)))  # an old message, late
    with aws.unseen():
        assert aws.store.everything().markets == {Pool("m5.large", ZONE): Market.ARMED}
    to_spot(aws, made)
    assert (aws.spots(), aws.serving()) == (1, 1)


def fall_back(at_ms: int, instance_type: str = "m5.large") -> FallBack:
    return FallBack("0" * 32, at_ms, at_ms + 10**9, ACCOUNT, REGION, instance_type, ZONE,
                    FallBackEvidence(at_ms, 1, 1, 0, None, None, 1, False))  # fmt: skip


def return_to_spot(at_ms: int) -> ReturnToSpot:
    evidence = ReturnEvidence(at_ms, 2, 5, by_hand=False)
    return ReturnToSpot("1" * 32, at_ms, at_ms + 10**9, ACCOUNT, REGION, "m5.large", ZONE, evidence)


def test_an_interrupted_instance_is_replaced_while_it_still_serves(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=2, tags={f"{TAG}:MaxPoolPercent": "100", f"{TAG}:Parallel": "2"})
    to_spot(aws, made)
    lost = next(one for one in aws.members() if is_spot(aws.instances()[one]))
    lowest = [aws.serving()]
    aws.watch = lambda: lowest.append(aws.serving())
    action = interruption(lost, at_ms=aws.now_ms)
    for _ in range(2):  # told twice
        assert handled(made, Batch(made, (action,)).apply, encode(action)) == {"batchItemFailures": []}
    work(aws, made)
    assert lost not in aws.members()
    assert (min(lowest), aws.serving(), aws.sizes(), aws.orphans()) == (2, 2, (1, 2, 2), [])


def test_a_twin_under_notice_never_comes_into_the_group(aws: Cloud, made: Actuator) -> None:
    original = aws.make_group(size=1)[0]
    aws.no_checks = set()
    scan(made)
    for one in aws.messages("spot-creator"):
        create(made, one["Body"].encode())
    (twin,) = aws.launched()
    action = interruption(twin, at_ms=aws.now_ms)
    Batch(made, (action,)).apply(encode(action))
    work(aws, made)
    assert (aws.members(), aws.launched()) == ([original], [])


def mutations(aws: Cloud) -> list[str]:
    quiet = ("RunInstances rehearsed", "Describe", "Get", "List", "Scan", "SendMessage", "PutItem")
    return [name for _, name in aws.calls if not name.startswith(quiet)]


def test_what_is_foreign_untagged_on_demand_gone_or_late_is_left_alone(aws: Cloud, made: Actuator) -> None:
    managed = aws.make_group(size=1)[0]
    untagged = aws.make_group("other", size=1)[0]
    with aws.unseen():
        aws.clients.autoscaling.delete_tags(
            Tags=[{"ResourceId": "other", "ResourceType": "auto-scaling-group", "Key": TAG}]
        )
    now_ms = aws.now_ms
    actions = [
        interruption(managed, at_ms=now_ms),  # On-Demand: it cannot be interrupted
        interruption(untagged, at_ms=now_ms),
        interruption("i-0000000000000dead", at_ms=now_ms),
        interruption(managed, at_ms=now_ms - 10**7),
        interruption(managed, at_ms=now_ms, announced=False),
    ]
    foreign = [
        encode(interruption(managed, account="999999999999", at_ms=now_ms)),
        encode(interruption(managed, region="us-east-1", at_ms=now_ms)),
        b"{}",
        b"not json",
        b'{"version": 9, "type": "replace_instance"}',
    ]
    batch = Batch(made, tuple(actions))
    assert handled(made, batch.apply, *map(encode, actions), *foreign) == {"batchItemFailures": []}
    assert mutations(aws) == []
    dead = [one["MessageAttributes"]["Reason"]["StringValue"] for one in aws.messages("dead")]
    assert len(dead) == len(foreign)
    assert sum("ForeignError: it is about" in reason for reason in dead) == 2


def test_forged_messages_of_the_inner_queues_change_nothing(aws: Cloud, made: Actuator) -> None:
    original = aws.make_group(size=1)[0]
    aws.make_group("other", size=1, tags={TAG: "off"})
    asked = {
        "version": 1, "type": "create_spot", "account": ACCOUNT, "region": REGION, "group": "web",
        "original_id": original, "types": "m5.large", "issued_at_ms": aws.now_ms, "not_after_ms": aws.now_ms + 1_000,
    }  # fmt: skip
    forged = [
        json.dumps(asked | {"group": "other"}),
        json.dumps(asked | {"account": "999999999999"}),
        json.dumps(asked | {"types": "$(reboot)"}),
        json.dumps(asked | {"extra": 1}),
        json.dumps({"version": 1, "type": "swap_instance", "account": ACCOUNT, "region": REGION, "group": "web"}),
    ]
    assert handled(made, lambda body: create(made, body), *forged) == {"batchItemFailures": []}
    unneeded = [
        json.dumps(asked | {"group": "gone"}),
        json.dumps(asked | {"original_id": "i-0000000000000dead"}),
        json.dumps(asked | {"types": "m6g.large"}),  # another architecture; the original's own type is left
        json.dumps(asked | {"not_after_ms": aws.now_ms - 1, "issued_at_ms": aws.now_ms - 2}),
    ]
    aws.spot_price = "9.99"
    assert handled(made, lambda body: create(made, body), *unneeded) == {"batchItemFailures": []}
    assert mutations(aws) == []
    assert len(aws.messages("dead")) == len(forged)


def test_what_was_planned_beside_other_swaps_than_there_are_by_now_is_planned_again(aws: Cloud, made: Actuator) -> None:
    """Two functions plan at the same time; either alone keeps to the share of a pool, both together do not."""
    aws.make_group(size=4, tags={f"{TAG}:MaxPoolPercent": "25", f"{TAG}:Parallel": "2"})
    scan(made)
    first, second = (json.loads(one["Body"]) for one in aws.messages("spot-creator"))
    planned = [name for _, name in aws.calls].count("DescribeSavingsPlans")

    def overtake(_call: int) -> None:
        if [name for _, name in aws.calls].count("DescribeSavingsPlans") > planned:  # the first has looked at all
            aws.at_call = lambda _call: None
            create(made, json.dumps(second | {"types": first["types"]}).encode())

    aws.at_call = overtake
    returned = handled(made, lambda body: create(made, body), json.dumps(first))
    assert returned == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    create(made, json.dumps(first).encode())
    assert [swap.option.instance_type for swap in aws.journal().swaps] == ["m5.large", "m5.xlarge"]


def test_a_missing_right_ends_in_the_dead_letter_queue_with_the_reason(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=1)
    scan(made)
    (message,) = aws.messages("spot-creator")
    aws.lasting = {"RunInstances": Fault.DENIED}
    assert handled(made, lambda body: create(made, body), message["Body"]) == {"batchItemFailures": []}
    (dead,) = aws.messages("dead")
    assert "RunInstances: AccessDenied" in dead["MessageAttributes"]["Reason"]["StringValue"]
    assert (aws.launched(), aws.journal().is_open) == ([], False)


def test_a_throttled_message_goes_back_to_the_queue(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=1)
    scan(made)
    (message,) = aws.messages("spot-creator")
    aws.lasting = {"RunInstances": Fault.THROTTLED}
    answer = handled(made, lambda body: create(made, body), message["Body"])
    assert answer == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    aws.lasting = {}
    create(made, message["Body"].encode())
    work(aws, made)
    assert (aws.spots(), aws.orphans(), len(aws.tokens)) == (1, [], 1)


def test_a_group_deleted_in_mid_swap_takes_its_twin_along(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=1)
    scan(made)
    for one in aws.messages("spot-creator"):
        create(made, one["Body"].encode())
    assert len(aws.launched()) == 1
    with aws.unseen():
        aws.clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName="web", ForceDelete=True)
    work(aws, made)
    assert (aws.launched(), aws.journal().is_open) == ([], False)


def test_a_lost_message_is_sent_again_by_the_scan(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=1)
    scan(made)
    for one in aws.messages("spot-creator"):
        create(made, one["Body"].encode())
    assert len(aws.messages("instance-swapper")) == 1  # and lost
    aws.now_ms += 21 * 60_000
    assert scan(made)["woken"] == 1
    work(aws, made)
    assert (aws.spots(), aws.orphans()) == (1, [])


def test_an_orphan_past_its_grace_is_ended_and_one_of_a_swap_under_way_is_not(aws: Cloud, made: Actuator) -> None:
    aws.make_group(size=1, tags={f"{TAG}:MinOnDemand": "1"})
    with aws.unseen():
        orphan = aws.clients.ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, ClientToken="x", InstanceType="m5.large",
            TagSpecifications=[
                {
                    "ResourceType": "instance",
                    "Tags": [{"Key": SWAP_TAG, "Value": "f" * 20}, {"Key": GROUP_TAG, "Value": "web"}],
                }
            ],
        )["Instances"][0]  # fmt: skip
    launched_ms = int(orphan["LaunchTime"].timestamp() * 1_000)
    aws.now_ms = launched_ms + 1_000
    assert reap(made) == {"left": 1, "adopted": 0, "ended": 0, "failed": 0}
    aws.now_ms = launched_ms + 16 * 60_000
    assert reap(made) == {"left": 0, "adopted": 0, "ended": 1, "failed": 0}
    assert aws.launched() == []


def orphaned(aws: Cloud, made: Actuator) -> str:
    """A twin whose swap nobody remembers, past its grace."""
    aws.make_group(size=1)
    scan(made)
    for one in aws.messages("spot-creator"):
        create(made, one["Body"].encode())
    (twin,) = aws.launched()
    with aws.unseen():
        aws.clients.dynamodb.delete_item(TableName="headroom-swaps", Key={"key": {"S": "group#web"}})
        started = aws.clients.ec2.describe_instances(InstanceIds=[twin])["Reservations"][0]["Instances"][0]
    aws.messages("instance-swapper")
    aws.now_ms = int(started["LaunchTime"].timestamp() * 1_000) + 16 * 60_000
    return twin


def test_an_orphan_that_a_group_can_use_is_adopted(aws: Cloud, made: Actuator) -> None:
    twin = orphaned(aws, made)
    assert reap(made)["adopted"] == 1
    work(aws, made)
    assert aws.members() == [twin]


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.THROTTLED])
def test_an_orphan_is_not_ended_while_prices_cannot_be_read_that_may_let_a_group_adopt_it(
    aws: Cloud, made: Actuator, fault: Fault
) -> None:
    twin = orphaned(aws, made)
    aws.lasting = {"DescribeSpotPriceHistory": fault}
    assert reap(made) == {"left": 0, "adopted": 0, "ended": 0, "failed": 1}
    assert aws.launched() == [twin]
    aws.lasting = {}
    assert reap(made)["adopted"] == 1


def test_an_orphan_whose_group_is_gone_is_ended_whatever_it_costs(aws: Cloud, made: Actuator) -> None:
    orphaned(aws, made)
    aws.delete_group()
    aws.lasting = {"DescribeSpotPriceHistory": Fault.DENIED}
    assert reap(made)["ended"] == 1
    assert aws.launched() == []


def test_a_dry_run_changes_nothing(aws: Cloud, made: Actuator, tmp_path: Path) -> None:
    aws.make_group(size=1)
    dry = aws.actuator(tmp_path, dry_run=True)
    assert scan(dry)["swaps"] == 1
    assert aws.messages("spot-creator") == []
    scan(made)
    for one in aws.messages("spot-creator"):
        create(dry, one["Body"].encode())
    assert mutations(aws) == []
    assert (aws.launched(), aws.journal().swaps) == ([], ())


def test_a_twin_of_a_group_with_a_load_balancer_must_be_healthy_there(aws: Cloud, made: Actuator) -> None:
    original = aws.make_group(size=1, target_groups=(aws.target_group(),))[0]
    scan(made)
    for one in aws.messages("spot-creator"):
        create(made, one["Body"].encode())
    (twin,) = aws.launched()
    aws.unhealthy = {twin}
    work(aws, made, rounds=3)
    assert set(aws.members()) == {original, twin}
    aws.unhealthy = set()
    work(aws, made)
    assert (aws.members(), aws.sizes()) == ([twin], (1, 1, 1))


def test_a_twin_that_is_never_healthy_is_taken_out_again(aws: Cloud, made: Actuator) -> None:
    original = aws.make_group(size=1, target_groups=(aws.target_group(),))[0]
    scan(made)
    for one in aws.messages("spot-creator"):
        create(made, one["Body"].encode())
    aws.unhealthy = set(aws.launched())
    work(aws, made, rounds=4)
    aws.now_ms += 21 * 60_000
    work(aws, made)
    assert (aws.members(), aws.sizes(), aws.orphans()) == ([original], (1, 1, 1), [])
    assert scan(made)["swaps"] == 0  # it is left alone for an hour


def test_a_weaker_twin_is_ended_and_the_reason_is_kept(aws: Cloud, made: Actuator) -> None:
    original = aws.make_group(size=1)[0]
    with aws.unseen():
        aws.clients.ec2.modify_instance_metadata_options(InstanceId=original, HttpTokens="required")
    scan(made)
    work(aws, made)
    assert (aws.members(), aws.launched()) == ([original], [])
    assert "IMDSv2" in aws.journal().ended[-1].reason


@pytest.mark.parametrize("protection", ["scale-in", "api"])
def test_a_protected_instance_stays(aws: Cloud, made: Actuator, protection: str) -> None:
    original = aws.make_group(size=1)[0]
    with aws.unseen():
        if protection == "api":
            aws.clients.ec2.modify_instance_attribute(InstanceId=original, DisableApiTermination={"Value": True})
        else:
            aws.clients.autoscaling.set_instance_protection(
                InstanceIds=[original], AutoScalingGroupName="web", ProtectedFromScaleIn=True
            )
    scan(made)
    work(aws, made)
    assert (aws.members(), len(aws.tokens)) == ([original], 0)


def test_a_group_with_an_instance_refresh_is_left_alone(aws: Cloud, made: Actuator) -> None:
    original = aws.make_group(size=1)[0]
    aws.refreshing = {"web"}
    scan(made)
    work(aws, made)
    assert (aws.members(), len(aws.tokens)) == ([original], 0)
    assert aws.journal().ended[-1].reason == "an instance refresh is going on"
