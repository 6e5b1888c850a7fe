"""The forms in which documents stand in a file. Pure."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from connectors.recordings.documents import begins_array, begins_document, first_value_end, is_document, skip_blank

GZIP_MAGIC: Final = b"\x1f\x8b"
PARQUET_MAGIC: Final = b"PAR1"

_LINES_LOOKED_AT: Final = 64


class Form(StrEnum):
    """How documents stand in a file."""

    LINES = "lines"  # one document, or several without a delimiter, on each line
    DOCUMENTS = "documents"  # documents one after another, over as many lines as they like
    ARRAY = "array"  # the same as elements of an array
    PARQUET = "parquet"  # a column `data` with one document in each row


def form_of(head: bytes) -> Form:
    """The form of a file that begins with these bytes (decompressed; a few KiB past its first record is enough)."""
    if head.startswith(PARQUET_MAGIC):
        return Form.PARQUET
    text = head[skip_blank(head) :]
    lines = text.split(b"\n", _LINES_LOOKED_AT)
    if is_document(lines[0]):
        return Form.LINES
    over_lines = Form.ARRAY if begins_array(text) else Form.DOCUMENTS
    if not text.startswith((b"{", b"[")):
        return Form.LINES
    end = first_value_end(text)
    if end is not None and is_document(text[:end]):
        return over_lines
    # The first is broken, or longer than this head.
    return Form.LINES if _are_documents_by_the_line(lines[1:-1]) else over_lines


def _are_documents_by_the_line(lines: Sequence[bytes]) -> bool:
    """Whether documents stand on lines of their own, with nothing between them.

    Lines of a pretty-printed document can be JSON by themselves, but none begins as a record does; of an array's lines
    one can be a record, but the others end in commas.
    """
    records = [line.rstrip() for line in lines if begins_document(line)]
    return any(map(is_document, records)) and not any(
        is_document(line.removesuffix(b",")) for line in records if line.endswith(b",")
    )
