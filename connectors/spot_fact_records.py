"""Spot fact records: spot facts as the stream of EC2's events carries them. Pure.

A record is an event of EventBridge with the source `headroom`, published with PutEvents or put into the stream as it
is. Its `detail` is strict, and has a version; its `time` is that of the look.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from connectors.ec2.envelope import MAX_NAME_CHARS, Parser, read_envelope, read_pool
from connectors.ec2.events import Event, Ignored, Malformed
from connectors.ec2.identifiers import INSTANCE_ID, INSTANCE_TYPE
from connectors.ec2.parse import Kind, parse_message
from connectors.fields import FieldError, Fields
from connectors.spot_actions import HIGHEST_PLACEMENT_SCORE
from connectors.spot_facts import (
    MOST_IN_RECORD,
    CapacityError,
    DescribedInstance,
    Facts,
    InstancesDescribed,
    LaunchRefused,
    PlacementScores,
    PoolHealth,
    PoolName,
    PoolScore,
    PoolsHealth,
    PoolsReleased,
    Purchase,
)

SOURCE: Final = "headroom"
VERSION: Final = 1

_MAX_PLATFORM_CHARS: Final = 64
_SINCE_LATER: Final = frozenset({"stands_for"})  # recordings of earlier scans are without it

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
    detail = {"version": VERSION} | asdict(facts, dict_factory=_told)
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


def _told(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if value is not None or name not in _SINCE_LATER}


def _iso_8601(at_ms: int) -> str:
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _instances_described(fields: Fields, detail: Fields) -> InstancesDescribed:
    _require(detail, "instances")
    return InstancesDescribed(**read_envelope(fields), instances=tuple(map(_instance, _some(detail, "instances"))))


def _instance(fields: Fields) -> DescribedInstance:
    fields.require_exactly(DescribedInstance.__dataclass_fields__.keys() - (_SINCE_LATER - fields.values.keys()))
    return DescribedInstance(
        instance_id=fields.matching("instance_id", INSTANCE_ID, "an instance id"),
        **read_pool(fields),
        group=fields.optional(lambda name: fields.text(name, most_chars=MAX_NAME_CHARS), "group"),
        purchase=fields.word("purchase", Purchase),
        platform=fields.text("platform", most_chars=_MAX_PLATFORM_CHARS),
        launched_at_ms=fields.integer("launched_at_ms", least=0),
        stands_for=fields.optional(lambda name: fields.matching(name, INSTANCE_TYPE, "an instance type"), "stands_for"),
    )


def _placement_scores(fields: Fields, detail: Fields) -> PlacementScores:
    _require(detail, "scores")
    return PlacementScores(**read_envelope(fields), scores=tuple(map(_score, _some(detail, "scores"))))


def _score(fields: Fields) -> PoolScore:
    fields.require_exactly(PoolScore.__dataclass_fields__)
    return PoolScore(**read_pool(fields), score=fields.integer("score", least=1, most=HIGHEST_PLACEMENT_SCORE))


def _pools_health(fields: Fields, detail: Fields) -> PoolsHealth:
    _require(detail, "pools")
    return PoolsHealth(**read_envelope(fields), pools=tuple(map(_health, _some(detail, "pools"))))


def _health(fields: Fields) -> PoolHealth:
    fields.require_exactly(PoolHealth.__dataclass_fields__)
    instances = fields.integer("instances", least=1)
    healthy = fields.integer("healthy", least=0, most=instances)
    return PoolHealth(**read_pool(fields), instances=instances, healthy=healthy)


def _launch_refused(fields: Fields, detail: Fields) -> LaunchRefused:
    _require(detail, "instance_type", "zone", "error", "launch")
    return LaunchRefused(
        **read_envelope(fields),
        **read_pool(detail),
        error=detail.word("error", CapacityError),
        launch=detail.text("launch", most_chars=MAX_NAME_CHARS),
    )


def _pools_released(fields: Fields, detail: Fields) -> PoolsReleased:
    _require(detail, "pools")
    return PoolsReleased(**read_envelope(fields), pools=tuple(map(_name, _some(detail, "pools"))))


def _name(fields: Fields) -> PoolName:
    fields.require_exactly(PoolName.__dataclass_fields__)
    return PoolName(**read_pool(fields))


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
