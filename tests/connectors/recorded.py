"""Change records, the forms that files hold them in, and what is read back from such a file."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from connectors.recordings.chunks import Chunk, Fault, read_chunks
from connectors.recordings.envelopes import expand
from connectors.recordings.files import RecordingFile, find_recordings

AT_MS = 1_763_000_000_000


def change(at_ms: int = AT_MS, key: str = "k", size: int = 40, **fields: Any) -> dict[str, Any]:
    """An INSERT into the table `visits` of an item of about this size; `fields` take the place of its own."""
    image = {"id": {"S": key}, "note": {"S": "x" * size}}
    written = {
        "ApproximateCreationDateTime": at_ms,
        "Keys": {"id": {"S": key}},
        "NewImage": image,
        "SizeBytes": 2 * (2 + len(key.encode())) + 4 + size,
    }
    whole = {"eventID": f"e-{key}-{at_ms}", "eventName": "INSERT", "tableName": "visits", "eventSource": "aws:dynamodb"}
    inner = {name: value for name, value in fields.items() if name[0].isupper()}
    outer = {name: value for name, value in fields.items() if name[0].islower()}
    return whole | {"dynamodb": written | inner} | outer


def written(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def record(at_ms: int = AT_MS, key: str = "k", size: int = 40, **fields: Any) -> bytes:
    return written(change(at_ms, key, size, **fields))


def pretty(document: bytes) -> bytes:
    return json.dumps(json.loads(document), ensure_ascii=False, indent=2).encode()


def lambda_event(records: Sequence[bytes]) -> bytes:
    return written(
        {
            "Records": [
                {
                    "kinesis": {"data": b64encode(each).decode(), "approximateArrivalTimestamp": 1763000000.5},
                    "eventSource": "aws:kinesis",
                    "eventName": "aws:kinesis:record",
                    "eventID": f"shardId-000000000003:{number}",
                }
                for number, each in enumerate(records)
            ]
        }
    )


def get_records_answer(records: Sequence[bytes]) -> bytes:
    entries = [{"SequenceNumber": "7", "Data": b64encode(each).decode(), "PartitionKey": "p"} for each in records]
    return written({"NextShardIterator": "AAAA", "MillisBehindLatest": 0, "Records": entries})


def firehose_event(records: Sequence[bytes]) -> bytes:
    entries = [{"recordId": str(number), "data": b64encode(each).decode()} for number, each in enumerate(records)]
    return written({"invocationId": "i-1", "deliveryStreamArn": "arn:aws:firehose:x", "records": entries})


FORMS: dict[str, Callable[[Sequence[bytes]], bytes]] = {
    "lines": lambda records: b"".join(each + b"\n" for each in records),
    "lines ended by CRLF": lambda records: b"".join(each + b"\r\n" for each in records),
    "lines without the last line feed": lambda records: b"\n".join(records),
    "lines with blank ones between": lambda records: b"\n\n  \n".join(records) + b"\n\n",
    "lines after a byte order mark": lambda records: b"\xef\xbb\xbf" + b"".join(each + b"\n" for each in records),
    "lines of two": lambda records: b"".join(
        b"".join(records[at : at + 2]) + b"\n" for at in range(0, len(records), 2)
    ),
    "lines with commas": lambda records: b"".join(each + b",\n" for each in records),
    "concatenated": b"".join,
    "concatenated and a line feed": lambda records: b"".join(records) + b"\n",
    "concatenated after a byte order mark": lambda records: b"\xef\xbb\xbf" + b"".join(records),
    "files with byte order marks, one after another": lambda records: b"".join(
        b"\xef\xbb\xbf" + each for each in records
    ),
    "pretty-printed": lambda records: b"\n".join(map(pretty, records)),
    "pretty-printed, concatenated": lambda records: b"".join(map(pretty, records)),
    "an array": lambda records: b"[" + b",".join(records) + b"]",
    "an array over lines": lambda records: b"[\n" + b",\n".join(records) + b"\n]\n",
    "a pretty-printed array": lambda records: pretty(b"[" + b",".join(records) + b"]"),
    "arrays": lambda records: b"".join(b"[" + each + b"]\n" for each in records),
    "arrays over lines": lambda records: b"".join(b"[\n" + each + b"\n]\n" for each in records),
    "a Lambda event": lambda_event,
    "a pretty-printed Lambda event": lambda records: pretty(lambda_event(records)),
    "Lambda events by the line": lambda records: b"".join(lambda_event([each]) + b"\n" for each in records),
    "Lambda events concatenated": lambda records: b"".join(lambda_event([each]) for each in records),
    "an array of Lambda events": lambda records: b"[" + b",".join(lambda_event([each]) for each in records) + b"]",
    "an answer of GetRecords": get_records_answer,
    "a Firehose event": firehose_event,
    "a pretty-printed Firehose event": lambda records: pretty(firehose_event(records)),
}
"""Ways to write the same records, at least one of them."""


def described(path: Path) -> RecordingFile:
    [file] = find_recordings([path])
    return file


def documents_in(chunks: Sequence[Chunk]) -> list[tuple[int, bytes]]:
    """All records with their places, envelopes opened."""
    found = []
    for chunk in chunks:
        for document, place in zip(chunk.documents, chunk.places(), strict=True):
            inside = expand(document)
            if inside is None:
                found.append((place, document.strip()))
            else:
                found += [(place + part.offset, part.data) for part in inside]
    return found


def read(path: Path, block_bytes: int | None = None) -> tuple[list[tuple[int, bytes]], list[Fault]]:
    """The records of a file with their places, and its faults."""
    chunks = list(read_chunks(described(path), block_bytes=block_bytes))
    return documents_in(chunks), [chunk.fault for chunk in chunks if chunk.fault is not None]


def records_of(path: Path, block_bytes: int | None = None) -> list[bytes]:
    """The records of a file that has no faults."""
    found, faults = read(path, block_bytes)
    assert faults == []
    return [data for _, data in found]


def store(path: Path, content: bytes, *, compress: bool = False) -> Path:
    path.write_bytes(gzip.compress(content, 6) if compress else content)
    return path
