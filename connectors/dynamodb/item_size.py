"""Sizes of DynamoDB items to the byte, as its change stream counts them.

Source: Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats" (CapacityUnitCalculations) for
what each type weighs. That number digits are paired at the decimal point, and that binaries are in base64
twice, is not in the guide; both were found by comparing with the ``SizeBytes`` of captured records.
"""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Callable
from typing import Any, Final

from connectors.dynamodb.errors import MalformedRecordError, shown

MAX_NESTING: Final = 32
"""Levels of maps and lists in an item. Source: Developer Guide, ServiceQuotas, "Nested attribute depth"."""

WRITE_UNIT_BYTES: Final = 1024
CONTAINER_BYTES: Final = 3
ELEMENT_BYTES: Final = 1

_NUMBER = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
_MAX_DIGITS: Final = 38
_HIGHEST_EXPONENT: Final = 125
_LOWEST_EXPONENT: Final = -130
_MAX_NUMBER_CHARS: Final = 180  # the longest that is in range, written out, has 170


def number_bytes(text: str) -> int:
    """Return the size of a number in bytes.

    Significant digits are kept in pairs aligned at the decimal point, one byte a pair: ``123`` is ``01 23``,
    ``1230`` is ``12 30``, ``12300`` is ``01 23``. One byte more for the exponent, one more when negative;
    zero is one byte.

    Source: Developer Guide, CapacityUnitCalculations ("approximately 1 byte per two significant digits + 1
    byte"); HowItWorks.NamingRulesDataTypes, "Number": 38 digits, magnitude from 1E-130 to 9.99...E+125.

    Raises:
        MalformedRecordError: DynamoDB cannot have written this.
    """
    if text == "0":
        return 1
    length = len(text)
    if length <= _MAX_DIGITS and text.isdigit() and text[0] != "0" and text.isascii():
        return (length - 1) // 2 - (length - len(text.rstrip("0"))) // 2 + 2
    matched = _NUMBER.fullmatch(text) if length <= _MAX_NUMBER_CHARS else None
    if matched is None:
        reason = f"not a number: {shown(text)}"
        raise MalformedRecordError(reason)
    sign, whole, fraction, exponent = matched.groups("")
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return 1
    significant = digits.rstrip("0")
    if len(significant) > _MAX_DIGITS:
        reason = f"a number of {len(significant)} significant digits, DynamoDB keeps {_MAX_DIGITS}"
        raise MalformedRecordError(reason)
    highest = int(exponent or "0") - len(fraction) + len(digits) - 1
    lowest = highest - len(significant) + 1
    if not _LOWEST_EXPONENT <= highest <= _HIGHEST_EXPONENT:
        reason = f"a number beyond the range of DynamoDB: {shown(text)}"
        raise MalformedRecordError(reason)
    return highest // 2 - lowest // 2 + 2 + len(sign)


def binary_bytes(text: object) -> int:
    """Return the size in bytes of a binary value of the stream.

    Raises:
        MalformedRecordError: the value is not base64 of base64.
    """
    return len(_base64_decoded(_base64_decoded(text)))


def binary_text(text: object) -> str:
    """Return a binary value of the stream as other tools show it: in base64 once.

    The stream to Kinesis encodes binaries twice; a captured ``B`` decodes to base64 text, and only that
    decodes to the bytes in the table, which are what ``SizeBytes`` counts.

    Raises:
        MalformedRecordError: the value is not base64 of base64.
    """
    once = _base64_decoded(text)
    _base64_decoded(once)
    return once.decode("ascii")


def attribute_value_bytes(value: object, depth: int = 1) -> int:
    """Return the size in bytes of one attribute value, such as ``{"S": "open"}``, without its name.

    Strings weigh their UTF-8 bytes, binaries the bytes in the table, booleans and nulls 1, sets the sum of
    their members, maps and lists 3 plus, for each element, its size (in a map with its name) plus 1.

    Source: Developer Guide, CapacityUnitCalculations.

    Args:
        value: the JSON of an attribute value.
        depth: on which level of nesting the value stands; 1 is an attribute of the item.

    Raises:
        MalformedRecordError: DynamoDB cannot have written this; its path leads from ``value`` inwards.
    """
    if type(value) is not dict or len(value) != 1:
        reason = f"not an attribute value of exactly one type: {shown(value)}"
        raise MalformedRecordError(reason)
    (tag,) = value
    body = value[tag]
    # Most values are short strings and numbers: they take the shortest way.
    if type(body) is str:
        if tag == "S" and body.isascii():
            return len(body)
        if tag == "N":
            return number_bytes(body)
    weigh = _WEIGHERS.get(tag)
    if weigh is None:
        reason = f"unknown attribute type {shown(tag)}"
        raise MalformedRecordError(reason)
    return weigh(body, depth)


