"""The forms a recording comes in, and how its bytes fall apart into single documents. Pure.

A document is one JSON text: a change record, or an envelope that carries several.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

GZIP_MAGIC = b"\x1f\x8b"
PARQUET_MAGIC = b"PAR1"

# A closing brace, then the opening of an object: the only place where one JSON object follows another without a
# delimiter. Inside a string a quote is escaped, so this matches there only after a string that ends in `}{`,
# which `split_documents` undoes.
_BETWEEN_DOCUMENTS = re.compile(rb"\}\s*(?=\{\s*\"[^\"\\]*\"\s*:)")
_CAN_START_A_DOCUMENT = re.compile(rb"\{\s*\"[^\"\\]*\"\s*:")


# An object or an array that the word "records" stands in near its beginning, or an array.
_CAN_BE_AN_ENVELOPE = re.compile(rb"\s*(?:\[|\{(?s:.{0,4096}?)\"[Rr]ecords\"\s*:)")
# Arrival times below the one are seconds, and beyond the other no times at all.
_FAR_FUTURE_S = 1e11
_FAR_FUTURE_MS = 1e14
# A string with more boundaries inside than this is not looked for: the search costs their number times their length.
_MOST_JOINED = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Form(StrEnum):
    """How documents stand in a file."""

    LINES = "lines"  # one document, or several without a delimiter, on each line
    DOCUMENTS = "documents"  # documents one after another, over as many lines as they like
    PARQUET = "parquet"  # a column `data` with one document in each row


@dataclass(frozen=True, slots=True)
class Part:
    """One record taken out of a document that holds several.

    Attributes:
        offset: Where it, or the envelope it came in, begins in the document, bytes.
        arrival_ms: When it arrived in its stream, where the envelope says so.
    """

    data: bytes
    offset: int = 0
    arrival_ms: int | None = None


def is_document(text: bytes) -> bool:
    """Whether the bytes are exactly one JSON value (bytes that are not UTF-8 are left to the decoder)."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def form_of(head: bytes) -> Form:
    """The form of a file that begins with these bytes (decompressed; a few KiB past its first record is enough)."""
    if head.startswith(PARQUET_MAGIC):
        return Form.PARQUET
    first_lines = head.split(b"\n", 64)
    whole_lines = first_lines if len(first_lines) == 1 else first_lines[:-1]
    if any(line.strip() and is_document(line) for line in whole_lines):
        return Form.LINES
    start = head.removeprefix(_BYTE_ORDER_MARK).lstrip()
    return Form.DOCUMENTS if _CAN_START_A_DOCUMENT.match(start) or start.startswith(b"[") else Form.LINES


def document_starts(text: bytes) -> list[int]:
    """Where in the text a document may start, the first at 0: after each closing brace that an object follows."""
    return [0, *(match.end() for match in _BETWEEN_DOCUMENTS.finditer(text))]


def split_documents(text: bytes) -> list[Part]:
    """The documents of a text that holds several without a delimiter.

    A part that is no document by itself is joined with the parts after it until the whole is one (the boundary lay
    inside a string); where a later part is one by itself, what came before it is broken, and is a part of its own.
    """
    starts = document_starts(text)
    ends = [*starts[1:], len(text)]
    documents: list[Part] = []
    first = 0
    while first < len(starts):
        last = _last_part_of_document(text, starts, ends, first)
        documents.append(Part(text[starts[first] : ends[last]].strip(), starts[first]))
        first = last + 1
    return documents


def _last_part_of_document(text: bytes, starts: list[int], ends: list[int], first: int) -> int:
    if is_document(text[starts[first] : ends[first]]):
        return first
    for last in range(first + 1, min(first + _MOST_JOINED, len(starts))):
        if is_document(text[starts[last] : ends[last]]):
            return first
        if is_document(text[starts[first] : ends[last]]):
            return last
    return first


def expand(document: bytes) -> list[Part] | None:
    """The records in a document that holds none or several, or None where it is one by itself, sound or not.

    A blank document holds none; several stand in it without a delimiter, in an envelope, or both.
    """
    text = document.removeprefix(_BYTE_ORDER_MARK).strip()
    if not text:
        return []
    documents = split_documents(text)
    parts = [part for each in documents for part in _opened(each)]
    same = len(parts) == 1 and parts[0].data == document
    return None if same else parts


def _opened(document: Part) -> list[Part]:
    inside = open_envelope(document.data)
    return [document] if inside is None else [Part(part.data, document.offset, part.arrival_ms) for part in inside]


def open_envelope(document: bytes) -> list[Part] | None:
    """The records inside an envelope, or None where the document is not one.

    Envelopes known: the event of a Lambda function on a Kinesis stream (`Records[].kinesis.data`), the answer of
    Kinesis GetRecords (`Records[].Data`), the event of a Firehose transformation (`records[].data`), and a JSON array
    of records or of any of these. An entry whose data is not base64 is handed on as the entry's own JSON text, so
    that the decoder refuses it with its reason and nothing is lost.
    """
    if not _CAN_BE_AN_ENVELOPE.match(document):
        return None
    try:
        value = msgspec.json.decode(document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(value, list):
        return [part for entry in value for part in _entry_parts(entry)]
    records = _records_of(value)
    return None if records is None else [_open_entry(entry) for entry in records]


def _records_of(value: Any) -> list[Any] | None:
    if isinstance(value, dict) and "dynamodb" not in value:
        for name in ("Records", "records"):
            if isinstance(value.get(name), list):
                return list(value[name])
    return None


def _entry_parts(entry: Any) -> list[Part]:
    records = _records_of(entry)
    return [_open_entry(entry)] if records is None else [_open_entry(record) for record in records]


def _open_entry(entry: Any) -> Part:
    plain = Part(msgspec.json.encode(entry))
    if not isinstance(entry, dict):
        return plain
    holder = entry["kinesis"] if isinstance(entry.get("kinesis"), dict) else entry
    data = holder.get("data", holder.get("Data"))
    if not isinstance(data, str):
        return plain
    try:
        return Part(base64.b64decode(data, validate=True), 0, _arrival_ms(holder))
    except binascii.Error:
        return plain


def _arrival_ms(holder: dict[str, Any]) -> int | None:
    """Milliseconds of an arrival time: Lambda writes seconds with a fraction, Firehose milliseconds."""
    names = ("approximateArrivalTimestamp", "ApproximateArrivalTimestamp")
    arrival = next((holder[name] for name in names if name in holder), None)
    if isinstance(arrival, bool) or not isinstance(arrival, int | float) or not 0 < arrival < _FAR_FUTURE_MS:
        return None
    return int(arrival if arrival > _FAR_FUTURE_S else round(arrival * 1000))
