"""A cloud for tests: moto, and a thin layer of what it lacks, with a fault at any call.

The layer sits in botocore's events, so what is tested is what runs: the same clients, requests and answers.
"""

import json
import os
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics
from moto import mock_aws
from moto.autoscaling.models import autoscaling_backends
from moto.dynamodb.models import dynamodb_backends
from moto.ec2.models import ec2_backends
from moto.elbv2.models import elbv2_backends
from moto.sqs.models import sqs_backends

from connectors.prices import HourlyPrice, write_prices
from connectors.spot_facts import Purchase
from lambdas.spot.act import Act
from lambdas.spot.actuator import Actuator
from lambdas.spot.amazon import Clients, connect
from lambdas.spot.describe import Describe
from lambdas.spot.drive import ALL_CALLS, Driver
from lambdas.spot.driven import Driven
from lambdas.spot.environment import Environment
from lambdas.spot.fleet import SWAP_TAG, TemplateVersion
from lambdas.spot.journal import JournalStore
from lambdas.spot.saga_step import Call, SagaSettings
from lambdas.spot.steps import CLAIM_MS
from lambdas.spot.swap import GroupJournal, LaunchOption, PlannedSwap, Purpose, open_swap
from tests.forked import Forks

ACCOUNT, REGION, ZONE = "123456789012", "eu-west-1", "eu-west-1a"
TAG = "AsgOptimiser"
TABLE = "headroom-swaps"
START_MS = 1_770_000_000_000


class KilledError(BaseException):
    """The process died here; nothing that handles errors sees it."""


class Fault(StrEnum):
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    LOST_ANSWER = "answer lost"
    THROTTLED = "Throttling"
    DENIED = "AccessDenied"
    UNAUTHORIZED = "UnauthorizedOperation"
    NO_CAPACITY = "InsufficientInstanceCapacity"
    QUOTA = "MaxSpotInstanceCountExceeded"


