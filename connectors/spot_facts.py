"""Spot facts: what the scan and the launches of our own actuators know, and no event of EC2 says.

EC2's events name an instance, and neither its type nor its zone, its group nor how it is paid for. So the actuators put
what they saw on the stream that carries those events: as events of EventBridge with the source `headroom`, published
with PutEvents or put into the stream as they are. `detail` is strict, and has a version; a `time` is that of the look.

One record carries many instances: a sweep of 1,400 costs a few of them. Pure.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from connectors.ec2.envelope import MAX_NAME_CHARS, Parser, read_envelope
from connectors.ec2.events import Event, Ignored, Malformed
from connectors.ec2.identifiers import INSTANCE_ID, INSTANCE_TYPE, ZONE
from connectors.ec2.parse import Kind, parse_message
from connectors.fields import FieldError, Fields
from connectors.spot_actions import HIGHEST_PLACEMENT_SCORE

SOURCE: Final = "headroom"
VERSION: Final = 1

DEFAULT_PLATFORM: Final = "Linux/UNIX"
"""What `PlatformDetails` of an instance and `ProductDescription` of a Spot price call most instances."""

MOST_IN_RECORD: Final = 500
"""Instances, scores or pools in one record: about 130 KB of instances, half of what EventBridge has always taken."""

_MAX_PLATFORM_CHARS: Final = 64


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
    """

    instance_id: str
    instance_type: str
    zone: str
    group: str | None
    purchase: Purchase
    platform: str
    launched_at_ms: int


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

DETAIL_TYPES: Final[dict[type[Facts], str]] = {
    InstancesDescribed: "Headroom Instances Described",
    PlacementScores: "Headroom Placement Scores",
    PoolsHealth: "Headroom Pool Health",
    LaunchRefused: "Headroom Launch Refused",
    PoolsReleased: "Headroom Pools Released",
}


def parse_event_or_facts(message: bytes | memoryview) -> Event | Facts | Malformed | Ignored:
    """What a message of the stream tells; never raises. See `connectors.ec2.parse.parse_event`."""
    return parse_message(message, _PARSERS)


def encode_facts(facts: Facts) -> bytes:
    """The record of facts, always the same bytes for the same facts, without a line end.

    `at_ms` is told to the millisecond. PutEvents gives an event an id, a Region and an account of its own, and of the
    time it keeps the seconds: then hand it the `detail` of the record.
    """
    detail = {"version": VERSION} | asdict(facts)
    envelope = {name: detail.pop(name) for name in ("event_id", "account", "region", "at_ms")}
    record = {
        "version": "0",
        "id": envelope["event_id"],
        "detail-type": DETAIL_TYPES[type(facts)],
        "source": SOURCE,
        "account": envelope["account"],
        "time": _iso_8601(envelope["at_ms"]),
        "region": envelope["region"],
        "resources": [],
        "detail": detail,
    }
    return json.dumps(record).encode("ascii")


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


def _iso_8601(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _instances_described(fields: Fields, detail: Fields) -> InstancesDescribed:
    _require(detail, "instances")
    return InstancesDescribed(**read_envelope(fields), instances=tuple(map(_instance, _some(detail, "instances"))))


def _instance(fields: Fields) -> DescribedInstance:
    fields.require_exactly(DescribedInstance.__dataclass_fields__)
    return DescribedInstance(
        instance_id=fields.matching("instance_id", INSTANCE_ID, "an instance id"),
        **_pool(fields),
        group=fields.optional(lambda name: fields.text(name, most_chars=MAX_NAME_CHARS), "group"),
        purchase=fields.word("purchase", Purchase),
        platform=fields.text("platform", most_chars=_MAX_PLATFORM_CHARS),
        launched_at_ms=fields.integer("launched_at_ms", least=0),
    )


def _placement_scores(fields: Fields, detail: Fields) -> PlacementScores:
    _require(detail, "scores")
    return PlacementScores(**read_envelope(fields), scores=tuple(map(_score, _some(detail, "scores"))))


def _score(fields: Fields) -> PoolScore:
    fields.require_exactly(PoolScore.__dataclass_fields__)
    return PoolScore(**_pool(fields), score=fields.integer("score", least=1, most=HIGHEST_PLACEMENT_SCORE))


def _pools_health(fields: Fields, detail: Fields) -> PoolsHealth:
    _require(detail, "pools")
    return PoolsHealth(**read_envelope(fields), pools=tuple(map(_health, _some(detail, "pools"))))


def _health(fields: Fields) -> PoolHealth:
    fields.require_exactly(PoolHealth.__dataclass_fields__)
    instances = fields.integer("instances", least=1)
    healthy = fields.integer("healthy", least=0, most=instances)
    return PoolHealth(**_pool(fields), instances=instances, healthy=healthy)


def _launch_refused(fields: Fields, detail: Fields) -> LaunchRefused:
    _require(detail, "instance_type", "zone", "error", "launch")
    return LaunchRefused(
        **read_envelope(fields),
        **_pool(detail),
        error=detail.word("error", CapacityError),
        launch=detail.text("launch", most_chars=MAX_NAME_CHARS),
    )


def _pools_released(fields: Fields, detail: Fields) -> PoolsReleased:
    _require(detail, "pools")
    return PoolsReleased(**read_envelope(fields), pools=tuple(map(_name, _some(detail, "pools"))))


def _name(fields: Fields) -> PoolName:
    fields.require_exactly(PoolName.__dataclass_fields__)
    return PoolName(**_pool(fields))


def _pool(fields: Fields) -> dict[str, Any]:
    return {
        "instance_type": fields.matching("instance_type", INSTANCE_TYPE, "an instance type"),
        "zone": fields.matching("zone", ZONE, "a zone"),
    }


def _require(detail: Fields, *names: str) -> None:
    # The version first: a newer one may well have other fields, and the reason shall say so.
    version = detail.integer("version")
    if version != VERSION:
        reason = f"detail.version is {version}, and this release reads {VERSION}"
        raise FieldError(reason)
    detail.require_exactly(("version", *names))


def _some(detail: Fields, name: str) -> Iterable[Fields]:
    elements = detail.objects(name)
    if not 1 <= len(elements) <= MOST_IN_RECORD:
        reason = f"{detail.path}.{name} has {len(elements):,} elements, not 1 to {MOST_IN_RECORD}"
        raise FieldError(reason)
    return elements


_PARSERS: Final[Mapping[Kind, Parser[Facts]]] = {
    (SOURCE, DETAIL_TYPES[InstancesDescribed]): _instances_described,
    (SOURCE, DETAIL_TYPES[PlacementScores]): _placement_scores,
    (SOURCE, DETAIL_TYPES[PoolsHealth]): _pools_health,
    (SOURCE, DETAIL_TYPES[LaunchRefused]): _launch_refused,
    (SOURCE, DETAIL_TYPES[PoolsReleased]): _pools_released,
}
