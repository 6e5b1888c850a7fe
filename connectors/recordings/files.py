"""Recording files: which files a path means, and their bytes, decompressed, block by block. I/O."""

import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.recordings.documents import first_value_end
from connectors.recordings.forms import GZIP_MAGIC, Form, form_of
from connectors.recordings.parquet import why_not_a_recording

BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 18
_MOST_HEAD_BYTES = 16 << 20


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

    Below a directory, hidden files and the empty markers that jobs leave beside their output (`_SUCCESS`) are passed
    over.

    Raises:
        RecordingError: a path is missing or cannot be read, or a directory holds no file.
    """
    found: dict[str, RecordingFile] = {}
    for path in map(Path, paths):
        try:
            for file in _files_below(path):
                found.setdefault(str(file.resolve()), _describe(file))
        except OSError as error:
            message = f"{error.filename or path}: {error.strerror or error}"
            raise RecordingError(message) from error
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
    problem = _why_not_readable(path)
    if problem is not None:
        message = f"{path}: {problem}"
        raise RecordingError(message)
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    form = form_of(_head(path, compressed=compressed))
    if form is Form.PARQUET:
        problem = "Parquet inside gzip: decompress it first" if compressed else why_not_a_recording(str(path))
        if problem is not None:
            message = f"{path}: {problem}"
            raise RecordingError(message)
    size_bytes = path.stat().st_size
    content_bytes = _content_bytes(path, size_bytes) if compressed else size_bytes
    return RecordingFile(str(path), size_bytes, content_bytes, compressed, form)


def _why_not_readable(path: Path) -> str | None:
    if not path.is_file():
        # What a pipe has given once it does not give again, and a recording is read twice.
        return "not a regular file"
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "its name is not valid UTF-8"
    return None


def _head(path: Path, *, compressed: bool) -> bytes:
    """Enough of a file to tell its form by: its first line, as a rule."""
    head = b""
    for block in read_blocks(str(path), compressed=compressed, block_bytes=_HEAD_BYTES):
        if isinstance(block, TornGzip):
            break
        head += block
        if (
            b"\n" in block
            or len(head) >= _MOST_HEAD_BYTES
            or (len(head) == len(block) and first_value_end(head) is not None)
        ):
            break
    return head


def _content_bytes(path: Path, size_bytes: int) -> int:
    """What the last four bytes of a gzip file say of its size, which wraps at 4 GiB; never less than its own size."""
    with path.open("rb") as file:
        file.seek(-min(4, size_bytes), os.SEEK_END)
        return max(size_bytes, int.from_bytes(file.read(4), "little"))


def read_blocks(
    path: str, *, compressed: bool, start: int = 0, end: int | None = None, block_bytes: int | None = None
) -> Iterator[bytes | TornGzip]:
    """The file's bytes in blocks of about 1 MiB, decompressed; `start` and `end` only for a file that is not.

    A gzip file may have several members. Where it is cut short or damaged, what could be read comes first and a
    `TornGzip` last.

    Raises:
        OSError: The file cannot be read.
    """
    block_bytes = block_bytes or BLOCK_BYTES
    blocks = _stored_blocks(path, start, end, block_bytes)
    return _gunzip(blocks, block_bytes) if compressed else blocks


def _stored_blocks(path: str, start: int, end: int | None, block_bytes: int) -> Iterator[bytes]:
    # The file is open only while a block is read: a recording can have more files under way than a process may open.
    at = start
    while block := _read_at(path, at, block_bytes if end is None else min(block_bytes, end - at)):
        at += len(block)
        yield block


def _read_at(path: str, at: int, size: int) -> bytes:
    with Path(path).open("rb") as file:
        file.seek(at)
        return file.read(size)


def _gunzip(blocks: Iterable[bytes], block_bytes: int) -> Iterator[bytes | TornGzip]:
    # zlib rather than gzip.open: that one raises at the damage and drops the block it had decompressed so far.
    member = zlib.decompressobj(wbits=31)
    is_between_members = True
    read_bytes = 0
    for stored in blocks:
        read_bytes += len(stored)
        compressed = stored
        while compressed := compressed.lstrip(b"\0") if is_between_members else compressed:
            before = member.copy()
            try:
                block = member.decompress(compressed, block_bytes)
            except zlib.error as error:
                yield from _up_to_damage(before, compressed)
                yield TornGzip(f"the gzip stream is damaged near byte {read_bytes}: {error}")
                return
            is_between_members = member.eof
            compressed = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            if block:
                yield block
    if not is_between_members:
        if rest := member.flush():
            yield rest
        yield TornGzip(f"the gzip stream ends early, at byte {read_bytes} of the file")


def _up_to_damage(member: "zlib._Decompress", compressed: bytes) -> Iterator[bytes]:
    """What a decompressor gives before it fails, fed so little at a time that nothing is lost with the failure."""
    given = bytearray()
    for at in range(len(compressed)):
        try:
            given += member.decompress(compressed[at : at + 1])
        except zlib.error:
            break
        if len(given) >= BLOCK_BYTES:
            yield bytes(given)
            given.clear()
    if given:
        yield bytes(given)
