"""Records in the envelopes that AWS services deliver them in. Pure.

Known are the event of a Lambda function on a Kinesis stream (`Records[].kinesis.data`) and an entry of one, the answer
of Kinesis GetRecords (`Records[].Data`), the event of a Firehose transformation (`records[].data`), and JSON arrays of
records or of any of these.
"""

import base64
import re
from typing import Final

import msgspec

from connectors.recordings.documents import Part, begins_array, skip_blank, split_documents

# An object in which one of these words stands near the beginning.
_CAN_BE_AN_ENVELOPE: Final = re.compile(rb"\{(?s:.{0,4096}?)\"(?:[Rr]ecords|kinesis)\"\s*:")
_ABSENT: Final = msgspec.Raw(b"")
_NOT_DECODED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Envelope(msgspec.Struct):
    Records: msgspec.Raw = _ABSENT
    records: msgspec.Raw = _ABSENT
    kinesis: msgspec.Raw = _ABSENT
    dynamodb: msgspec.Raw = _ABSENT


class _Entry(msgspec.Struct):
    kinesis: msgspec.Raw = _ABSENT
    data: msgspec.Raw = _ABSENT
    Data: msgspec.Raw = _ABSENT
    dynamodb: msgspec.Raw = _ABSENT


_decode_envelope: Final = msgspec.json.Decoder(_Envelope).decode
_decode_entries: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_entry: Final = msgspec.json.Decoder(_Entry).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def expand(text: bytes) -> list[Part] | None:
    """The records in a text that holds none or several, or None where it is one by itself, sound or not.

    A blank text holds none. Several stand in one without a delimiter, in an array, in an envelope, or in any mix.
    """
    if skip_blank(text) == len(text):
        return []
    documents, _ = split_documents(text, in_array=begins_array(text))
    opened = [(document, open_envelope(document.data)) for document in documents]
    if not opened or (len(opened) == 1 and opened[0][1] is None and documents[0].data == text.strip()):
        return None
    parts: list[Part] = []
    for document, records in opened:
        if records is None:
            parts.append(document)
        else:
            parts.extend(Part(record, document.offset) for record in records)
    return parts


def open_envelope(document: bytes) -> list[bytes] | None:
    """The records inside an envelope, or None where the document is not one.

    Data that is not base64 is handed on as it is, and an entry without data as its own JSON text, so that the decoder
    refuses them with its reason and nothing is lost.
    """
    if not _CAN_BE_AN_ENVELOPE.match(document):
        return None
    try:
        envelope = _decode_envelope(document)
        # A change record has an attribute of that name somewhere inside.
        if envelope.dynamodb is not _ABSENT:
            return None
        if envelope.kinesis is not _ABSENT:
            return [_open_entry(document)]
        entries = _decode_entries(envelope.records if envelope.Records is _ABSENT else envelope.Records)
    except _NOT_DECODED:
        return None
    return [_open_entry(bytes(entry)) for entry in entries]


def _open_entry(entry: bytes) -> bytes:
    try:
        decoded = _decode_entry(entry)
        if decoded.kinesis is not _ABSENT and decoded.dynamodb is _ABSENT:
            holder = bytes(decoded.kinesis)
            decoded = _decode_entry(holder)
            entry = holder
    except _NOT_DECODED:
        return entry
    data = decoded.Data if decoded.data is _ABSENT else decoded.data
    if decoded.dynamodb is not _ABSENT or data is _ABSENT:
        return entry
    # Of empty data the entry tells more.
    return _decoded_data(data) or entry


def _decoded_data(data: msgspec.Raw) -> bytes | None:
    try:
        text = _decode_text(data)
    except _NOT_DECODED:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return text.encode()
