"""Actions: what the jobs ask the actuators to do, as messages on a queue.

One message is one JSON object in UTF-8 on one line. The standard library is enough here, so that an actuator
can carry this module alone.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, NoReturn

MAX_MESSAGE_BYTES = 64 * 1024
VERSION = 1

_LARGEST_INTEGER = 2**53 - 1  # the largest that every JSON reader (Lua and JavaScript among them) keeps exact
_ACTION_ID = re.compile(r"[0-9a-f]{32}")
_KEY_TYPES = frozenset({"S", "N", "B"})

# A lone surrogate has no UTF-8 form, and SQS refuses a message that holds one of the two noncharacters.
# Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_UNSENDABLE = re.compile("[\ud800-\udfff\ufffe\uffff]")


class MalformedActionError(ValueError):
    """A message that is not an action, or breaks the rules of its version and type."""


class UnknownActionError(ValueError):
    """A message of a version or type that this release does not know."""


class ActionType(StrEnum):
    """What an actuator is asked to do."""

    SUSPEND = "suspend"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured, for the person who asks why.

    `window_end_ms` is the end of the whole window, later than the evaluation that crossed the limit.
    """

    window_start_ms: int
    window_end_ms: int
    consumed_wcu: int
    writes: int
    limit_wcu: int
    rule: str


@dataclass(frozen=True, slots=True)
class SuspendAction:
    """Suspend a partition key for a lease, which ends by itself.

    `issued_at_ms` is event time, so a replay gives the same bytes as the live run. The order of the fields is
    their order in the message.
    """

    action_id: str
    decision_seq: int
    issued_at_ms: int
    not_after_ms: int
    table: str
    partition_key: str
    partition_key_type: str
    lease_ms: int
    evidence: Evidence


_ENVELOPE_FIELDS = ("version", "type")
_ACTION_FIELDS = tuple(SuspendAction.__dataclass_fields__)
_EVIDENCE_FIELDS = tuple(Evidence.__dataclass_fields__)


def suspend_action_id(
    *,
    table: str,
    partition_key: str,
    partition_key_type: str,
    window_start_ms: int,
    issued_at_ms: int,
    lease_ms: int,
) -> str:
    """32 hexadecimal characters that depend only on what was decided.

    `decision_seq` is no part of it: a job that lost its state decides the same thing under another number,
    and the actuator must recognise it.
    """
    decided = [
        ActionType.SUSPEND,
        table,
        partition_key,
        partition_key_type,
        window_start_ms,
        issued_at_ms,
        lease_ms,
    ]
    return hashlib.sha256(json.dumps(decided).encode("ascii")).hexdigest()[:32]


def encode(action: SuspendAction) -> bytes:
    """The message of an action, always the same bytes for the same action, without a line end.

    Raises:
        MalformedActionError: The message would be larger than 64 KiB. A partition key cannot cause it, for
            DynamoDB limits it to 2,048 bytes; a rule's name of tens of thousands of characters can.
    """
    fields = {"version": VERSION, "type": ActionType.SUSPEND, **asdict(action)}
    text = json.dumps(fields, ensure_ascii=False)
    message = _UNSENDABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()
    _require_size(message)
    return message


def decode(message: bytes) -> SuspendAction:
    """The action in a message, once every field has been checked.

    Raises:
        MalformedActionError: It is larger than 64 KiB, not UTF-8, not one JSON object, or has a missing,
            unknown, repeated, wrongly typed or impossible field.
        UnknownActionError: Its version or type is of another release.
    """
    _require_size(message)
    fields = _parse(message)
    _require_known(fields)
    _require_fields(fields, (*_ENVELOPE_FIELDS, *_ACTION_FIELDS), "the action")
    issued_at_ms = _integer(fields, "issued_at_ms")
    return SuspendAction(
        action_id=_action_id(fields),
        decision_seq=_integer(fields, "decision_seq", least=1),
        issued_at_ms=issued_at_ms,
        not_after_ms=_integer(fields, "not_after_ms", least=issued_at_ms),
        table=_text(fields, "table"),
        partition_key=_text(fields, "partition_key"),
        partition_key_type=_key_type(fields),
        lease_ms=_integer(fields, "lease_ms", least=1),
        evidence=_evidence(fields["evidence"]),
    )


def _evidence(fields: object) -> Evidence:
    if not isinstance(fields, dict):
        _refuse("evidence is not an object")
    _require_fields(fields, _EVIDENCE_FIELDS, "evidence")
    window_start_ms = _integer(fields, "window_start_ms")
    return Evidence(
        window_start_ms=window_start_ms,
        window_end_ms=_integer(fields, "window_end_ms", least=window_start_ms + 1),
        consumed_wcu=_integer(fields, "consumed_wcu", least=0),
        writes=_integer(fields, "writes", least=0),
        limit_wcu=_integer(fields, "limit_wcu", least=0),
        rule=_text(fields, "rule"),
    )


def _parse(message: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(message.decode(), object_pairs_hook=_without_repeats)
    except MalformedActionError:
        raise
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError, JSONDecodeError and an integer too long to convert are all ValueError.
        reason = f"not JSON in UTF-8: {error}"
        raise MalformedActionError(reason) from error
    if not isinstance(fields, dict):
        _refuse("not a JSON object")
    return fields


def _without_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            _refuse(f"{name[:40]!r} is there twice")
        fields[name] = value
    return fields


def _require_size(message: bytes) -> None:
    if len(message) > MAX_MESSAGE_BYTES:
        _refuse(f"{len(message)} bytes are more than {MAX_MESSAGE_BYTES}")


def _require_known(fields: Mapping[str, Any]) -> None:
    version, action_type = (fields.get(name) for name in _ENVELOPE_FIELDS)
    if type(version) is not int or not isinstance(action_type, str):
        _refuse("version is not an integer or type not a string")
    if version != VERSION or action_type != ActionType.SUSPEND:
        message = f"version {version}, type {action_type[:40]!r}"
        raise UnknownActionError(message)


def _require_fields(fields: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    if wrong := fields.keys() ^ set(names):
        _refuse(f"{where} has missing or unknown fields: {sorted(wrong)!r:.200}")


def _integer(fields: Mapping[str, Any], name: str, *, least: int = -_LARGEST_INTEGER) -> int:
    value = fields[name]
    # bool is a subclass of int, and true is no number
    if type(value) is not int or not least <= value <= _LARGEST_INTEGER:
        _refuse(f"{name} is not an integer from {least} to {_LARGEST_INTEGER}")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str) or not value:
        _refuse(f"{name} is not a string, or is empty")
    return value


def _action_id(fields: Mapping[str, Any]) -> str:
    value = _text(fields, "action_id")
    if not _ACTION_ID.fullmatch(value):
        _refuse("action_id is not 32 hexadecimal characters")
    return value


def _key_type(fields: Mapping[str, Any]) -> str:
    value = _text(fields, "partition_key_type")
    if value not in _KEY_TYPES:
        _refuse("partition_key_type is not S, N or B")
    return value


def _refuse(reason: str) -> NoReturn:
    raise MalformedActionError(reason)
