"""Chunks: the documents of a stretch of a recording, a few hundred at a time, with the place of each. I/O."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from connectors.recordings.documents import Part, begins_array, is_document, split_documents
from connectors.recordings.files import RecordingFile, TornGzip, read_blocks
from connectors.recordings.forms import Form
from connectors.recordings.parquet import read_rows

# Kinesis takes records up to 10 MiB and base64 in an envelope adds a third: far longer is no document.
LONGEST_LINE_BYTES = 64 << 20
LONGEST_DOCUMENT_BYTES = 16 << 20
_KEPT_OF_TOO_LONG_BYTES = 8 << 10
# Very short lines make many documents of one block, and much must be held for each.
_MOST_DOCUMENTS = 8192


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in a file that is no document.

    Attributes:
        place: Where it begins, as with the documents of its chunk.
        record: The first of its bytes, where it has any.
    """

    reason: str
    place: int
    record: bytes = b""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents that stand together.

    Attributes:
        documents: The bytes of each, blank ones included where a form has them.
        start: The place of the first: its byte in the decompressed file, or its row.
        starts: The place of each; None where one line feed stands between them.
        read_bytes: How much of the file was read for this chunk, for progress (decompressed).
        fault: What comes after these documents and is none, if anything.
        in_rows: Whether places are rows of Parquet, not bytes.
    """

    documents: list[bytes]
    start: int
    starts: Sequence[int] | None
    read_bytes: int
    fault: Fault | None = None
    in_rows: bool = False

    def places(self) -> Sequence[int]:
        """Where each document begins: its byte in the decompressed file, or its row."""
        if self.starts is not None:
            return self.starts
        ends = accumulate((len(document) + 1 for document in self.documents), initial=self.start)
        return list(ends)[: len(self.documents)]


def read_chunks(
    file: RecordingFile, start_byte: int = 0, end_byte: int | None = None, block_bytes: int | None = None
) -> Iterator[Chunk]:
    """The documents of a file, or of its lines from `start_byte` to `end_byte`, in order, in bounded memory.

    Both bounds must be starts of lines, and are for uncompressed files in the form of lines only. `block_bytes` is how
    much is read at a time, about 1 MiB where it is None.

    Raises:
        OSError: The file cannot be read.
    """
    for chunk in _read(file, start_byte, end_byte, block_bytes):
        if len(chunk.documents) > _MOST_DOCUMENTS:
            yield from _in_pieces(chunk)
        else:
            yield chunk


def _read(file: RecordingFile, start_byte: int, end_byte: int | None, block_bytes: int | None) -> Iterator[Chunk]:
    if file.form is Form.PARQUET:
        return _parquet_chunks(file.path)
    blocks = read_blocks(file.path, compressed=file.compressed, start=start_byte, end=end_byte, block_bytes=block_bytes)
    if file.form is Form.LINES:
        return _line_chunks(blocks, start_byte)
    return _document_chunks(blocks, in_array=file.form is Form.ARRAY)


def _in_pieces(chunk: Chunk) -> Iterator[Chunk]:
    places = chunk.places()
    for begin in range(0, len(places), _MOST_DOCUMENTS):
        end = begin + _MOST_DOCUMENTS
        yield replace(
            chunk,
            documents=chunk.documents[begin:end],
            start=places[begin],
            starts=places[begin:end],
            read_bytes=0 if begin else chunk.read_bytes,
            fault=chunk.fault if end >= len(places) else None,
        )


def _line_chunks(blocks: Iterable[bytes | TornGzip], start_byte: int) -> Iterator[Chunk]:
    begun = _BegunLine()
    at_byte = start_byte
    for block in blocks:
        if isinstance(block, TornGzip):
            text = begun.text()
            yield _torn(text, at_byte, block.reason, in_array=begins_array(text))
            return
        lines = block
        if begun.is_too_long and b"\n" in lines:
            end, _, lines = lines.partition(b"\n")
            read_bytes = begun.length + len(end) + 1
            yield Chunk([], at_byte, (), read_bytes, _too_long(begun.text(), at_byte, LONGEST_LINE_BYTES))
            at_byte += read_bytes
            begun = _BegunLine()
        whole, line_feed, rest = lines.rpartition(b"\n")
        if line_feed:
            text = begun.text() + whole
            yield Chunk(text.split(b"\n"), at_byte, None, len(text) + 1)
            at_byte += len(text) + 1
            begun = _BegunLine()
        begun.go_on(rest)
    if begun.is_too_long:
        yield Chunk([], at_byte, (), begun.length, _too_long(begun.text(), at_byte, LONGEST_LINE_BYTES))
    elif begun.length:
        yield Chunk([begun.text()], at_byte, None, begun.length)


class _BegunLine:
    """A line whose end is not read yet; of one that is too long only the beginning is kept."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.length = 0

    @property
    def is_too_long(self) -> bool:
        return self.length > LONGEST_LINE_BYTES

    def go_on(self, piece: bytes) -> None:
        if not self.is_too_long:
            self._pieces.append(piece)
        self.length += len(piece)
        if self.is_too_long:
            self._pieces = [self.text()[:_KEPT_OF_TOO_LONG_BYTES]]

    def text(self) -> bytes:
        return b"".join(self._pieces)


