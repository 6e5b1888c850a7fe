"""Zips of which the same files always give the same bytes. I/O."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

# The earliest time that a zip can hold.
_AT: Final = (1980, 1, 1, 0, 0, 0)
_READABLE_FILE: Final = 0o100644 << 16
_UNIX: Final = 3


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
