"""Segments: the pieces of a recording that can be read side by side, each with the time it begins at. I/O.

A file of lines falls into pages of about 16 MiB, cut at line feeds; any other file is one segment. Pages are the same
however many readers there are, so what depends on a page's beginning depends on the file alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.recordings.chunks import Chunk, read_chunks
from connectors.recordings.files import RecordingFile
from connectors.recordings.forms import Form

PAGE_BYTES = 16 << 20
_PEEKED_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a file, from `start_byte` to `end_byte` where it is a page.

    Attributes:
        first_ms: The latest of the times at which this page and the pages of the file before it begin; None where
            no record at a beginning could be read.
    """

    file: RecordingFile
    start_byte: int = 0
    end_byte: int | None = None
    first_ms: int | None = None

    def chunks(self) -> Iterator[Chunk]:
        """The documents in it, in order."""
        return read_chunks(self.file, self.start_byte, self.end_byte)


FirstTime = Callable[[Sequence[bytes]], int | None]
"""Gives the time at which some documents begin, milliseconds, or None where none of them has a time."""


def plan_segments(file: RecordingFile, first_time: FirstTime) -> Iterator[Segment]:
    """The segments of a file in its order, with the times at which they begin."""
    newest_ms: int | None = None
    for segment in _cut(file):
        first_ms = first_time(_first_documents(segment))
        if first_ms is not None:
            newest_ms = first_ms if newest_ms is None else max(newest_ms, first_ms)
        yield replace(segment, first_ms=newest_ms)


def _cut(file: RecordingFile) -> Iterator[Segment]:
    if file.compressed or file.form is not Form.LINES or file.size_bytes <= PAGE_BYTES:
        yield Segment(file)
        return
    start_byte = 0
    with Path(file.path).open("rb") as opened:
        while start_byte < file.size_bytes:
            opened.seek(min(start_byte + PAGE_BYTES, file.size_bytes))
            opened.readline()
            end_byte = opened.tell()
            yield Segment(file, start_byte, end_byte)
            start_byte = end_byte


def _first_documents(segment: Segment) -> Sequence[bytes]:
    if segment.end_byte is not None:
        peeked = replace(segment, end_byte=min(segment.end_byte, segment.start_byte + _PEEKED_BYTES))
        first = next(peeked.chunks(), None)
        # A first record longer than the peek is read whole; otherwise the last line peeked at may be cut.
        if first is not None and len(first.documents) > 1:
            return first.documents
    first = next(segment.chunks(), None)
    return first.documents if first is not None else ()
