"""Swap messages: what the Spot actuators say to each other over the spot-creator and instance-swapper queues. Pure.

One message is one JSON object in ASCII. Neither kind is believed: each names what to look at, and what is done is
decided anew from what is true by then.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from connectors.actions import VERSION
from connectors.ec2.identifiers import ACCOUNT, INSTANCE_ID, INSTANCE_TYPE, REGION
from connectors.fields import Fields
from connectors.queue_messages import read_message, require_fields_of

MAX_TYPES: Final = 16
MAX_GROUP_CHARS: Final = 255
"""Source: Auto Scaling API Reference, CreateAutoScalingGroup."""

_TYPES = re.compile(rf"{INSTANCE_TYPE.pattern}(?: {INSTANCE_TYPE.pattern}){{0,{MAX_TYPES - 1}}}")


class SwapMessageType(StrEnum):
    """What an actuator is asked to do."""

    CREATE_SPOT = "create_spot"
    SWAP_INSTANCE = "swap_instance"


@dataclass(frozen=True, slots=True)
class CreateSpot:
    """Launch a twin for an instance, if the plan still has it.

    Attributes:
        types: the instance types that were chosen, parted by a space; no others are looked at.
        not_after_ms: when the choice is too old.
    """

    account: str
    region: str
    group: str
    original_id: str
    types: str
    issued_at_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class SwapInstance:
    """Take the swaps of a group as far as they will go.

    Attributes:
        wake: which of the group's waits this ends; after a later one it is void.
    """

    account: str
    region: str
    group: str
    wake: int


SwapMessage = CreateSpot | SwapInstance

_TYPE_OF: Final[dict[type[SwapMessage], SwapMessageType]] = {
    CreateSpot: SwapMessageType.CREATE_SPOT,
    SwapInstance: SwapMessageType.SWAP_INSTANCE,
}


def encode(message: SwapMessage) -> str:
    """The body of a message, always the same for the same message."""
    return json.dumps({"version": VERSION, "type": _TYPE_OF[type(message)], **asdict(message)})


def decode(body: bytes) -> SwapMessage:
    """The message in a body, once every field has been checked.

    Raises:
        MalformedActionError: It is larger than 64 KiB, not UTF-8, not one JSON object, or has a missing, unknown,
            repeated, wrongly typed or impossible field.
        UnknownActionError: Its version or type is of another release.
    """
    return read_message(body, _READERS)


def _create_spot(fields: Fields) -> CreateSpot:
    require_fields_of(fields, CreateSpot)
    issued_at_ms = fields.integer("issued_at_ms", least=0)
    return CreateSpot(
        **_place(fields),
        original_id=fields.matching("original_id", INSTANCE_ID, "an instance id"),
        types=fields.matching("types", _TYPES, f"1 to {MAX_TYPES} instance types"),
        issued_at_ms=issued_at_ms,
        not_after_ms=fields.integer("not_after_ms", least=issued_at_ms),
    )


def _swap_instance(fields: Fields) -> SwapInstance:
    require_fields_of(fields, SwapInstance)
    return SwapInstance(**_place(fields), wake=fields.integer("wake", least=0))


def _place(fields: Fields) -> dict[str, Any]:
    return {
        "account": fields.matching("account", ACCOUNT, "an account of 12 digits"),
        "region": fields.matching("region", REGION, "a Region"),
        "group": fields.text("group", most_chars=MAX_GROUP_CHARS),
    }


_READERS: Final[dict[str, Callable[[Fields], SwapMessage]]] = {
    SwapMessageType.CREATE_SPOT: _create_spot,
    SwapMessageType.SWAP_INSTANCE: _swap_instance,
}
