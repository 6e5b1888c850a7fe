"""The payload of a record of a change stream as JSON, within what Kinesis carries and an item can nest. Pure."""

import re
from typing import Any, Final

import msgspec

from connectors.dynamodb.errors import MalformedRecordError, shown
from connectors.dynamodb.item_size import MAX_NESTING

MAX_RECORD_BYTES: Final = 10 * 1024 * 1024
"""The largest payload of a Kinesis record. Source: Kinesis Developer Guide, service-sizes-and-limits."""

# Record, "dynamodb" and image, then two JSON levels for each map or list, then a value and its set.
_MAX_JSON_NESTING: Final = 3 + 2 * MAX_NESTING + 2
_TOO_MANY_IN_A_ROW: Final = b"{" * (_MAX_JSON_NESTING + 1)
# A decoder recurses once a level, on whatever stack its thread has (Flink's are smaller than Python's own):
# this many levels are safe on any, and most records have fewer brackets in all.
_SAFE_NESTING: Final = 400
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS_AS_BRACES: Final = bytes.maketrans(b"[]", b"{}")
_ALL_BUT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))


def decoded_record(record: bytes | memoryview) -> dict[str, Any]:
    """The record as a JSON object.

    Raises:
        MalformedRecordError: It is too long, nested too deep, or none.
    """
    if len(record) > MAX_RECORD_BYTES:
        reason = f"a record of {len(record):,} bytes: Kinesis carries at most {MAX_RECORD_BYTES:,}"
        raise MalformedRecordError(reason)
    text = bytes(record)
    if _nested_too_deep(text):
        reason = f"nested deeper than the {MAX_NESTING} levels of an item"
        raise MalformedRecordError(reason)
    try:
        text.decode()  # first, so that bad bytes are named as such wherever they are
        decoded = msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        reason = f"not valid UTF-8 at byte {error.start}"
        raise MalformedRecordError(reason) from None
    except (msgspec.DecodeError, RecursionError) as error:
        reason = f"not valid JSON: {error}"
        raise MalformedRecordError(reason) from None
    if not isinstance(decoded, dict):
        reason = f"not a JSON object: {shown(decoded)}"
        raise MalformedRecordError(reason)
    return decoded


def _nested_too_deep(text: bytes) -> bool:
    if text.count(b"{") + text.count(b"[") <= _SAFE_NESTING:
        return False
    braces = _STRING.sub(b"", text).translate(_BRACKETS_AS_BRACES, _ALL_BUT_BRACKETS)
    if _TOO_MANY_IN_A_ROW in braces:
        return True
    for _level in range(_MAX_JSON_NESTING):
        outer = braces.replace(b"{}", b"")
        if len(outer) == len(braces):
            break
        braces = outer
    # What remains of a record cut short is its open brackets, and those are for the decoder to complain of.
    return braces.count(b"{") > _SAFE_NESTING
