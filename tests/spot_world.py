"""A small model of EC2 and Auto Scaling, with time: what moto lacks, and a week in seconds.

It answers the questions of `lambdas.spot.describe` and makes the calls of `lambdas.spot.act`, so that driver and saga
run here as they do in production. Instances take time to start, pass checks, join load balancers and drain; Auto
Scaling replaces what has ended; pools run dry.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum

from connectors.ec2.events import InstanceState
from connectors.spot_facts import Purchase
from lambdas.spot.amazon import AmazonError, Refusal
from lambdas.spot.equivalence import Details
from lambdas.spot.fleet import (
    ASG_TAG,
    GROUP_TAG,
    SWAP_TAG,
    Group,
    Instance,
    Member,
    Pool,
    TemplateVersion,
)
from lambdas.spot.journal import JournalConflictError
from lambdas.spot.observed import Observed
from lambdas.spot.saga_step import Call, Intent
from lambdas.spot.swap import GroupJournal

START_S, CHECKS_S, JOIN_S, NOTICE_S, DRAIN_S, WARNING_S = 40, 120, 20, 60, 90, 120
"""Seconds: until an instance runs, passes its checks, serves in a group; until Auto Scaling sees that it ended; until
it has drained; and between the warning of an interruption and the interruption."""

TEMPLATE = TemplateVersion("lt-1", "1")


class KilledError(BaseException):
    """The process died in this call."""


class When(Enum):
    """When, of a call, something goes wrong."""

    BEFORE = "before"
    AFTER = "after"


@dataclass
class Machine:
    """An instance with its times, in seconds."""

    instance: Instance
    launched_s: float
    group: str | None = None
    joined_s: float = 0
    leaving_s: float | None = None
    ended_s: float | None = None
    taken_s: float | None = None

    def alive(self) -> bool:
        return self.ended_s is None


@dataclass
class Fleetlet:
    """A group as its owner set it."""

    name: str
    min_size: int
    max_size: int
    desired: int
    tags: dict[str, str]
    deleting: bool = False


@dataclass
class World:
    """The model.

    Attributes:
        calls: how often each question or call was made.
        fault: at which call something goes wrong, counted from now.
        hasty: originals that were ended while they lived and their twins did not serve.
    """

    now_s: float = 0.0
    groups: dict[str, Fleetlet] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    dry: set[Pool] = field(default_factory=set)
    unhealthy: set[str] = field(default_factory=set)
    tokens: dict[str, str] = field(default_factory=dict)
    journals: dict[str, GroupJournal] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    fault: tuple[int, When] | None = None
    refuse_launches: Callable[[], bool] = lambda: False
    on_launch: Callable[[Machine], None] = lambda _machine: None
    hasty: list[str] = field(default_factory=list)
    _members: dict[str, list[Machine]] = field(default_factory=dict)
    _number: int = 0

    # --- What time does

    def now_ms(self) -> int:
        return int(self.now_s * 1_000)

    def advance(self, seconds: float) -> None:
        self.now_s += seconds
        self.settle()

    def settle(self) -> None:
        """What EC2 and Auto Scaling do by themselves by now."""
        for machine in self.machines.values():
            if machine.alive() and machine.taken_s is not None and self.now_s >= machine.taken_s:
                machine.ended_s = machine.taken_s
            if machine.leaving_s is not None and self.now_s >= machine.leaving_s + DRAIN_S:
                machine.ended_s = machine.ended_s or machine.leaving_s + DRAIN_S
                machine.group = None
            if machine.group and machine.ended_s is not None and self.now_s >= machine.ended_s + NOTICE_S:
                machine.group = None
        for group in self.groups.values():
            self._scale(group)

    def _scale(self, group: Fleetlet) -> None:
        if group.deleting:
            for machine in self.members(group.name):
                machine.leaving_s = machine.leaving_s or self.now_s
            return
        staying = self.staying(group.name)
        for _ in range(group.desired - len(staying)):
            self.launch(group.name, "m5.large", Purchase.ON_DEMAND, {}, joined_s=self.now_s + CHECKS_S)
        if len(staying) > group.desired:
            staying.sort(key=lambda machine: (self.serves(machine), machine.launched_s))
            for machine in staying[: len(staying) - group.desired]:
                machine.leaving_s = self.now_s

    # --- What a test asks

    def members(self, name: str) -> list[Machine]:
        found = self._members.setdefault(name, [])
        if any(machine.group != name for machine in found):
            found[:] = [machine for machine in found if machine.group == name]
        return list(found)

    def forget(self) -> None:
        """Drops what ended two hours ago, as EC2 does after about one."""
        old = [
            name
            for name, machine in self.machines.items()
            if machine.ended_s is not None and machine.group is None and self.now_s > machine.ended_s + 7_200
        ]
        for name in old:
            del self.machines[name]

    def staying(self, name: str) -> list[Machine]:
        return [machine for machine in self.members(name) if machine.leaving_s is None]

    def serves(self, machine: Machine) -> bool:
        return (
            machine.alive()
            and machine.leaving_s is None
            and self.now_s >= machine.joined_s
            and machine.instance.instance_id not in self.unhealthy
        )

    def serving(self, name: str) -> int:
        return sum(self.serves(machine) for machine in self.members(name))

    def orphans(self) -> list[str]:
        return [
            name
            for name, machine in self.machines.items()
            if machine.alive() and machine.group is None and SWAP_TAG in machine.instance.tags
        ]

    def make_group(self, name: str, size: int, *, most: int | None = None, tags: dict[str, str] | None = None) -> None:
        self.groups[name] = Fleetlet(
            name, 0, size if most is None else most, size, {"AsgOptimiser": "on", **(tags or {})}
        )
        for _ in range(size):
            self.launch(name, "m5.large", Purchase.ON_DEMAND, {}, joined_s=self.now_s)
        for machine in self.members(name):
            machine.launched_s -= 1_000

    def interrupt(self, instance_id: str) -> None:
        machine = self.machines[instance_id]
        if machine.taken_s is None:
            machine.taken_s = self.now_s + WARNING_S

    def launch(
        self, group: str | None, instance_type: str, purchase: Purchase, tags: dict[str, str], *, joined_s: float
    ) -> Machine:
        self._number += 1
        instance = Instance(
            instance_id=f"i-{self._number:08x}",
            instance_type=instance_type,
            zone="eu-west-1a",
            subnet_id="subnet-1",
            image_id="ami-1",
            purchase=purchase,
            state=InstanceState.PENDING,
            launched_at_ms=self.now_ms(),
            tags={**tags, **({ASG_TAG: group} if group else {})},
        )
        machine = Machine(instance, self.now_s, group, joined_s)
        self.machines[instance.instance_id] = machine
        if group is not None:
            self._members.setdefault(group, []).append(machine)
        self.on_launch(machine)
        return machine

    def seen(self, machine: Machine) -> Instance:
        state = InstanceState.RUNNING if self.now_s >= machine.launched_s + START_S else InstanceState.PENDING
        return replace(machine.instance, state=state if machine.alive() else InstanceState.TERMINATED)

    # --- The questions of Describe

    def _asked(self, name: str) -> None:
        self.calls[name] += 1

    def group_values(self, name: str) -> Group:
        made = self.groups[name]
        return Group(
            name=name,
            min_size=made.min_size,
            max_size=made.max_size,
            desired=made.desired,
            members=tuple(self._member(machine) for machine in self.members(name)),
            tags=made.tags,
            template=TEMPLATE,
            target_groups=("tg",),
            deleting=made.deleting,
        )

    def _member(self, machine: Machine) -> Member:
        lifecycle = "InService" if self.now_s >= machine.joined_s else "Pending"
        if machine.leaving_s is not None:
            lifecycle = "Terminating:Wait"
        return Member(machine.instance.instance_id, lifecycle, healthy=True, template=TEMPLATE)

    def groups_named(self, names: Iterable[str]) -> dict[str, Group]:
        self._asked("DescribeAutoScalingGroups")
        return {name: self.group_values(name) for name in names if name in self.groups}

    def instances(self, ids: Iterable[str]) -> dict[str, Instance]:
        self._asked("DescribeInstances")
        return {name: self.seen(self.machines[name]) for name in ids if name in self.machines}

    def launched_for(self, swap_ids: Iterable[str]) -> dict[str, Instance]:
        self._asked("DescribeInstances")
        wanted = set(swap_ids)
        return {
            name: self.seen(machine)
            for name, machine in self.machines.items()
            if machine.instance.tags.get(SWAP_TAG) in wanted
        }

    def passed_checks(self, ids: Iterable[str]) -> frozenset[str]:
        self._asked("DescribeInstanceStatus")
        return frozenset(name for name in ids if self.now_s >= self.machines[name].launched_s + CHECKS_S)

    def details(self, ids: Iterable[str]) -> dict[str, Details]:
        names = list(ids)
        self.calls["DescribeInstanceAttribute"] += len(names)
        self._asked("DescribeVolumes")
        return {name: Details("", ()) for name in names}

    def is_serving(self, _group: Group, instance_id: str) -> bool:
        self._asked("DescribeTargetHealth")
        return instance_id not in self.unhealthy and self.machines[instance_id].alive()

    def is_refreshing(self, _group: str) -> bool:
        self._asked("DescribeInstanceRefreshes")
        return False

    def is_stack_changing(self, _name: str) -> bool:
        return False

    def is_guarded(self, _instance_id: str) -> bool:
        self._asked("DescribeInstanceAttribute")
        return False

    # --- The calls of Act

    def call(self, intent: Intent, group: str, _seen: Observed) -> str | None:
        with_fault = self._fault_due()
        if with_fault is When.BEFORE:
            raise KilledError(intent.call)
        made = self._effect(intent, group)
        if group in self.groups:
            self._scale(self.groups[group])
        if with_fault is When.AFTER:
            raise KilledError(intent.call)
        return made

    def _fault_due(self) -> When | None:
        if self.fault is None:
            return None
        left, when = self.fault
        if left > 0:
            self.fault = (left - 1, when)
            return None
        self.fault = None
        return when

    def _effect(self, intent: Intent, group: str) -> str | None:
        self.calls[
            {Call.LAUNCH: "RunInstances", Call.ATTACH: "AttachInstances"}.get(intent.call, str(intent.call))
        ] += 1
        if intent.call is Call.LAUNCH:
            self.calls["DescribeLaunchTemplateVersions"] += 1
            return self._launched(intent, group)
        if intent.call is Call.END_TWIN:
            machine = self.machines.get(intent.instance_id or "")
            if machine is not None and machine.alive():
                machine.ended_s = self.now_s
        elif group in self.groups:
            self._change_group(intent, self.groups[group])
        else:
            raise AmazonError(Refusal.REFUSED, intent.call, "ValidationError", "no such group")
        return None

    def _change_group(self, intent: Intent, group: Fleetlet) -> None:
        if intent.call in (Call.RAISE_MAX_SIZE, Call.RESTORE_MAX_SIZE):
            group.max_size = intent.size or 0
            group.desired = min(group.desired, group.max_size)
        elif intent.call is Call.LOWER_DESIRED:
            group.desired = intent.size or 0
        elif intent.call is Call.ATTACH:
            self._attach(group, self.machines[intent.instance_id or ""])
        else:
            if intent.call is Call.END_ORIGINAL:
                self._judge(intent)
            self._end_member(group, self.machines[intent.instance_id or ""])

    def _judge(self, intent: Intent) -> None:
        original, twin = (
            self.machines[intent.instance_id or ""],
            self.machines[(intent.swap and intent.swap.twin_id) or ""],
        )
        if original.alive() and not self.serves(twin):
            self.hasty.append(original.instance.instance_id)

    def _launched(self, intent: Intent, group: str) -> str:
        assert intent.swap is not None
        swap = intent.swap
        if swap.client_token in self.tokens:
            return self.tokens[swap.client_token]
        if self.refuse_launches():
            raise AmazonError(Refusal.TRANSIENT, "RunInstances", "RequestLimitExceeded", "Request limit exceeded")
        if swap.option.purchase is Purchase.SPOT and Pool(swap.option.instance_type, "eu-west-1a") in self.dry:
            raise AmazonError(Refusal.NO_CAPACITY, "RunInstances", "InsufficientInstanceCapacity", "no Spot capacity")
        tags = {SWAP_TAG: swap.swap_id, GROUP_TAG: group}
        machine = self.launch(None, swap.option.instance_type, swap.option.purchase, tags, joined_s=0)
        self.tokens[swap.client_token] = machine.instance.instance_id
        return machine.instance.instance_id

    def _attach(self, group: Fleetlet, machine: Machine) -> None:
        if machine.group is not None:
            return
        if group.desired + 1 > group.max_size or not machine.alive() or group.deleting:
            raise AmazonError(Refusal.REFUSED, "AttachInstances", "ValidationError", "above MaxSize, or not running")
        group.desired += 1
        machine.group = group.name
        self._members.setdefault(group.name, []).append(machine)
        machine.joined_s = self.now_s + JOIN_S
        machine.instance = replace(machine.instance, tags={**machine.instance.tags, ASG_TAG: group.name})

    def _end_member(self, group: Fleetlet, machine: Machine) -> None:
        if machine.group != group.name or machine.leaving_s is not None or group.desired - 1 < group.min_size:
            raise AmazonError(
                Refusal.REFUSED, "TerminateInstance", "ValidationError", "not in the group, or at MinSize"
            )
        group.desired -= 1
        machine.leaving_s = self.now_s

    # --- The journal

    def load(self, group: str) -> GroupJournal:
        self._asked("GetItem")
        return self.journals.get(group, GroupJournal(group))

    def save(self, journal: GroupJournal) -> None:
        when = self._fault_due()
        if when is When.BEFORE:
            raise KilledError(journal)
        self.calls["PutItem"] += 1
        if self.journals.get(journal.group, GroupJournal(journal.group)).version != journal.version - 1:
            raise JournalConflictError(journal.group)
        self.journals[journal.group] = journal
        if when is When.AFTER:
            raise KilledError(journal)


@dataclass(frozen=True)
class Asked:
    """The world as `lambdas.spot.describe.Describe` has it, whose `groups` is a question and not all of them."""

    world: World

    def groups(self, names: Iterable[str]) -> dict[str, Group]:
        return self.world.groups_named(names)

    def __getattr__(self, name: str) -> object:
        return getattr(self.world, name)
