"""Spot actuators at once: each invocation stops at each of its calls, and chance says who goes on.

The actuators are those that run in production, over the model of `tests.spot_world`. Messages come late, twice and in
any order; invocations die, run into their timeout, and lose answers; instances are interrupted, and people meddle.
"""

import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics

from connectors.ec2.events import InstanceAction
from connectors.spot_action_messages import decode as decode_action
from connectors.spot_action_messages import encode as encode_action
from connectors.spot_actions import ReplaceEvidence, ReplaceInstance, replace_action_id
from connectors.spot_facts import Purchase
from connectors.swap_messages import SwapInstance, encode
from lambdas.create_spot import create
from lambdas.reap_orphans import reap
from lambdas.replace_interrupted import Batch
from lambdas.scan_candidates import LOST_MS, scan
from lambdas.spot.actuator import ForeignError, UndoneError
from lambdas.spot.amazon import AmazonError
from lambdas.spot.environment import Environment
from lambdas.spot.fleet import Market, Pool
from lambdas.spot.swap import GroupJournal
from lambdas.swap_instance import swap
from tests.spot_race_world import (
    ACCOUNT,
    GROUP,
    PRICES,
    REGION,
    ZONE,
    Invocation,
    Message,
    RacingActuator,
    RacingWorld,
)
from tests.spot_world import KilledError

for name in ("_groups", "_instances", "_fleet"):
    # Python 3.11 has one lock for all instances of a class, which an invocation that stops in the midst would keep.
    Batch.__dict__[name].lock = nullcontext()


