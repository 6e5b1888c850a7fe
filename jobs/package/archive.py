"""Zips of which the same files always give the same bytes. I/O."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# The earliest time that a zip can hold.
_AT: Final = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE: Final = 0o100644 << 16
_UNIX: Final = 3
_ENTRY_BYTES: Final = 30 + 46
_END_BYTES: Final = 22


def zip_bytes(files: Mapping[str, bytes]) -> int:
    """How large the zip of these files is: what is stored, and for each its name and a header at both ends."""
    return _END_BYTES + sum(len(content) + _ENTRY_BYTES + 2 * len(name.encode()) for name, content in files.items())


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the files into a zip, whole or not at all.

    Stored and not compressed, for compressors differ between builds of Python, and most of the bytes are compressed
    already.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(files):
                entry = zipfile.ZipInfo(name, _AT)
                entry.external_attr = _READABLE_FILE
                entry.create_system = _UNIX
                archive.writestr(entry, files[name])
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
