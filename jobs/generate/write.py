"""Recordings as files: one or several, plain or gzip, in any form that Headroom reads. Whole or not made."""

import gzip
import json
import re
import shutil
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from hashlib import sha256
from itertools import islice
from os import getpid
from pathlib import Path
from typing import IO, Final
from zlib import crc32

_RECORDS_A_WRITE: Final = 256
_RECORDS_AN_ENVELOPE: Final = 100
_SHARD_NAME: Final = re.compile(r"shard-\d{3,}\.jsonl(\.gz)?")
_TIME: Final = re.compile(rb'"ApproximateCreationDateTime":(\d{13})')
_FIRST_SEQUENCE_NUMBER: Final = 49_650_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000


class Form(StrEnum):
    """How records stand in a file.

    `concatenated` has nothing between them, as Firehose leaves it; `envelope` is what a Lambda function
    gets from Kinesis, one invocation a line.
    """

    LINES = "lines"
    CONCATENATED = "concatenated"
    ENVELOPE = "envelope"


def obstacle(out: Path, *, shards: int | None, force: bool) -> str | None:
    """Why a recording cannot be written there, in words that follow its name, or None."""
    if not out.parent.is_dir():
        return f"cannot be made: there is no directory {out.parent}"
    if not out.exists():
        return None
    if not out.is_file() and not out.is_dir():
        return "is neither a file nor a directory: it is left alone"
    if out.is_dir() != (shards is not None):
        return "is a directory, and one file was asked for" if out.is_dir() else "is a file, not a directory for shards"
    if out.is_dir() and not all(_SHARD_NAME.fullmatch(path.name) for path in out.iterdir()):
        return "is a directory with other files than shards of a recording: it is left alone"
    return None if force else "exists already"


def write_recording(
    records: Iterable[bytes],
    out: Path,
    *,
    form: Form,
    compress: bool,
    shards: int | None,
    on_progress: Callable[[int], None],
) -> tuple[int, int]:
    """Numbers of records and bytes written to `out`: to one file, or with `shards` to so many in a directory.

    All changes of an item are in the same shard. What was at `out` is replaced when everything is written.
    `on_progress` is told every now and then how many records were added.

    Raises:
        OSError: what stood in the way of writing; `out` is as it was.
    """
    framed = _framed_by(form)
    source = iter(records)
    written = 0
    with _staged(out) as stage:
        paths = [stage] if shards is None else _shard_paths(stage, shards, compress=compress)
        with ExitStack() as stack:
            files = [stack.enter_context(_opened(path, compress=compress)) for path in paths]
            while batch := list(islice(source, _RECORDS_A_WRITE * len(files))):
                for file, part in zip(files, _sharded(batch, len(files)), strict=True):
                    file.write(framed(part))
                written += len(batch)
                on_progress(len(batch))
        size_bytes = sum(path.stat().st_size for path in paths)
    return written, size_bytes


def _shard_paths(directory: Path, shards: int, *, compress: bool) -> Sequence[Path]:
    directory.mkdir()
    suffix = ".jsonl.gz" if compress else ".jsonl"
    return [directory / f"shard-{number:03d}{suffix}" for number in range(shards)]


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A path beside `out` that takes its place at the end, and is removed when that is not reached."""
    stage = out.with_name(f".{out.name}.{getpid()}.partial")
    try:
        yield stage
        if out.is_dir():
            former = out.with_name(f".{out.name}.{getpid()}.former")
            out.rename(former)
            stage.rename(out)
            _remove(former)
        else:
            stage.replace(out)
    finally:
        _remove(stage)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, *, compress: bool) -> Iterator[IO[bytes]]:
    with path.open("xb") as plain:
        if not compress:
            yield plain
            return
        # Neither a name nor a time in the header: the same records give the same file.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=plain, mtime=0) as compressed:
            yield compressed  # type: ignore[misc]  # typeshed: not an IO, but all of one that is used


def _sharded(batch: list[bytes], shards: int) -> Sequence[list[bytes]]:
    if shards == 1:
        return [batch]
    parts: list[list[bytes]] = [[] for _ in range(shards)]
    for record in batch:
        # Kinesis distributes by a hash of the primary key.
        start = record.find(b'"Keys":')
        parts[crc32(record[start : record.find(b"}},", start)]) % shards].append(record)
    return parts


def _framed_by(form: Form) -> Callable[[Sequence[bytes]], bytes]:
    if form is Form.CONCATENATED:
        return b"".join
    if form is Form.LINES:
        return lambda records: b"".join([record + b"\n" for record in records])
    return _Envelopes().framed


class _Envelopes:
    def __init__(self) -> None:
        self._records = 0
        self._newest_ms = 0

    def framed(self, records: Sequence[bytes]) -> bytes:
        lines = (
            json.dumps({"Records": list(map(self._enveloped, records[start : start + _RECORDS_AN_ENVELOPE]))})
            for start in range(0, len(records), _RECORDS_AN_ENVELOPE)
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def _enveloped(self, record: bytes) -> dict[str, object]:
        self._records += 1
        told = _TIME.search(record)
        self._newest_ms = max(self._newest_ms, int(told[1]) if told else 0)
        sequence_number = str(_FIRST_SEQUENCE_NUMBER + self._records)
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": sha256(record).hexdigest()[:32].upper(),
                "sequenceNumber": sequence_number,
                "data": b64encode(record).decode(),
                "approximateArrivalTimestamp": self._newest_ms / 1_000,
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"shardId-000000000000:{sequence_number}",
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/headroom-example",
            "awsRegion": "eu-west-1",
            "eventSourceARN": "arn:aws:kinesis:eu-west-1:123456789012:stream/headroom-example",
        }
