"""The model in which Spot actuators race: an invocation stops at each of its calls, until it is told to go on."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from connectors.prices import HourlyPrice, Prices, SpotPrice
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from lambdas.spot.actuator import Actuator
from lambdas.spot.amazon import AmazonError, Refusal
from lambdas.spot.fleet import ASG_TAG, SWAP_TAG, TYPE_TAG, Group, Instance, Market, Member, Pool, TypeFacts
from lambdas.spot.group_policy import read_policy
from lambdas.spot.journal import Remembered
from lambdas.spot.observed import Observed
from lambdas.spot.price_list import OnDemandPrices
from lambdas.spot.saga_step import Call, Intent
from lambdas.spot.swap import GroupJournal
from tests.spot_world import Asked, KilledError, Machine, World

ACCOUNT, REGION, ZONE, GROUP = "123456789012", "eu-west-1", "eu-west-1a", "web"
TIMEOUT_S = 90
PRICES = {"m5.large": ("0.107", "0.041"), "m5a.large": ("0.096", "0.039"), "m6i.large": ("0.107", "0.044")}
LISTED = Prices(
    "USD", on_demand=[HourlyPrice(REGION, one, DEFAULT_PLATFORM, Decimal(price)) for one, (price, _) in PRICES.items()]
)
_GIVEN_UP = frozenset({Call.END_ORIGINAL, Call.REMOVE_TWIN, Call.LOWER_DESIRED, Call.RESTORE_MAX_SIZE})


class Invocation(threading.Thread):
    """An actuator at work, that goes on from one call to the next when told to."""

    def __init__(self, world: "RacingWorld", work: Callable[[], object], message: "Message | None") -> None:
        super().__init__(daemon=True)
        self._world, self._work, self.message = world, work, message
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._fate = ""
        self.over = False
        self.error: BaseException | None = None
        self.deadline_s = world.now_s + TIMEOUT_S
        self.looked_s = world.now_s

    def run(self) -> None:
        self._go.acquire()
        try:
            if not self._fate:
                self._work()
        except BaseException as error:
            self.error = error
        self.over = True
        self._back.release()

    def stop(self) -> str:
        """Before a call: waits, and comes back with what becomes of it."""
        self._back.release()
        self._go.acquire()
        fate, self._fate = self._fate, ""
        if fate == "killed":
            raise KilledError
        return fate

    def go_on(self, fate: str = "") -> None:
        """One call further; `killed` before it, or its answer `lost`."""
        self._fate, self._world.current = fate, self
        self._go.release()
        self._back.acquire()
        self._world.current = None


@dataclass
class Message:
    """A message of a queue, and from when it is received."""

    queue: str
    body: str
    due_s: float
    receives: int = 0


@dataclass
class RacingWorld(World):
    """The model, in which every question and call of an invocation is a place where another may come in.

    Attributes:
        current: who makes this call.
        wanted: the desired capacity that the group's owner wants.
        disturbed_s: when something last changed that no actuator did.
        wrong: what must not be.
    """

    current: Invocation | None = None
    wanted: int = 0
    disturbed_s: float = 0.0
    wrong: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    markets: dict[Pool, Market] = field(default_factory=dict)
    protected: set[str] = field(default_factory=set)
    refreshing: bool = False

    def _turn(self) -> str:
        return self.current.stop() if self.current else ""

    def _asked(self, name: str) -> None:
        self._turn()
        super()._asked(name)
        if self.current and name == "DescribeAutoScalingGroups":
            self.current.looked_s = self.now_s

    def _member(self, machine: Machine) -> Member:
        guarded = machine.instance.instance_id in self.protected
        return replace(super()._member(machine), protected_from_scale_in=guarded)

    def is_refreshing(self, group: str) -> bool:
        return super().is_refreshing(group) or self.refreshing

    def tagged_groups(self, tag: str) -> tuple[Group, ...]:
        self._asked("DescribeAutoScalingGroups")
        return tuple(self.group_values(one) for one in sorted(self.groups) if tag in self.groups[one].tags)

    def _tagged(self, *tags: str) -> dict[str, Instance]:
        self._asked("DescribeInstances")
        return {one: self.seen(machine) for one, machine in self.machines.items() if {*tags} & {*machine.instance.tags}}

    def grouped_instances(self) -> dict[str, Instance]:
        return self._tagged(ASG_TAG, SWAP_TAG)

    def launched_instances(self) -> dict[str, Instance]:
        return self._tagged(SWAP_TAG)

    def grouped(self, ids: Iterable[str]) -> dict[str, str]:
        self._asked("DescribeAutoScalingInstances")
        return {one: group for one in ids if one in self.machines and (group := self.machines[one].group)}

    def types(self, names: Iterable[str] = tuple(PRICES)) -> dict[str, TypeFacts]:
        return {one: TypeFacts(one, frozenset({"x86_64"}), 2, 8_192) for one in names if one in PRICES}

    @property
    def market(self) -> SimpleNamespace:
        prices = [SpotPrice(ZONE, one, DEFAULT_PLATFORM, 0, Decimal(price)) for one, (_, price) in PRICES.items()]
        return SimpleNamespace(
            spot_prices=lambda *_: prices,
            reservations=list,
            savings_plans=lambda _: [],
            on_demand_prices=lambda *_: [],
        )

    def call(self, intent: Intent, group: str, seen: Observed) -> str | None:
        fate = self._turn()
        before = self._standing()
        made = super().call(intent, group, seen)
        if self.current and self.current.looked_s > self.disturbed_s:
            self._judge_call(intent, before, self._standing())
        if fate == "lost":
            raise AmazonError(Refusal.TRANSIENT, intent.call, "ReadTimeoutError", "the answer was lost")
        return made

    def _judge(self, intent: Intent) -> None:
        if self.current and self.current.looked_s > self.disturbed_s:
            super()._judge(intent)

    def _standing(self) -> tuple[int, int]:
        """How many serve, and how many of them are On-Demand."""
        found = [one for one in self.staying(GROUP) if one.alive() and self.now_s >= one.joined_s]
        return len(found), sum(one.instance.purchase is Purchase.ON_DEMAND for one in found)

    def _judge_call(self, intent: Intent, before: tuple[int, int], after: tuple[int, int]) -> None:
        least = read_policy(self.groups[GROUP].tags).least_on_demand(self.wanted)
        if intent.call in _GIVEN_UP and after[0] < min(before[0], self.wanted):
            self.wrong.append(f"{intent.call} left {after[0]} of {self.wanted} serving")
        if intent.call is Call.END_ORIGINAL and after[1] < min(before[1], least):
            self.wrong.append(f"{intent.call} left {after[1]} On-Demand, {least} must be")

    def _launched(self, intent: Intent, group: str) -> str:
        made = super()._launched(intent, group)
        machine = self.machines[made]
        machine.instance = replace(machine.instance, tags={**machine.instance.tags, TYPE_TAG: "m5.large"})
        return made

    def end(self, instance_id: str) -> None:
        self._turn()
        machine = self.machines[instance_id]
        if machine.group:
            self.wrong.append(f"{instance_id} was ended as an orphan, in a group")
        machine.ended_s = machine.ended_s or self.now_s

    def save(self, journal: GroupJournal) -> None:
        self._turn()
        super().save(journal)

    def everything(self) -> Remembered:
        self._asked("Scan")
        return Remembered(dict(self.journals), dict(self.markets))

    def send_message(self, *, QueueUrl: str, MessageBody: str, DelaySeconds: int = 0) -> None:  # noqa: N803 - boto3's
        self._turn()
        self.messages.append(Message(QueueUrl, MessageBody, self.now_s + DelaySeconds))

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        for entry in Entries:
            self.send_message(QueueUrl=QueueUrl, MessageBody=entry["MessageBody"])
        return {}


class RacingActuator(Actuator):
    """An actuator over the model."""

    @property
    def describe(self) -> Any:
        return Asked(self.clients.sqs)

    @property
    def store(self) -> Any:
        return self.clients.sqs

    @property
    def act(self) -> Any:
        return self.clients.sqs

    def types(self) -> dict[str, TypeFacts]:
        types: dict[str, TypeFacts] = self.clients.sqs.types()
        return types

    def on_demand_prices(self, fresh_ms: int = 0) -> OnDemandPrices:
        return OnDemandPrices(LISTED, fresh_ms=fresh_ms)

    def count(self, name: str, value: int = 1) -> None:
        pass