_MOST_FILTER_VALUES = 200  # Source: EC2 User Guide, Using_Filtering
_REHEARSED = ("RunInstances", "TerminateInstances")
_ERRORS = {
    Fault.THROTTLED: (400, "Throttling", "Rate exceeded"),
    Fault.DENIED: (403, "AccessDenied", "You are not authorized to perform this operation."),
    Fault.UNAUTHORIZED: (403, "UnauthorizedOperation", "You are not authorized to perform this operation."),
    Fault.NO_CAPACITY: (500, "InsufficientInstanceCapacity", "There is no Spot capacity available."),
    Fault.QUOTA: (400, "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
    Fault.LOST_ANSWER: (503, "ServiceUnavailable", "The answer was lost."),
}


@dataclass
class Http:
    """As much of an HTTP answer as botocore looks at."""

    status_code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""


class Cloud:
    """One account with moto behind it.

    Attributes:
        calls: every call since the last reset, by service and operation.
        fault_at: what goes wrong at which call, counted from 0; `once` and `lasting`: at which operation.
        refreshing: groups with an instance refresh.
        unhealthy: instances that load balancers do not send work.
        no_checks: instances that have not passed their status checks.
        spot_price: what every pool costs; None for moto's own idea of it.
        reserved: Reserved Instances, as EC2 has them.
        savings_plans: Savings Plans, and `plan_rates` their rates, as AWS has them.
        scores: placement scores, as EC2 has them.
        products: products of the Price List.
        types: the types that a scan looks at.
        watch: called after each call that may have changed something.
        meanwhile: what somebody else does just before a call, counted from 0.
        at_call: told the number of each call, before anything else.
        deleting: groups that are being deleted: their members are on their way out, and they take no changes.
    """

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.calls: list[tuple[str, str]] = []
        self.fault_at: dict[int, Fault] = {}
        self.once: dict[str, Fault] = {}
        self.lasting: dict[str, Fault] = {}
        self.refreshing: set[str] = set()
        self.unhealthy: set[str] = set()
        self.no_checks: set[str] = set()
        self.watch: Callable[[], None] | None = None
        self.meanwhile: dict[int, Callable[[], None]] = {}
        self.at_call: Callable[[int], None] = _nothing
        self.deleting: set[str] = set()
        self.spot_price: str | None = "0.0300"
        self.reserved: list[dict[str, Any]] = []
        self.savings_plans: list[dict[str, Any]] = []
        self.plan_rates: list[dict[str, Any]] = []
        self.scores: list[dict[str, Any]] = []
        self.products: list[str] = []
        self.types = ("m5.large", "m5a.large", "m5.xlarge", "t3.large", "m6g.large")
        self._pending: Fault | None = None
        self._launched: dict[str, tuple[str, dict[str, Any]]] = {}
        self._asked: dict[str, Any] = {}
        self._quiet = False
        self.clients = clients()

    @contextmanager
    def listening(self) -> "Iterator[Cloud]":
        """The clients' calls come by here."""
        events = [client.meta.events for client in vars(self.clients).values()]
        for one in events:
            one.register_first("before-call.*.*", self._before)
            one.register_last("after-call.*.*", self._after)
        try:
            yield self
        finally:
            for one in events:
                one.unregister("before-call.*.*", self._before)
                one.unregister("after-call.*.*", self._after)

    def _before(self, model: Any, params: dict[str, Any], **_: Any) -> tuple[Http, dict[str, Any]] | None:
        if self._quiet:
            return None
        name = model.name
        self.at_call(len(self.calls))
        if other := self.meanwhile.pop(len(self.calls), None):
            with self.unseen():
                other()
        rehearsed = str((params.get("body") or {}).get("DryRun", "")).lower() == "true" if name in _REHEARSED else False
        self._pending = self.fault_at.pop(len(self.calls), None) or self.once.pop(name, None) or self.lasting.get(name)
        self.calls.append((model.service_model.service_name, f"{name} rehearsed" if rehearsed else name))
        fault = self._pending
        if fault is Fault.KILLED_BEFORE:
            raise KilledError(name)
        if fault in _ERRORS and fault is not Fault.LOST_ANSWER:
            return _error(fault)
        if name == "SendMessage":  # whoever receives decides when; the test's clock is not the queue's
            params["body"] = json.dumps({**json.loads(params["body"]), "DelaySeconds": 0}).encode()
            return None
        body = params.get("body") or {}
        group = body.get("AutoScalingGroupName") if isinstance(body, dict) else None
        if group in self.deleting and not name.startswith("Describe"):
            return _answer({"Error": {"Code": "ValidationError", "Message": "AutoScalingGroup is pending delete"}}, 400)
        return self._lacking(name, body)

    def _lacking(self, name: str, body: Any) -> tuple[Http, dict[str, Any]] | None:
        """What moto does not do."""
        if name == "DescribeInstanceRefreshes":
            group = body["AutoScalingGroupName"]
            return _answer({"InstanceRefreshes": [{"Status": "InProgress"}] if group in self.refreshing else []})
        if name == "DescribeInstances" and f"Filter.1.Value.{_MOST_FILTER_VALUES + 1}" in body:
            return _answer({"Error": {"Code": "FilterLimitExceeded", "Message": "too many filter values"}}, 400)
        if name in (lists := self._lists()):
            member, elements = lists[name]
            return _answer({member: elements})
        if name == "DescribeSpotPriceHistory" and self.spot_price is not None:
            return _answer({"SpotPriceHistory": self._prices(body)})
        if name == "RunInstances":
            known = self._launched.get(body["ClientToken"])
            self._asked = dict(body)
            if known is None:
                return None
            if known[1] != self._asked:
                return _answer({"Error": {"Code": "IdempotentParameterMismatch", "Message": "other parameters"}}, 400)
            return _answer({"Instances": [{"InstanceId": known[0]}]})
        return None

    def _lists(self) -> dict[str, tuple[str, list[Any]]]:
        return {
            "DescribeReservedInstances": ("ReservedInstances", self.reserved),
            "DescribeSavingsPlans": ("savingsPlans", self.savings_plans),
            "DescribeSavingsPlanRates": ("searchResults", self.plan_rates),
            "GetSpotPlacementScores": ("SpotPlacementScores", self.scores),
            "GetProducts": ("PriceList", self.products),
        }

    def _prices(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {
                "AvailabilityZone": ZONE,
                "InstanceType": name,
                "ProductDescription": "Linux/UNIX",
                "SpotPrice": self.spot_price,
                "Timestamp": datetime.fromtimestamp(self.now_ms / 1_000, UTC),
            }
            for name in [value for key, value in body.items() if key.startswith("InstanceType.")] or self.types
        ]

    def _after(self, http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if self._quiet:
            return
        fault, self._pending = self._pending, None
        if http_response.status_code < 300:
            self._took_effect(model.name, parsed)
            self._deleting(model.name, parsed)
        if fault is Fault.KILLED_AFTER:
            raise KilledError(model.name)
        if fault is Fault.LOST_ANSWER:
            http_response.status_code = 503
            parsed.clear()
            parsed.update(_error(fault)[1])

    def _took_effect(self, name: str, parsed: dict[str, Any]) -> None:
        if name == "RunInstances" and "Placement" in parsed["Instances"][0]:
            one = parsed["Instances"][0]
            self._launched[one["ClientToken"]] = (one["InstanceId"], self._asked)
        if name == "DescribeInstanceStatus":
            for one in parsed["InstanceStatuses"]:
                if one["InstanceId"] in self.no_checks:
                    one["InstanceStatus"]["Status"] = "initializing"
        if name == "DescribeTargetHealth":
            for one in parsed["TargetHealthDescriptions"]:
                one["TargetHealth"]["State"] = "unhealthy" if one["Target"]["Id"] in self.unhealthy else "healthy"
        if self.watch is not None and not name.startswith(("Describe", "Get", "List", "Scan")):
            self.watch()

    def _deleting(self, name: str, parsed: dict[str, Any]) -> None:
        groups = parsed["AutoScalingGroups"] if name == "DescribeAutoScalingGroups" else []
        for group in (one for one in groups if one["AutoScalingGroupName"] in self.deleting):
            group["Status"] = "Delete in progress"
            group["Instances"] = [one | {"LifecycleState": "Terminating"} for one in group["Instances"]]

    def failing_at(self, numbers: Container[int], fault: Fault) -> Forks[Any]:
        """Forks before these calls, each with the fault at that call."""
        return Forks(numbers, lambda call: self.fault_at.update({call: fault}))

    @contextmanager
    def forking(self, forks: Forks[Any]) -> Iterator[None]:
        """What is asked in here is counted from 0, and the forks begin here."""
        self.calls.clear()
        self.at_call = forks.before
        try:
            yield
        finally:
            self.at_call = _nothing

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """What is asked in here is neither counted nor goes wrong."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def make_table(self) -> None:
        with self.unseen():
            self.clients.dynamodb.create_table(
                TableName=TABLE,
                KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )

    def make_group(
        self,
        name: str = "web",
        *,
        size: int = 3,
        most: int | None = None,
        least: int = 1,
        tags: dict[str, str] | None = None,
        template: dict[str, Any] | None = None,
        instance_type: str = "m5.large",
        target_groups: tuple[str, ...] = (),
    ) -> list[str]:
        """The ids of the On-Demand Instances of a new group."""
        with self.unseen():
            ec2 = self.clients.ec2
            data = {
                "ImageId": "ami-12345678",
                "InstanceType": instance_type,
                "SecurityGroupIds": [self.security_group()],
                "UserData": "aGVsbG8=",
                **(template or {}),
            }
            created = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
            self.clients.autoscaling.create_auto_scaling_group(
                AutoScalingGroupName=name,
                MinSize=least,
                MaxSize=size if most is None else most,
                DesiredCapacity=size,
                VPCZoneIdentifier=self.subnet(),
                LaunchTemplate={"LaunchTemplateId": created["LaunchTemplate"]["LaunchTemplateId"], "Version": "1"},
                TargetGroupARNs=list(target_groups),
                Tags=[
                    {"Key": key, "Value": value, "PropagateAtLaunch": key == "team"}
                    for key, value in {TAG: "on", "team": "green", **(tags or {})}.items()
                ],
            )
            return self.members(name)

    def subnet(self) -> str:
        subnets = ec2_backends[ACCOUNT][REGION].describe_subnets()
        return next(str(one.id) for one in subnets if one.availability_zone == ZONE)

    def security_group(self) -> str:
        return str(ec2_backends[ACCOUNT][REGION].describe_security_groups()[0].id)

    def target_group(self) -> str:
        with self.unseen():
            vpc = self.clients.ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
            made = self.clients.elbv2.create_target_group(Name="web", Protocol="HTTP", Port=80, VpcId=vpc)
            return str(made["TargetGroups"][0]["TargetGroupArn"])

    def group(self, name: str = "web") -> Any:
        """A group as moto has it; reading it asks nobody."""
        return autoscaling_backends[ACCOUNT][REGION].autoscaling_groups[name]

    def members(self, name: str = "web") -> list[str]:
        return [one.instance.id for one in self.group(name).instance_states]

    def sizes(self, name: str = "web") -> tuple[int, int, int]:
        """MinSize, desired capacity and MaxSize."""
        group = self.group(name)
        return group.min_size, group.desired_capacity, group.max_size

    def instances(self) -> dict[str, Any]:
        """All that are not ended, by their ids, as moto has them."""
        reservations = ec2_backends[ACCOUNT][REGION].reservations.values()
        return {
            one.id: one
            for reservation in reservations
            for one in reservation.instances
            if one._state.name not in ("shutting-down", "terminated")
        }

    def serving(self, name: str = "web") -> int:
        alive = self.instances()
        return sum(
            one.lifecycle_state == "InService" and one.instance.id in alive for one in self.group(name).instance_states
        )

    def spots(self, name: str = "web") -> int:
        alive = self.instances()
        return sum(is_spot(alive[one]) for one in self.members(name) if one in alive)

    def launched(self) -> list[str]:
        """What the actuators launched, and that has not ended."""
        return [one.id for one in self.instances().values() if SWAP_TAG in tags_of(one)]

    def orphans(self) -> list[str]:
        """What the actuators launched, that is in no group, and has not ended."""
        groups = autoscaling_backends[ACCOUNT][REGION].autoscaling_groups
        members = {one for name in groups for one in self.members(name)}
        return [one for one in self.launched() if one not in members]

    def actuator(self, tmp_path: Path, *, dry_run: bool = False, events_stream: str | None = None) -> Actuator:
        """What each actuator is made of, with queues of its own."""
        prices = tmp_path / "prices.json"
        prices.write_bytes(
            write_prices(
                "USD", on_demand=[HourlyPrice(REGION, one, "Linux/UNIX", Decimal("0.1070")) for one in self.types]
            )
        )
        with self.unseen():
            urls = {
                name: self.clients.sqs.create_queue(QueueName=name)["QueueUrl"]
                for name in ("spot-creator", "instance-swapper", "dead")
            }
        environment = Environment(
            table=TABLE,
            creator_queue=urls["spot-creator"],
            swapper_queue=urls["instance-swapper"],
            dead_letter_queue=urls["dead"],
            tag=TAG,
            prices=prices,
            events_stream=events_stream,
            dry_run=dry_run,
            account=ACCOUNT,
            region=REGION,
        )
        metrics = EphemeralMetrics(namespace="Headroom", service="test")
        return Actuator(environment, self.clients, Logger(service="test"), metrics, lambda: self.now_ms)

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """All messages of a queue, taken from it."""
        found: list[dict[str, Any]] = []
        with self.unseen():
            url = self.clients.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            while got := self.clients.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
            ).get("Messages"):
                found += got
                for one in got:
                    self.clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return found

    def delete_group(self, name: str = "web") -> None:
        """A group is deleted with all its members, by somebody else."""
        with self.unseen():
            self.clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
        self.deleting.discard(name)

    def end(self, instance_id: str) -> None:
        """An instance ends, as when EC2 takes it, or a person."""
        with self.unseen():
            self.clients.ec2.terminate_instances(InstanceIds=[instance_id])

    @property
    def tokens(self) -> dict[str, str]:
        """The instance of each ClientToken: how often something was really launched."""
        return {token: known[0] for token, known in self._launched.items()}

    def count(self, operation: str) -> int:
        return sum(name == operation for _, name in self.calls)

    @property
    def store(self) -> JournalStore:
        return JournalStore(self.clients.dynamodb, TABLE)

    def journal(self, group: str = "web") -> GroupJournal:
        with self.unseen():
            return self.store.load(group)

    def driver(self) -> Driver:
        return Driver(
            Describe(self.clients),
            Act(self.clients),
            self.store,
            tag=TAG,
            settings=SagaSettings(),
            clock_ms=lambda: self.now_ms,
        )

    def begin(self, *planned: PlannedSwap, may: frozenset[Call] = ALL_CALLS) -> Driven:
        """Opens swaps in their group's journal, once, and drives."""

        def opened(journal: GroupJournal) -> GroupJournal:
            for one in planned:
                if journal.swap_of(one.original_id) is None:
                    journal = replace(journal, swaps=(*journal.swaps, open_swap(one, START_MS)))
            return journal

        return self.driver().drive(planned[0].group, change=opened, may=may)

    def finish(self, group: str = "web", rounds: int = 60) -> GroupJournal:
        """The group's journal after as many runs as it takes, each after what was waited for."""
        for _ in range(rounds):
            self.now_ms += CLAIM_MS + 1_000
            driven = self.driver().drive(group)
            if driven.wait is None and driven.error is None and not driven.journal.is_open:
                break
        return self.journal(group)

    def planned(
        self,
        original_id: str,
        *types: str,
        group: str = "web",
        purpose: Purpose = Purpose.TO_SPOT,
        purchase: Purchase = Purchase.SPOT,
        on_demand_last: bool = False,
    ) -> PlannedSwap:
        """A swap of an instance for one of these types."""
        with self.unseen():
            instance = Describe(self.clients).instances([original_id])[original_id]
        options = [LaunchOption(one, purchase) for one in types or ("m5.large",)]
        if on_demand_last:
            options.append(LaunchOption(instance.instance_type, Purchase.ON_DEMAND))
        return PlannedSwap(
            group=group,
            original_id=original_id,
            original_type=instance.instance_type,
            original_purchase=instance.purchase,
            purpose=purpose,
            template=TemplateVersion(self.group(group).ec2_launch_template.id, "1"),
            subnet_id=instance.subnet_id,
            zone=instance.zone,
            options=tuple(options),
            per_hour=None,
            reason="a test",
        )


def _nothing(_call: int) -> None:
    return


def tags_of(instance: Any) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in instance.get_tags()}


def is_spot(instance: Any) -> bool:
    return bool(instance.lifecycle == "spot")


@contextmanager
def cloud() -> Iterator[Cloud]:
    """An empty account, with a subnet and a table."""
    with mock_aws(config={"core": {"reset_boto3_session": False}}), Cloud().listening() as made:
        # Six thousand images that nobody launches take longer to make than all else here.
        os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
        for backends in (ec2_backends, autoscaling_backends, elbv2_backends, dynamodb_backends, sqs_backends):
            backends[ACCOUNT][REGION].reset()
        made.make_table()
        yield made


@cache
def clients() -> Clients:
    """Clients, which take a second to make, and know nothing of the account behind them."""
    return connect(boto3.session.Session("x", "x", region_name=REGION))


def _error(fault: Fault) -> tuple[Http, dict[str, Any]]:
    status, code, message = _ERRORS[fault]
    return _answer({"Error": {"Code": code, "Message": message}}, status)


def _answer(parsed: dict[str, Any], status: int = 200) -> tuple[Http, dict[str, Any]]:
    return Http(status), {**parsed, "ResponseMetadata": {"HTTPStatusCode": status}}
