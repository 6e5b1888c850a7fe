"""Messages of the Spot queues, of whatever kind: one JSON object with a version and a type. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from connectors.actions import MAX_MESSAGE_BYTES, VERSION, MalformedActionError, UnknownActionError
from connectors.fields import FieldError, Fields, read_object, shown

_Message = TypeVar("_Message")


def read_message(content: bytes, readers: Mapping[str, Callable[[Fields], _Message]]) -> _Message:
    """What the reader of its type makes of a message.

    Raises:
        MalformedActionError: It is larger than 64 KiB, not UTF-8, not one JSON object, or the reader refuses a field.
        UnknownActionError: Its version or type is of another release.
    """
    try:
        fields = read_object(content, max_bytes=MAX_MESSAGE_BYTES)
        version, message_type = fields.integer("version"), fields.any_text("type")
        read = readers.get(message_type) if version == VERSION else None
        if read is None:
            reason = f"version {version}, type {shown(message_type)}"
            raise UnknownActionError(reason)
        return read(fields)
    except FieldError as error:
        raise MalformedActionError(str(error)) from error


def require_fields_of(fields: Fields, kind: type[Any]) -> None:
    """Makes sure that a message has the fields of a dataclass beside version and type, and no others.

    Raises:
        FieldError: It has not.
    """
    fields.require_exactly(("version", "type", *kind.__dataclass_fields__))
