"""Change records as DynamoDB usually writes them, decoded into types, and the sizes of their images.

Quick because it only has to be right about what it accepts: whatever is unusual raises, mostly without saying why,
and the reader in `parse` says what it is.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from connectors.dynamodb.change import MAX_TABLE_NAME_CHARS
from connectors.dynamodb.item_size import CONTAINER_BYTES, ELEMENT_BYTES, binary_bytes, number_bytes

UNUSUAL: Final = (
    msgspec.DecodeError,
    RecursionError,  # skipping takes so little stack that this comes first on any
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What `decode_record` and `image_bytes` raise at what they do not accept."""

_NO_IMAGE: Final = msgspec.Raw(b"")

# A decoder recurses, on whatever stack its thread has, and only a type can bound it. Each level doubles the type, and
# hardly an item is deeper.
_MAX_NESTING: Final = 8


class KeyValue(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """The value of a key attribute; `UNSET` is what it is not."""

    S: str | UnsetType = UNSET
    N: str | UnsetType = UNSET
    B: str | UnsetType = UNSET


# Fields stand in the order in which DynamoDB writes them, which is the quickest to decode. Skipping a field would not
# notice numbers that no reader can represent, so a record with other fields is unusual: a field that AWS adds one day
# has to be added here too.
class StreamRecord(msgspec.Struct, gc=False, forbid_unknown_fields=True, kw_only=True, rename="pascal"):
    """What a record says of the item. Images are JSON, of which nothing else has been looked at, not even its UTF-8."""

    approximate_creation_date_time: int
    keys: dict[str, KeyValue]
    new_image: msgspec.Raw = _NO_IMAGE
    old_image: msgspec.Raw = _NO_IMAGE
    size_bytes: int | None = None
    approximate_creation_date_time_precision: Literal["MILLISECOND", "MICROSECOND"] | None = None


class Record(msgspec.Struct, gc=False, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A record of a change."""

    aws_region: str | None = None
    event_id: str | None = msgspec.field(default=None, name="eventID")
    event_name: Literal["INSERT", "MODIFY", "REMOVE"]
    user_identity: dict[str, str] | None = None
    record_format: Literal["application/json"] | None = None
    table_name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TABLE_NAME_CHARS)]
    dynamodb: StreamRecord
    event_source: Literal["aws:dynamodb"] | None = None


decode_record: Final = msgspec.json.Decoder(Record).decode


def image_bytes(image: msgspec.Raw) -> int | None:
    """The size of an image, exactly as `item_size.item_bytes` has it; None where there is none."""
    if not image:
        return None
    attributes = _decode_image(image)
    return _names_bytes(attributes) + _values_bytes(attributes.values())


def image_difference_bytes(new: msgspec.Raw, old: msgspec.Raw) -> int:
    """How much more the new image weighs than the old one, from the attributes in which they differ alone."""
    before = _split_image(old)
    difference = 0
    for name, value in _split_image(new).items():
        earlier = before.pop(name, None)
        if earlier is None:
            difference += len(name.encode()) + _values_bytes((_decode_value(value),))
        elif earlier != value:
            difference += _values_bytes((_decode_value(value),)) - _values_bytes((_decode_value(earlier),))
    return difference - _names_bytes(before) - _values_bytes(map(_decode_value, before.values()))


def _value_type(levels: int) -> Any:
    body: Any = str | bool | list[str]
    for _level in range(levels):
        value = dict[str, body]
        body = str | bool | list[str | value] | dict[str, value]
    return dict[str, body]


_decode_image: Final = msgspec.json.Decoder(dict[str, _value_type(_MAX_NESTING)]).decode  # type: ignore[misc]  # made at run time
_decode_value: Final = msgspec.json.Decoder(_value_type(_MAX_NESTING)).decode
_split_image: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _names_bytes(names: Iterable[str]) -> int:
    return len("".join(names).encode())


def _values_bytes(values: Iterable[Any]) -> int:
    """The size of attribute values, which are taken apart on the way. A loop for speed: it runs for every attribute."""
    total = 0
    for value in values:
        tag, body = value.popitem()
        if value:
            raise ValueError(tag)
        if tag == "S":
            total += len(body) if body.isascii() else len(body.encode())
        elif tag == "N":
            total += number_bytes(body)
        elif tag == "M":
            total += CONTAINER_BYTES + ELEMENT_BYTES * len(body) + _names_bytes(body) + _values_bytes(body.values())
        elif type(body) is bool and tag in ("BOOL", "NULL"):
            total += 1
        elif type(body) is list and tag == "L":
            total += CONTAINER_BYTES + ELEMENT_BYTES * len(body) + _values_bytes(body)
        else:
            total += _other_bytes(tag, body)
    return total


def _other_bytes(tag: str, body: Any) -> int:
    if tag == "B":
        return binary_bytes(body)
    if type(body) is not list or not body:
        raise ValueError(tag)
    if tag == "SS":
        return _names_bytes(body)
    return sum(map(_MEMBER_BYTES[tag], body))


_MEMBER_BYTES: Final = {"NS": number_bytes, "BS": binary_bytes}