class Race:
    """One group, and all that may happen to it, by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        choose = self.random.choice
        self.world = world = RacingWorld(now_s=10_000.0)
        world.wanted = size = choose([2, 3, 4, 6])
        self.most = size + choose([0, 0, 1, 3])
        least = choose([("MinOnDemand", self.random.randrange(size)), ("MinOnDemandPercent", choose([20, 34, 50]))])
        tags = {least[0]: least[1], "Parallel": choose([1, 1, 2, 3]), "MaxPoolPercent": choose([34, 50, 100])}
        world.make_group(GROUP, size, most=self.most, tags={f"AsgOptimiser:{key}": str(tags[key]) for key in tags})
        world.make_group("other", 2)
        world.groups["other"].tags.clear()
        self.others = [one for one, machine in world.machines.items() if machine.group == "other"]
        for machine in world.members(GROUP):
            if self.random.random() < 0.4:
                spot = replace(machine.instance, purchase=Purchase.SPOT, instance_type=choose(list(PRICES)))
                machine.instance = spot
        environment = Environment(
            "table", "creator", "swapper", "dead", "AsgOptimiser", None, None,
            dry_run=False, account=ACCOUNT, region=REGION,
        )  # fmt: skip
        clients: Any = SimpleNamespace(sqs=world)
        metrics = EphemeralMetrics(namespace="Headroom", service="test")
        self.made = RacingActuator(environment, clients, Logger("race", level="CRITICAL"), metrics, world.now_ms)
        self.running: list[Invocation] = []

    def run(self, steps: int = 300) -> list[str]:
        """What was wrong, of all that chance thought of in so many steps, and then until nothing is left to do."""
        for _ in range(steps):
            self._step()
        self._come_to_rest()
        return self.world.wrong

    def _step(self) -> None:
        chance = self.random.random()
        due = [one for one in self.world.messages if one.due_s <= self.world.now_s]
        if self.running and chance < 0.72:
            self._go_on(self.random.choice(self.running), self.random.choice([1, 1, 2, 3, 8, 30]))
        elif due and chance < 0.88 and len(self.running) < 4:
            self._receive(self.random.choice(due))
        elif chance < 0.905 and len(self.running) < 4:
            self._start(lambda: scan(self.made) if chance < 0.9 else reap(self.made))
        elif chance < 0.93:
            self.random.choice(self._meddling())()
            self.world.disturbed_s = self.world.now_s
        else:
            self._pass(self.random.choice([1, 5, 5, 20, 31, 61, 400]))

    def _go_on(self, invocation: Invocation, calls: int) -> None:
        for _ in range(calls):
            if not invocation.over:
                invocation.go_on(self.random.choices(["", "killed", "lost"], [980, 6, 14])[0])
            if self.random.random() < 0.3:
                self._pass(self.random.choice([0.2, 1]))
        self._clear_up()

    def _start(self, work: Callable[[], object], message: Message | None = None) -> None:
        self.running.append(Invocation(self.world, work, message))
        self.running[-1].start()

    def _receive(self, message: Message) -> None:
        self.world.messages.remove(message)
        if self.random.random() < 0.06:
            self.world.messages.append(replace(message, due_s=self.world.now_s + self.random.uniform(0, 40)))
        body = message.body.encode()
        work: dict[str, Callable[[], object]] = {
            "creator": lambda: create(self.made, body),
            "swapper": lambda: swap(self.made, body),
            "actions": lambda: Batch(self.made, (decode_action(body),)).apply(body),  # type: ignore[arg-type]
        }
        self._start(work[message.queue], message)

    def _clear_up(self) -> None:
        """What has ended, well or not; a message that failed comes back."""
        for one in [one for one in self.running if one.over]:
            one.join()
            self.running.remove(one)
            if one.error is None or isinstance(one.error, (ForeignError, UndoneError)):
                continue
            if not isinstance(one.error, (KilledError, AmazonError)):
                raise one.error
            if one.message and one.message.receives < 4:
                again_s = self.world.now_s + (30 if one.message.queue == "actions" else 540)
                self.world.messages.append(replace(one.message, due_s=again_s, receives=one.message.receives + 1))

    def _pass(self, seconds: float) -> None:
        """Time passes; at its timeout an invocation dies, before its call or just after it."""
        until_s = self.world.now_s + seconds
        while self.world.now_s < until_s:
            alive = sum(machine.alive() for machine in self.world.members(GROUP))
            next_s = min([until_s, self.world.now_s + 15, *(one.deadline_s for one in self.running if not one.over)])
            self.world.advance(max(0.0, next_s - self.world.now_s))
            if alive != sum(machine.alive() for machine in self.world.members(GROUP)):
                self.world.disturbed_s = self.world.now_s
            for one in self.running:
                while not one.over and self.world.now_s >= one.deadline_s:
                    one.go_on(self.random.choice(["", "killed"]))
        self._clear_up()

    def _meddling(self) -> list[Callable[[], object]]:
        journal = self.world.journals.get(GROUP, GroupJournal(GROUP))
        twins = [one.twin_id for one in journal.swaps if one.twin_id in self.world.machines]
        members = [machine.instance.instance_id for machine in self.world.staying(GROUP)]
        choose, often = self.random.choice, 4
        return [
            *[lambda: self._warn(members)] * often,
            *[lambda: self._warn(twins)] * often,
            *[lambda: None if self.running or any(one.crowds for one in journal.swaps) else self._scale()] * 2,
            lambda: self._rebalance(choose(members)) if members else None,
            lambda: self.world.protected.symmetric_difference_update(members[:1]),
            lambda: self.world.dry.symmetric_difference_update({Pool(choose(list(PRICES)), ZONE)}),
            lambda: self.world.unhealthy.symmetric_difference_update(twins[:1]),
            lambda: self.world.markets.update(
                {Pool(choose(list(PRICES)), ZONE): choose([Market.ARMED, Market.FALLBACK])}
            ),
            lambda: setattr(self.world, "refreshing", not self.world.refreshing),
            lambda: self.world.groups[GROUP].tags.update({"AsgOptimiser:MinOnDemand": choose("0123")}),
            lambda: self.world.groups[GROUP].tags.update({"AsgOptimiser": choose(["on", "on", "off"])}),
        ]

    def _warn(self, names: list[str]) -> None:
        """An interruption, told never, once or twice."""
        machines = [self.world.machines[one] for one in names]
        machines = [
            one for one in machines if one.alive() and one.instance.purchase is Purchase.SPOT and not one.taken_s
        ]
        if not machines:
            return
        name, now_ms = self.random.choice(machines).instance.instance_id, self.world.now_ms()
        self.world.interrupt(name)
        action = ReplaceInstance(
            replace_action_id(account=ACCOUNT, region=REGION, instance_id=name, restarted_at_ms=None),
            now_ms, now_ms + 900_000, ACCOUNT, REGION, name,
            ReplaceEvidence(True, "e", InstanceAction.TERMINATE, now_ms, None, None, None),
        )  # fmt: skip
        for _ in range(self.random.choices((0, 1, 2), (5, 75, 20))[0]):
            due_s = self.world.now_s + self.random.uniform(1, 10)
            self.world.messages.append(Message("actions", encode_action(action).decode(), due_s))

    def _scale(self) -> None:
        group = self.world.groups[GROUP]
        group.desired = self.world.wanted = min(self.most, max(1, group.desired + self.random.choice([-1, 1])))

    def _rebalance(self, name: str) -> None:
        self.world.launch(GROUP, "m5.large", Purchase.ON_DEMAND, {}, joined_s=self.world.now_s)
        self.world.machines[name].leaving_s = self.world.now_s

    def _come_to_rest(self) -> None:
        world = self.world
        world.refreshing = False
        world.unhealthy.clear()
        for number in range(240):
            while self.running:
                self._calm(self.running[0])
            self._pass(15)
            for message in [one for one in world.messages if one.due_s <= world.now_s and one.queue == "swapper"]:
                self._receive(message)
            journal = world.journals.get(GROUP, GroupJournal(GROUP))
            if journal.is_open and world.now_ms() >= journal.last_moved_ms + LOST_MS:
                world.send_message(
                    QueueUrl="swapper", MessageBody=encode(SwapInstance(ACCOUNT, REGION, GROUP, journal.wake))
                )
            if number % 100 == 99:
                self._start(lambda: reap(self.made))
        self._judge_end()

    def _judge_end(self) -> None:
        world, group = self.world, self.world.groups[GROUP]
        journal = world.journals.get(GROUP, GroupJournal(GROUP))
        ends = (journal.is_open, world.orphans(), group.desired, group.max_size, world.hasty)
        if ends != (False, [], world.wanted, self.most, []):
            world.wrong.append(
                f"open, orphans, desired, MaxSize, hasty are {ends}; {world.wanted, self.most} were wanted"
            )
        if not all(world.machines[one].alive() and world.machines[one].group == "other" for one in self.others):
            world.wrong.append("an instance of a group without the tag was touched")
        if len(set(world.tokens.values())) != len(world.tokens):
            world.wrong.append("a token launched twice")

    def _calm(self, invocation: Invocation) -> None:
        while not invocation.over:
            invocation.go_on()
        self._clear_up()
