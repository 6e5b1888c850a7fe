"""Recording files: which files a path means, and their bytes, decompressed, block by block. I/O."""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from connectors.recordings.forms import GZIP_MAGIC, Form, form_of

BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 18


class RecordingError(Exception):
    """A path that cannot be read as a recording; the message names it and says what is the matter."""


@dataclass(frozen=True, slots=True)
class RecordingFile:
    """One file of a recording.

    Attributes:
        size_bytes: Its size on disk.
        content_bytes: Its size without compression; of a compressed file about that, as its end tells.
    """

    path: str
    size_bytes: int
    content_bytes: int
    compressed: bool
    form: Form


@dataclass(frozen=True, slots=True)
class TornGzip:
    """What follows the last block of a gzip file that ends early or is damaged: where, and what was wrong."""

    reason: str


def find_recordings(paths: Sequence[str | os.PathLike[str]]) -> list[RecordingFile]:
    """The files that the paths mean, sorted by path, each once; a directory means all files below it.

    Hidden files, and the empty markers that jobs leave beside their output (`_SUCCESS`), are passed over.

    Raises:
        RecordingError: a path is missing or cannot be read, or a directory holds no file.
    """
    found: dict[str, RecordingFile] = {}
    for path in paths:
        for file in _files_below(Path(path)):
            found.setdefault(str(file.resolve()), _describe(file))
    return sorted(found.values(), key=lambda file: file.path)


def _files_below(path: Path) -> list[Path]:
    if not path.exists():
        message = f"{path}: no such file or directory"
        raise RecordingError(message)
    if not path.is_dir():
        return [path]
    files = [file for file in path.rglob("*") if file.is_file() and not _is_passed_over(file.relative_to(path))]
    if not files:
        message = f"{path}: the directory holds no recording"
        raise RecordingError(message)
    return files


def _is_passed_over(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts) or relative.name.startswith("_")


def _describe(path: Path) -> RecordingFile:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        compressed = magic.startswith(GZIP_MAGIC)
        head = b""
        for block in read_blocks(str(path), compressed=compressed):
            if isinstance(block, TornGzip):
                break
            head += block
            if len(head) >= _HEAD_BYTES:
                break
        size_bytes = path.stat().st_size
        content_bytes = _content_bytes(path, size_bytes) if compressed else size_bytes
        return RecordingFile(str(path), size_bytes, content_bytes, compressed, form_of(head))
    except OSError as error:
        message = f"{path}: {error.strerror or error}"
        raise RecordingError(message) from error


def _content_bytes(path: Path, size_bytes: int) -> int:
    """What the last four bytes of a gzip file say of its size, which wraps at 4 GiB; never less than its own size."""
    with path.open("rb") as file:
        file.seek(-min(4, size_bytes), os.SEEK_END)
        return max(size_bytes, int.from_bytes(file.read(4), "little"))


def read_blocks(path: str, *, compressed: bool, start: int = 0, end: int | None = None) -> Iterator[bytes | TornGzip]:
    """The file's bytes in blocks of about 1 MiB, decompressed; `start` and `end` only for a file that is not.

    A gzip file may have several members. Where it is cut short or damaged, what could be read comes first and a
    `TornGzip` last.
    """
    with Path(path).open("rb") as file:
        if compressed:
            yield from _gunzip(file)
            return
        file.seek(start)
        left = None if end is None else end - start
        while left is None or left > 0:
            block = file.read(BLOCK_BYTES if left is None else min(BLOCK_BYTES, left))
            if not block:
                return
            left = None if left is None else left - len(block)
            yield block


def _gunzip(file: BinaryIO) -> Iterator[bytes | TornGzip]:
    # zlib rather than gzip.open: that one raises at the damage and drops the block it had decompressed so far.
    stream = zlib.decompressobj(wbits=31)
    compressed = b""
    while compressed or (compressed := file.read(BLOCK_BYTES)):
        try:
            block = stream.decompress(compressed, BLOCK_BYTES)
        except zlib.error as error:
            yield TornGzip(f"the gzip stream is damaged near byte {file.tell()}: {error}")
            return
        if block:
            yield block
        compressed = stream.unconsumed_tail
        if stream.eof:
            compressed = stream.unused_data.lstrip(b"\0")
            stream = zlib.decompressobj(wbits=31)
            if not compressed and not (compressed := file.read(BLOCK_BYTES)):
                return
    yield TornGzip(f"the gzip stream ends early, at byte {file.tell()} of the file")
