"""Segments: the pieces of a recording that can be read side by side, each with the time it begins at. I/O.

A file of lines falls into pages of about 16 MiB, cut at line feeds; any other file is one segment. Pages are the same
however many readers there are, so what depends on a page's beginning depends on the file alone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from connectors.recordings.chunks import Chunk, read_chunks
from connectors.recordings.files import RecordingFile
from connectors.recordings.forms import Form

PAGE_BYTES = 16 << 20
# Times are looked for in small bites, because the first few records of a page are enough.
_BITE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a file, from `start_byte` to `end_byte` where it is a page.

    Attributes:
        first_ms: The latest of the times at which this page and the pages of the file before it begin; None where
            the records at their beginnings do not tell.
    """

    file: RecordingFile
    start_byte: int = 0
    end_byte: int | None = None
    first_ms: int | None = None

    @property
    def content_bytes(self) -> int:
        """Its size without compression; of a compressed file about that."""
        return self.file.content_bytes if self.end_byte is None else self.end_byte - self.start_byte

    def chunks(self) -> Iterator[Chunk]:
        """The documents in it, in order."""
        return read_chunks(self.file, self.start_byte, self.end_byte)

    def first_chunks(self) -> Iterator[Chunk]:
        """The same in chunks of a few records, for a look at its beginning."""
        return read_chunks(self.file, self.start_byte, self.end_byte, _BITE_BYTES)

    def chunks_beyond(self) -> Iterator[Chunk]:
        """The documents of the file that follow this page, in chunks of a few records."""
        if self.end_byte is None or self.end_byte >= self.file.size_bytes:
            return iter(())
        return read_chunks(self.file, self.end_byte, self.file.size_bytes, _BITE_BYTES)


FirstTime = Callable[[Iterable[Chunk]], int | None]
"""Gives the time at which some chunks begin, milliseconds, or None where they do not tell."""


def plan_segments(file: RecordingFile, first_time: FirstTime) -> Iterator[Segment]:
    """The segments of a file in its order, with the times at which they begin."""
    newest_ms: int | None = None
    for segment in _cut(file):
        first_ms = first_time(segment.first_chunks())
        if first_ms is not None:
            newest_ms = first_ms if newest_ms is None else max(newest_ms, first_ms)
        yield replace(segment, first_ms=newest_ms)


def _cut(file: RecordingFile) -> Iterator[Segment]:
    if file.compressed or file.form is not Form.LINES or file.size_bytes <= PAGE_BYTES:
        yield Segment(file)
        return
    start_byte = 0
    while start_byte < file.size_bytes:
        end_byte = _line_end(file, start_byte + PAGE_BYTES)
        yield Segment(file, start_byte, end_byte)
        start_byte = end_byte


def _line_end(file: RecordingFile, at_byte: int) -> int:
    """Where the line ends that this byte is in, its line feed included; at most the end of the file."""
    with Path(file.path).open("rb") as opened:
        opened.seek(at_byte)
        while block := opened.read(_BITE_BYTES):
            line_feed = block.find(b"\n")
            if line_feed >= 0:
                return min(at_byte + line_feed + 1, file.size_bytes)
            at_byte += len(block)
    return file.size_bytes
