"""Spot facts: what the scan and the launches of our own actuators know, and no event of EC2 says.

EC2's events name an instance, and neither its type nor its zone, its group nor how it is paid for. So the actuators put
what they saw on the stream that carries those events (`connectors.spot_fact_records`).

One record carries many instances: a sweep of 1,400 costs a few of them. Pure.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DEFAULT_PLATFORM: Final = "Linux/UNIX"
"""What `PlatformDetails` of an instance and `ProductDescription` of a Spot price call most instances."""

MOST_IN_RECORD: Final = 500
"""Instances, scores or pools in one record: about 130 KB of instances, half of what EventBridge has always taken."""


class Purchase(StrEnum):
    """How an instance is paid for.

    AWS tells of a Spot Instance that it is one. Which of the others a Reserved Instance or a Savings Plan covers is a
    matter of the bill: the scan counts as covered as many as free commitments of their kind reach for.
    """

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    COVERED = "covered"


class CapacityError(StrEnum):
    """The errors of a launch that say that a pool has no Spot capacity for us.

    Source: EC2 API Reference, errors-overview. A quota (MaxSpotInstanceCountExceeded) says nothing of a pool.
    """

    INSUFFICIENT_INSTANCE_CAPACITY = "InsufficientInstanceCapacity"
    UNFULFILLABLE_CAPACITY = "UnfulfillableCapacity"
    SPOT_MAX_PRICE_TOO_LOW = "SpotMaxPriceTooLow"


@dataclass(frozen=True, slots=True)
class DescribedInstance:
    """An instance that was running when the scan looked.

    Attributes:
        zone: the name of the Availability Zone.
        group: its Auto Scaling group; None outside of any.
        platform: `PlatformDetails` of DescribeInstances, which is what prices go by.
        launched_at_ms: `LaunchTime`.
        stands_for: the type that its group had in its place at first; None where that is its own.
    """

    instance_id: str
    instance_type: str
    zone: str
    group: str | None
    purchase: Purchase
    platform: str
    launched_at_ms: int
    stands_for: str | None = None


@dataclass(frozen=True, slots=True)
class PoolScore:
    """The placement score of a Spot pool, 1 to 10; the scan turns EC2's zone ids into names."""

    instance_type: str
    zone: str
    score: int


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """How many Spot Instances of a pool the scan saw in our groups, and how many of them are healthy."""

    instance_type: str
    zone: str
    instances: int
    healthy: int


@dataclass(frozen=True, slots=True)
class PoolName:
    """A pool, within an account and Region."""

    instance_type: str
    zone: str


@dataclass(frozen=True, slots=True)
class _Facts:
    """What every record has; see `connectors.ec2.events`."""

    event_id: str
    account: str
    region: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class InstancesDescribed(_Facts):
    """A page of what a sweep over the instances saw."""

    instances: tuple[DescribedInstance, ...]


@dataclass(frozen=True, slots=True)
class PlacementScores(_Facts):
    """Spot placement scores of single Availability Zones."""

    scores: tuple[PoolScore, ...]


@dataclass(frozen=True, slots=True)
class PoolsHealth(_Facts):
    """The health of pools that we have Spot Instances in."""

    pools: tuple[PoolHealth, ...]


@dataclass(frozen=True, slots=True)
class LaunchRefused(_Facts):
    """EC2 had no Spot capacity for a launch of ours; `launch` is its ClientToken, the same in every telling."""

    instance_type: str
    zone: str
    error: CapacityError
    launch: str


@dataclass(frozen=True, slots=True)
class PoolsReleased(_Facts):
    """A person lets pinned pools be used again."""

    pools: tuple[PoolName, ...]


Facts = InstancesDescribed | PlacementScores | PoolsHealth | LaunchRefused | PoolsReleased


def describe_instances(
    *, account: str, region: str, at_ms: int, instances: Sequence[DescribedInstance]
) -> Iterator[InstancesDescribed]:
    """The records of a sweep, in pages of at most `MOST_IN_RECORD` instances; no record where nothing was seen."""
    for number, start in enumerate(range(0, len(instances), MOST_IN_RECORD)):
        yield InstancesDescribed(
            event_id=facts_id("instances", account, region, at_ms, number),
            account=account,
            region=region,
            at_ms=at_ms,
            instances=tuple(instances[start : start + MOST_IN_RECORD]),
        )


def facts_id(*told: str | int) -> str:
    """32 hexadecimal characters that are the same each time the same is told."""
    return hashlib.sha256(json.dumps(told).encode("ascii")).hexdigest()[:32]
