"""Chunks: the documents of a stretch of a recording, a few hundred at a time, with the place of each. I/O."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from connectors.recordings.files import RecordingFile, TornGzip, read_blocks
from connectors.recordings.forms import Form, document_starts, split_documents

# Kinesis takes records up to 10 MiB and base64 in an envelope adds a third: what is longer is no document.
LONGEST_DOCUMENT_BYTES = 64 << 20
_KEPT_OF_TOO_LONG_BYTES = 8 << 10


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents that stand together.

    Attributes:
        documents: The bytes of each, blank ones included where a form has them.
        start_byte: Where the first begins in the decompressed file; for Parquet, the number of its row.
        starts: Where each begins, counted as `start_byte` is; None where one line feed stands between them.
        read_bytes: How much of the file was read for this chunk, for progress (decompressed).
        fault: What is wrong with the file after this chunk, if it cannot be read further.
        arrivals_ms: When each arrived in its stream, where the recording tells.
    """

    documents: list[bytes]
    start_byte: int
    starts: Sequence[int] | None
    read_bytes: int
    fault: str | None = None
    arrivals_ms: Sequence[int | None] | None = None

    def place_of(self, index: int) -> int:
        """Where a document begins in the decompressed file, bytes (for Parquet: its row)."""
        if self.starts is not None:
            return self.starts[index]
        return self.start_byte + sum(map(len, self.documents[:index])) + index


def read_chunks(file: RecordingFile, start_byte: int = 0, end_byte: int | None = None) -> Iterator[Chunk]:
    """The documents of a file, or of its lines from `start_byte` to `end_byte`, in order, in bounded memory.

    Both bounds must be starts of lines, and are for uncompressed files in the form of lines only.
    """
    if file.form is Form.PARQUET:
        yield from _parquet_chunks(file.path)
        return
    blocks = read_blocks(file.path, compressed=file.compressed, start=start_byte, end=end_byte)
    if file.form is Form.LINES:
        yield from _line_chunks(blocks, start_byte)
    else:
        yield from _document_chunks(blocks)


def _line_chunks(blocks: Iterable[bytes | TornGzip], start_byte: int) -> Iterator[Chunk]:
    carry: list[bytes] = []
    carry_bytes = 0
    at_byte = start_byte
    for block in blocks:
        if isinstance(block, TornGzip):
            rest = b"".join(carry)
            yield Chunk([rest] if rest else [], at_byte, None, len(rest), block.reason)
            return
        cut = block.rfind(b"\n")
        if cut < 0:
            carry_bytes = _keep(carry, carry_bytes, block)
            continue
        text = b"".join((*carry, block[:cut]))
        yield Chunk(text.split(b"\n"), at_byte, None, carry_bytes + cut + 1)
        at_byte += carry_bytes + cut + 1
        carry = [block[cut + 1 :]]
        carry_bytes = len(carry[0])
    if carry_bytes:
        yield Chunk([b"".join(carry)], at_byte, None, carry_bytes)


def _keep(carry: list[bytes], carry_bytes: int, block: bytes) -> int:
    """The length of a line so far, with the block put to it; of a line past the limit only the beginning is kept."""
    if carry_bytes <= LONGEST_DOCUMENT_BYTES:
        carry.append(block)
    elif len(carry) > 1:
        carry[:] = [b"".join(carry)[:_KEPT_OF_TOO_LONG_BYTES]]
    return carry_bytes + len(block)


def _document_chunks(blocks: Iterable[bytes | TornGzip]) -> Iterator[Chunk]:
    """Chunks of documents that no line feed ends: a block's last document is held until the next block shows its end."""
    carry = b""
    at_byte = 0
    for block in blocks:
        if isinstance(block, TornGzip):
            yield _documents(carry, at_byte, block.reason)
            return
        carry += block
        last_start = document_starts(carry)[-1]
        if last_start:
            yield _documents(carry[:last_start], at_byte, None)
            at_byte += last_start
            carry = carry[last_start:]
        elif len(carry) > LONGEST_DOCUMENT_BYTES:
            yield Chunk([carry[:_KEPT_OF_TOO_LONG_BYTES]], at_byte, [at_byte], len(carry))
            at_byte += len(carry)
            carry = b""
    if carry:
        yield _documents(carry, at_byte, None)


def _documents(text: bytes, at_byte: int, fault: str | None) -> Chunk:
    parts = split_documents(text) if text.strip() else []
    documents = [part.data for part in parts]
    return Chunk(documents, at_byte, [at_byte + part.offset for part in parts], len(text), fault)


def _parquet_chunks(path: str) -> Iterator[Chunk]:
    # Imported here: only Parquet recordings pay the time that pyarrow takes to load.
    import pyarrow
    import pyarrow.parquet

    from connectors.recordings.files import RecordingError

    try:
        file = pyarrow.parquet.ParquetFile(path)
        if "data" not in file.schema_arrow.names:
            message = f'{path}: not a recording: this Parquet file has no column "data"'
            raise RecordingError(message)
        columns = [name for name in ("data", "arrival_time_ms") if name in file.schema_arrow.names]
        row = 0
        for batch in file.iter_batches(batch_size=1024, columns=columns):
            documents = [bytes(value or b"") for value in batch.column("data").to_pylist()]
            arrivals = batch.column("arrival_time_ms").to_pylist() if len(columns) > 1 else None
            yield Chunk(documents, row, range(row, row + len(documents)), sum(map(len, documents)), None, arrivals)
            row += len(documents)
    except pyarrow.ArrowInvalid as error:
        message = f"{path}: not a Parquet file that can be read: {error}"
        raise RecordingError(message) from error