def item_bytes(image: dict[str, Any]) -> int:
    """Return the size in bytes of an item or of its keys: names and values of all attributes.

    Source: Developer Guide, CapacityUnitCalculations. The 100 bytes an item that AWS adds are for storage,
    not for capacity.

    Raises:
        MalformedRecordError: DynamoDB cannot have written this; its path begins with the attribute's name.
    """
    return _named_values_bytes(image, 1)


def write_capacity_units(item_bytes: int) -> int:
    """Return the write capacity units of one write of an item this large: one per started KiB, at least 1.

    Source: Developer Guide, read-write-operations, "Write operations".

    Raises:
        ValueError: the size is negative.
    """
    if item_bytes < 0:
        reason = f"an item of {item_bytes} bytes"
        raise ValueError(reason)
    return max(1, -(-item_bytes // WRITE_UNIT_BYTES))


def _named_values_bytes(values: dict[str, Any], depth: int) -> int:
    total = 0
    for name, value in values.items():
        try:
            total += len(name) if name.isascii() else _string_bytes(name)
            total += attribute_value_bytes(value, depth)
        except MalformedRecordError as error:
            located = error.within(name)
            raise located from None
    return total


def _members_bytes(tag: str, members: list[Any], weigh: Callable[[Any], int]) -> int:
    total = 0
    for index, member in enumerate(members):
        try:
            total += weigh(member)
        except MalformedRecordError as error:
            located = error.within(f"{tag}[{index}]")
            raise located from None
    return total


def _string_bytes(body: Any) -> int:
    if type(body) is not str:
        reason = f"not a string: {shown(body)}"
        raise MalformedRecordError(reason)
    if body.isascii():
        return len(body)
    try:
        return len(body.encode())
    except UnicodeEncodeError:
        reason = f"half of a surrogate pair in the string {shown(body)}"
        raise MalformedRecordError(reason) from None


def _number_value_bytes(body: Any) -> int:
    if type(body) is not str:
        reason = f"a number has to be written as a string: {shown(body)}"
        raise MalformedRecordError(reason)
    return number_bytes(body)


def _base64_decoded(text: object) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)  # type: ignore[arg-type]  # whatever the record holds
    except (TypeError, ValueError):
        reason = f"not base64 of base64: {shown(text)}"
        raise MalformedRecordError(reason) from None


def _boolean_bytes(body: Any, _depth: int) -> int:
    if type(body) is not bool:
        reason = f"neither true nor false: {shown(body)}"
        raise MalformedRecordError(reason)
    return 1


def _map_bytes(body: Any, depth: int) -> int:
    if type(body) is not dict:
        reason = f"not an object: {shown(body)}"
        raise MalformedRecordError(reason)
    _refuse_deeper_than_an_item(depth)
    try:
        return CONTAINER_BYTES + ELEMENT_BYTES * len(body) + _named_values_bytes(body, depth + 1)
    except MalformedRecordError as error:
        located = error.within("M")
        raise located from None


def _list_bytes(body: Any, depth: int) -> int:
    if type(body) is not list:
        reason = f"not an array: {shown(body)}"
        raise MalformedRecordError(reason)
    _refuse_deeper_than_an_item(depth)
    elements = _members_bytes("L", body, lambda value: attribute_value_bytes(value, depth + 1))
    return CONTAINER_BYTES + ELEMENT_BYTES * len(body) + elements


def _refuse_deeper_than_an_item(depth: int) -> None:
    if depth > MAX_NESTING:
        reason = f"maps and lists nested deeper than {MAX_NESTING} levels"
        raise MalformedRecordError(reason)


def _set_bytes(tag: str, body: Any, weigh_member: Callable[[Any], int]) -> int:
    if type(body) is not list or not body:
        reason = f"not an array of at least one member: {shown(body)}"
        raise MalformedRecordError(reason)
    return _members_bytes(tag, body, weigh_member)


_WEIGHERS: Final[dict[str, Callable[[Any, int], int]]] = {
    "S": lambda body, _depth: _string_bytes(body),
    "N": lambda body, _depth: _number_value_bytes(body),
    "B": lambda body, _depth: binary_bytes(body),
    "BOOL": _boolean_bytes,
    "NULL": _boolean_bytes,
    "M": _map_bytes,
    "L": _list_bytes,
    "SS": lambda body, _depth: _set_bytes("SS", body, _string_bytes),
    "NS": lambda body, _depth: _set_bytes("NS", body, _number_value_bytes),
    "BS": lambda body, _depth: _set_bytes("BS", body, binary_bytes),
}
