"""Envelope: what every event of EventBridge has, and the fields that many of them share. Pure."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from connectors.ec2.identifiers import ACCOUNT, INSTANCE_ID, INSTANCE_TYPE, REGION, ZONE
from connectors.ec2.times import iso_8601_ms
from connectors.fields import Fields

MAX_NAME_CHARS: Final = 255
"""Source: EC2 Auto Scaling API Reference, CreateAutoScalingGroup and PutLifecycleHook."""

_MAX_EVENT_ID_CHARS: Final = 128


_T = TypeVar("_T")

Parser = Callable[[Fields, Fields], _T]
"""Reads an event from the fields of its envelope and of its detail."""


class NotOursError(Exception):
    """Says of a message what it is instead."""


def read_envelope(fields: Fields) -> dict[str, Any]:
    """The `event_id`, `account`, `region` and `at_ms` that every event of EventBridge has."""
    return {
        "event_id": read_event_id(fields, "id"),
        "account": fields.matching("account", ACCOUNT, "an account of 12 digits"),
        "region": fields.matching("region", REGION, "a Region"),
        "at_ms": fields.parsed("time", iso_8601_ms),
    }


def read_event_id(fields: Fields, name: str) -> str:
    """What identifies an event."""
    return fields.text(name, most_chars=_MAX_EVENT_ID_CHARS)


def read_name(fields: Fields, name: str) -> str:
    """A name of at most `MAX_NAME_CHARS` characters."""
    return fields.text(name, most_chars=MAX_NAME_CHARS)


def read_instance_id(detail: Fields, name: str) -> str:
    """The id of an instance."""
    return detail.matching(name, INSTANCE_ID, "an instance id")


def read_pool(fields: Fields) -> dict[str, Any]:
    """The `instance_type` and `zone` that name a pool of capacity."""
    return {
        "instance_type": fields.matching("instance_type", INSTANCE_TYPE, "an instance type"),
        "zone": fields.matching("zone", ZONE, "a zone"),
    }
