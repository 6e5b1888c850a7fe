"""A made-up fleet and what is told of it: a day of events and facts, from a seed.

`python -m tests.spot_stream` writes the recording that ships with the project.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from connectors.spot_fact_records import encode_facts
from connectors.spot_facts import (
    DEFAULT_PLATFORM,
    CapacityError,
    DescribedInstance,
    Facts,
    LaunchRefused,
    PlacementScores,
    PoolHealth,
    PoolScore,
    PoolsHealth,
    Purchase,
    describe_instances,
    facts_id,
)

ACCOUNT, REGION = "604418233907", "eu-west-1"
START_MS: Final = 1_773_446_400_000  # 2026-03-14T00:00:00Z
SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000
RECORDING: Final = Path(__file__).parent / "recordings" / "spot-day.jsonl.gz"


@dataclass(frozen=True)
class Group:
    """An Auto Scaling group: what it runs, and how much of it is paid for how."""

    name: str
    instance_type: str
    zones: tuple[str, ...]
    spot: int
    on_demand: int
    covered: int = 0


GROUPS: Final = (
    Group("inbox-workers", "m7g.large", ("eu-west-1a", "eu-west-1b"), spot=8, on_demand=2),
    Group("search-indexers", "c7g.2xlarge", ("eu-west-1b", "eu-west-1c"), spot=5, on_demand=1, covered=2),
    Group("export-batch", "r7g.xlarge", ("eu-west-1a",), spot=4, on_demand=0),
    Group("api-edge", "m7g.xlarge", ("eu-west-1a", "eu-west-1b", "eu-west-1c"), spot=3, on_demand=3),
)


@dataclass
class Running:
    """An instance that runs, and when it was launched."""

    instance_id: str
    group: Group
    zone: str
    purchase: Purchase
    launched_ms: int

    def described(self) -> DescribedInstance:
        return DescribedInstance(
            instance_id=self.instance_id,
            instance_type=self.group.instance_type,
            zone=self.zone,
            group=self.group.name,
            purchase=self.purchase,
            platform=DEFAULT_PLATFORM,
            launched_at_ms=self.launched_ms,
        )


@dataclass
class Fleet:
    """The fleet through a day.

    Attributes:
        drought: The pool (instance type and zone) that dries up, from when until when.
    """

    seed: int = 7
    hours: int = 24
    groups: tuple[Group, ...] = GROUPS
    drought: tuple[str, str, int, int] = ("m7g.large", "eu-west-1b", 9 * HOUR_MS, 11 * HOUR_MS)
    sweep_ms: int = 15 * MINUTE_MS
    interruptions_an_hour: float = 0.03
    running: list[Running] = field(default_factory=list)
    told: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def day(self) -> list[bytes]:
        """All that is told, in the order in which it arrives."""
        for group in self.groups:
            for purchase, count in ((Purchase.SPOT, group.spot), (Purchase.ON_DEMAND, group.on_demand)):
                self._launch(group, purchase, count, -self.random.randrange(72 * HOUR_MS))
            self._launch(group, Purchase.COVERED, group.covered, -self.random.randrange(720 * HOUR_MS))
        for after_ms in range(0, self.hours * HOUR_MS, self.sweep_ms):
            self._sweep(after_ms)
            self._interrupt(after_ms)
            self._scale(after_ms)
        return [message for _, message in sorted(self.told)]

    def _new_id(self) -> str:
        return f"i-0{self.random.randrange(16**16):016x}"

    def _launch(self, group: Group, purchase: Purchase, count: int, after_ms: int) -> None:
        for number in range(count):
            instance = Running(self._new_id(), group, group.zones[number % len(group.zones)], purchase, START_MS)
            self._start(instance, after_ms)

    def _start(self, instance: Running, after_ms: int) -> None:
        instance.launched_ms = START_MS + after_ms
        self.running.append(instance)
        if after_ms < 0:
            return  # before the recording
        self._tell_state(instance, "pending", after_ms)
        self._tell_state(instance, "running", after_ms + 12 * SECOND_MS)
        if instance.purchase is Purchase.SPOT and self.random.random() < 0.7:
            detail = {
                "spot-instance-request-id": f"sir-{instance.instance_id[2:10]}",
                "instance-id": instance.instance_id,
            }
            self._tell("aws.ec2", "EC2 Spot Instance Request Fulfillment", detail, after_ms + SECOND_MS)

    def _sweep(self, after_ms: int) -> None:
        where: dict[str, Any] = {"account": ACCOUNT, "region": REGION, "at_ms": START_MS + after_ms}
        for page in describe_instances(**where, instances=[each.described() for each in self.running]):
            self._tell_facts(page)
        pools: dict[tuple[str, str], int] = {}
        for each in self.running:
            if each.purchase is Purchase.SPOT:
                key = each.group.instance_type, each.zone
                pools[key] = pools.get(key, 0) + 1
        health = tuple(
            PoolHealth(*pool, instances=count, healthy=0 if self._is_dry(*pool, after_ms) else count)
            for pool, count in sorted(pools.items())
        )
        known = sorted({(group.instance_type, zone) for group in self.groups for zone in group.zones})
        scores = tuple(
            PoolScore(*pool, score=1 if self._is_dry(*pool, after_ms) else self.random.randint(4, 9)) for pool in known
        )
        if health:
            self._tell_facts(PoolsHealth(event_id=facts_id("health", after_ms), **where, pools=health))
        self._tell_facts(PlacementScores(event_id=facts_id("scores", after_ms), **where, scores=scores))

    def _is_dry(self, instance_type: str, zone: str, after_ms: int) -> bool:
        dry_type, dry_zone, begins_ms, ends_ms = self.drought
        return (instance_type, zone) == (dry_type, dry_zone) and begins_ms <= after_ms < ends_ms

    def _interrupt(self, after_ms: int) -> None:
        for instance in [each for each in self.running if each.purchase is Purchase.SPOT]:
            dry = self._is_dry(instance.group.instance_type, instance.zone, after_ms)
            chance = 0.9 if dry else self.interruptions_an_hour * self.sweep_ms / HOUR_MS
            at_ms = after_ms + self.random.randrange(self.sweep_ms - 5 * MINUTE_MS)
            if self.random.random() < chance:
                self._interrupted(instance, at_ms, dry=dry)
            elif self.random.random() < 0.01:
                self._rebalance(instance, at_ms)

    def _interrupted(self, instance: Running, at_ms: int, *, dry: bool) -> None:
        if self.random.random() < 0.6:
            self._rebalance(instance, at_ms - self.random.randrange(20 * MINUTE_MS))
        if self.random.random() < 0.93:
            detail = {"instance-id": instance.instance_id, "instance-action": "terminate"}
            self._tell("aws.ec2", "EC2 Spot Instance Interruption Warning", detail, at_ms)
        self._end(instance, at_ms + 2 * MINUTE_MS)
        purchase = Purchase.SPOT
        if dry:
            purchase = Purchase.ON_DEMAND
            self._tell_refused(instance, at_ms + 5 * SECOND_MS)
        replacement = Running(self._new_id(), instance.group, instance.zone, purchase, START_MS)
        self._start(replacement, at_ms + 40 * SECOND_MS)

    def _rebalance(self, instance: Running, at_ms: int) -> None:
        if at_ms >= max(0, instance.launched_ms - START_MS):
            detail = {"instance-id": instance.instance_id}
            self._tell("aws.ec2", "EC2 Instance Rebalance Recommendation", detail, at_ms)

    def _tell_refused(self, instance: Running, at_ms: int) -> None:
        where: dict[str, Any] = {"account": ACCOUNT, "region": REGION, "at_ms": START_MS + at_ms}
        error = CapacityError.INSUFFICIENT_INSTANCE_CAPACITY
        launch = f"swap-{instance.instance_id[-8:]}"
        where |= {"instance_type": instance.group.instance_type, "zone": instance.zone}
        refused = LaunchRefused(event_id=facts_id("refused", launch), **where, error=error, launch=launch)
        self._tell_facts(refused)

    def _scale(self, after_ms: int) -> None:
        """Now and then a group is scaled in, and out again a little later."""
        if self.random.random() > 0.2 or not self.running:
            return
        instance = self.random.choice(self.running)
        at_ms = after_ms + self.random.randrange(5 * MINUTE_MS)
        detail = {
            "AutoScalingGroupName": instance.group.name,
            "EC2InstanceId": instance.instance_id,
            "LifecycleActionToken": f"token-{instance.instance_id[-8:]}",
            "LifecycleHookName": "drain",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
        }
        self._tell("aws.autoscaling", "EC2 Instance-terminate Lifecycle Action", detail, at_ms)
        self._end(instance, at_ms + 30 * SECOND_MS)
        again = Running(self._new_id(), instance.group, instance.zone, instance.purchase, START_MS)
        self._start(again, at_ms + 3 * MINUTE_MS)

    def _end(self, instance: Running, at_ms: int) -> None:
        self.running.remove(instance)
        for state, later_ms in (("shutting-down", 0), ("terminated", 40 * SECOND_MS)):
            if self.random.random() < 0.97:
                self._tell_state(instance, state, at_ms + later_ms)

    def _tell_state(self, instance: Running, state: str, at_ms: int) -> None:
        detail = {"instance-id": instance.instance_id, "state": state}
        self._tell("aws.ec2", "EC2 Instance State-change Notification", detail, at_ms)

    def _tell(self, source: str, detail_type: str, detail: dict[str, Any], after_ms: int) -> None:
        at_ms = (START_MS + after_ms) // SECOND_MS * SECOND_MS  # as EventBridge tells it
        event_id = facts_id(detail_type, json.dumps(detail), at_ms)
        event = {
            "version": "0",
            "id": f"{event_id[:8]}-{event_id[8:12]}-{event_id[12:16]}-{event_id[16:20]}-{event_id[20:]}",
            "detail-type": detail_type,
            "source": source,
            "account": ACCOUNT,
            "time": datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": REGION,
            "resources": [],
            "detail": detail,
        }
        self._deliver(at_ms, json.dumps(event).encode())

    def _tell_facts(self, facts: Facts) -> None:
        self._deliver(facts.at_ms, encode_facts(facts))

    def _deliver(self, at_ms: int, message: bytes) -> None:
        """At least once: some come twice, most at once, a few much later."""
        for _ in range(1 + (self.random.random() < 0.05)):
            delay_ms = self.random.randrange(2 * SECOND_MS)
            if self.random.random() < 0.03:
                delay_ms = self.random.randrange(30 * MINUTE_MS)
            self.told.append((at_ms + delay_ms, message))


def lines(messages: list[bytes]) -> Iterator[bytes]:
    """The messages, a line each."""
    return (message + b"\n" for message in messages)


def main() -> None:
    """Write the recording that ships with the project."""
    RECORDING.write_bytes(gzip.compress(b"".join(lines(Fleet().day())), mtime=0))


if __name__ == "__main__":
    main()
