"""Every call that an actuator of Spot really makes, its role may make."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from connectors.spot_action_messages import encode
from jobs.metric_names import SPOT_ACTUATORS
from lambdas.create_spot import create
from lambdas.reap_orphans import reap
from lambdas.replace_interrupted import Batch
from lambdas.scan_candidates import scan
from lambdas.spot import actuator
from lambdas.spot.actuator import Actuator
from lambdas.swap_instance import swap
from tests.aws_answers import plan as savings_plan_answer
from tests.infra.conftest import ROOT, Synthesized
from tests.infra.iam import listed
from tests.infra.test_policies import FLEET, statements_of
from tests.lambdas.test_spot_actuators import handled, interruption
from tests.spot_cloud import TAG, Cloud, Fault, cloud, is_spot

IAM_NAMES = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing"}
ACTIONS = {"sqs:SendMessageBatch": "sqs:SendMessage"}


@dataclass
class Seen:
    """Which actuator asked for what."""

    aws: Cloud
    made: Actuator
    calls: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in FLEET})
    counted: set[str] = field(default_factory=set)

    @contextmanager
    def by(self, name: str) -> Iterator[None]:
        before = len(self.aws.calls)
        yield
        for service, operation in self.aws.calls[before:]:
            action = f"{IAM_NAMES.get(service, service)}:{operation}"
            self.calls[name].add(ACTIONS.get(action, action))

    def work(self, rounds: int) -> None:
        for _ in range(rounds):
            with self.by("ScanCandidates"):
                scan(self.made)
            for _ in range(4):
                self._take("spot-creator", "CreateSpot", create)
                self._take("instance-swapper", "SwapInstance", swap)

    def _take(self, queue: str, name: str, handle: Callable[[Actuator, bytes], None]) -> None:
        self.aws.now_ms += 31_000
        for one in self.aws.messages(queue):
            with self.by(name):
                handled(self.made, lambda body: handle(self.made, body), one["Body"], "no message")


@pytest.fixture(scope="module")
def calls(seen: Seen) -> dict[str, set[str]]:
    """What each actuator asked for."""
    return seen.calls


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What the actuators did while a fleet became Spot, was interrupted, and lost track of an instance."""
    patch = pytest.MonkeyPatch()
    patch.setattr(actuator, "_known_types", {})
    with cloud() as aws:
        seen = Seen(aws, aws.actuator(tmp_path_factory.mktemp("prices"), events_stream="events"))
        patch.setattr(Actuator, "count", lambda _, name, value=1: seen.counted.add(name))
        with aws.unseen():
            aws.clients.kinesis.create_stream(StreamName="events", ShardCount=1)
            patch.setitem(actuator._known_types, "eu-west-1", seen.made.describe.types(aws.types))
        aws.savings_plans = [savings_plan_answer("sp-1", "0.01")]
        tags = {f"{TAG}:MaxPoolPercent": "100", "aws:cloudformation:stack-name": "prod"}
        aws.make_group(size=2, tags=tags, target_groups=(aws.target_group(),))
        seen.work(2)
        lost = next(one for one in aws.members() if is_spot(aws.instances()[one]))
        action = interruption(lost, at_ms=aws.now_ms)
        aws.lasting = {"RunInstances": Fault.NO_CAPACITY}
        with seen.by("ReplaceInterrupted"):
            handled(seen.made, Batch(seen.made, (action,)).apply, encode(action), "no message")
        aws.lasting = {}
        aws.make_group("other", size=1)
        seen.work(1)
        with aws.unseen():
            aws.clients.dynamodb.delete_item(TableName="headroom-swaps", Key={"key": {"S": "group#other"}})
        aws.messages("instance-swapper")
        aws.now_ms = _later(aws)
        with seen.by("ReapOrphans"):
            seen.counted |= {f"Orphans{name.title()}" for name in reap(seen.made)}
    patch.undo()
    return seen


def _later(aws: Cloud) -> int:
    with aws.unseen():
        found = aws.clients.ec2.describe_instances()["Reservations"]
    times = [one["LaunchTime"] for reservation in found for one in reservation["Instances"]]
    return int(max(times).timestamp() * 1_000) + 16 * 60_000


def may(templates: Synthesized, function: str) -> set[str]:
    statements: list[dict[str, Any]] = statements_of(templates["spot"], function)
    return {action for each in statements if each["Effect"] == "Allow" for action in listed(each["Action"])}


@pytest.mark.parametrize("function", FLEET)
def test_an_actuator_may_make_every_call_that_it_makes(
    templates: Synthesized, calls: dict[str, set[str]], function: str
) -> None:
    assert calls[function]
    assert calls[function] - may(templates, function) == set()


def test_what_is_only_read_is_what_somebody_asks_for(templates: Synthesized, calls: dict[str, set[str]]) -> None:
    asked = set().union(*calls.values())
    reads = {action for name in FLEET for action in may(templates, name) if action.partition(":")[2].startswith("Desc")}
    seldom = {
        "elasticloadbalancing:DescribeInstanceHealth",  # Classic Load Balancers
        "ec2:DescribeAvailabilityZones",  # with placement scores, for which moto's fleet is too small
        "ec2:DescribeInstanceTypes",  # asked once in the life of a function
    }
    assert reads - asked <= seldom


def test_every_metric_that_an_actuator_publishes_is_a_known_one(seen: Seen) -> None:
    assert seen.counted <= set(SPOT_ACTUATORS)
    assert {"CallsLaunch", "SwapsDone", "ScanGroups", "OrphansFailed", "LaunchesRefused"} <= seen.counted


SHORT = dict(zip(("scan", "create", "swap", "replace", "reap"), FLEET, strict=True))


def documented() -> dict[str, set[str]]:
    """The rights of each actuator, as docs/spot-actuators.md has them."""
    page = (ROOT / "docs" / "spot-actuators.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([a-z, ]+) \| (.+) \|$", page.partition("\n## Rights\n")[2].partition("\n## ")[0], re.MULTILINE
    )
    found: dict[str, set[str]] = {name: set() for name in SHORT}
    for whose, rights in rows:
        named = set(re.findall(r"scan|create|swap|replace|reap", whose))
        for name in SHORT.keys() - named if whose.startswith("all") else named:
            found[name] |= set(re.findall(r"`([a-z0-9]+:[A-Z]\w+)`", rights))
    return found


@pytest.mark.parametrize("name", SHORT)
def test_every_call_that_an_actuator_makes_is_among_its_documented_rights(
    calls: dict[str, set[str]], name: str
) -> None:
    assert calls[SHORT[name]] - documented()[name] == set()


@pytest.mark.parametrize("name", SHORT)
def test_every_documented_right_is_one_that_the_role_has(templates: Synthesized, name: str) -> None:
    conditions = {"ec2:CreateAction"}
    assert documented()[name] - conditions - may(templates, SHORT[name]) == set()