def _document_chunks(blocks: Iterable[bytes | TornGzip], *, in_array: bool) -> Iterator[Chunk]:
    """Chunks of documents that no line feed ends: what a block leaves open is held until the next blocks end it."""
    text = b""
    at_byte = 0
    searched_bytes = 0
    after_broken = False
    for block in blocks:
        if isinstance(block, TornGzip):
            yield _torn(text, at_byte, block.reason, in_array=in_array, after_broken=after_broken)
            return
        text += block
        if len(text) < 2 * searched_bytes:
            continue
        parts, end = split_documents(text, whole=False, in_array=in_array, after_broken=after_broken)
        searched_bytes = len(text) - end
        if parts:
            yield _documents(parts, at_byte, end)
            after_broken = False
        elif searched_bytes > LONGEST_DOCUMENT_BYTES:
            fault = None if after_broken else _too_long(text[end:], at_byte + end, LONGEST_DOCUMENT_BYTES)
            # Of what is dropped nothing can be whole any more, but a document that begins in the rest may be.
            end = len(text) - LONGEST_DOCUMENT_BYTES // 2
            yield Chunk([], at_byte, (), end, fault)
            after_broken = True
            searched_bytes = 0
        else:
            continue
        text = text[end:]
        at_byte += end
    if text:
        parts, _ = split_documents(text, in_array=in_array, after_broken=after_broken)
        yield _documents(parts, at_byte, len(text))


def _documents(parts: Sequence[Part], at_byte: int, read_bytes: int, fault: Fault | None = None) -> Chunk:
    starts = [at_byte + part.offset for part in parts]
    return Chunk([part.data for part in parts], at_byte, starts, read_bytes, fault)


def _torn(text: bytes, at_byte: int, reason: str, *, in_array: bool, after_broken: bool = False) -> Chunk:
    """The last documents of a file that cannot be read further, the one that is torn being part of the fault."""
    parts, end = split_documents(text, in_array=in_array, after_broken=after_broken)
    torn = parts.pop() if parts and not is_document(parts[-1].data) else Part(b"", end)
    return _documents(parts, at_byte, len(text), Fault(reason, at_byte + torn.offset, _beginning(torn.data)))


def _too_long(text: bytes, at_byte: int, longest_bytes: int) -> Fault:
    reason = f"no record ends within {longest_bytes:,} bytes, and none is so long"
    return Fault(reason, at_byte, _beginning(text))


def _beginning(text: bytes) -> bytes:
    return text[:_KEPT_OF_TOO_LONG_BYTES]


def _parquet_chunks(path: str) -> Iterator[Chunk]:
    for row, found in read_rows(path):
        if isinstance(found, str):
            yield Chunk([], row, (), 0, Fault(found, row), in_rows=True)
        else:
            yield Chunk(found, row, range(row, row + len(found)), sum(map(len, found)), in_rows=True)
