"""Consumption kept on disk, found by what a recording holds and how it is decoded. I/O.

An entry is one file of columns (NumPy's `.npz`, whose parts carry checksums), named by a digest of the contents of the
files, of the settings that matter to reading, and of the program's version. Content is hashed again whenever a file's
size, times or place on disk are not as they were.
"""

import hashlib
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from connectors.recordings.files import RecordingError, RecordingFile
from jobs.consumption.series import Consumption, Numbers, Spans
from jobs.recorded.reports import Counts
from jobs.settings import Settings

_FORMAT: Final = 1
_UNUSED_S: Final = 30 * 86_400
# A file written to so shortly before it was hashed can change again within one tick of its file system's clock.
_SETTLED_NS: Final = 2_000_000_000
_COLUMNS: Final = ("key", "start_ms", "wcu", "writes")


def default_directory() -> Path:
    """Where entries are unless another place is named: HEADROOM_CACHE_DIR, else below the user's cache directory."""
    named = os.environ.get("HEADROOM_CACHE_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headroom"


class ConsumptionCache:
    """Entries in a directory, which is made with the first.

    What cannot be read in it counts as not there, and what cannot be written is not kept: it is only a cache.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def find(self, name: str) -> Consumption | None:
        """An entry by its name."""
        path = self._path(name)
        try:
            found = _load(path)
            os.utime(path)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return found

    def keep(self, name: str, consumption: Consumption) -> None:
        """Put an entry in place, in one step; and remove those that nobody wanted for a month."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.directory, prefix=".", delete=False) as file:
                try:
                    _store(file, consumption)
                    file.close()
                    Path(file.name).rename(self._path(name))
                except BaseException:
                    Path(file.name).unlink(missing_ok=True)
                    raise
            self.clear(unused_s=_UNUSED_S)
        except OSError:
            return

    def entries(self) -> list[tuple[Path, int]]:
        """The files of the cache with their sizes in bytes."""
        if not self.directory.is_dir():
            return []
        files = sorted([*self.directory.glob("*.npz"), *self.directory.glob("digests.json")])
        return [(file, file.stat().st_size) for file in files]

    def clear(self, unused_s: float = 0) -> int:
        """Remove entries that were not used for so long; how many bytes they had."""
        freed = 0
        for path, size in self.entries():
            if not unused_s or time.time() - path.stat().st_mtime > unused_s:
                path.unlink(missing_ok=True)
                freed += size
        return freed

    def name_for(self, files: Sequence[RecordingFile], settings: Settings, span_ms: int) -> str:
        """The name of the entry for a recording read in this way.

        Raises:
            RecordingError: A file cannot be read.
        """
        read_by = {
            "format": _FORMAT,
            "version": version("headroom"),
            "files": sorted(self._digests(files)),
            "span_ms": span_ms,
            "out_of_orderness_ms": settings.window.out_of_orderness_ms,
            "decode": settings.decode.model_dump(mode="json"),
            "tables": {name: table.model_dump() for name, table in settings.tables.items()},
        }
        return hashlib.sha256(json.dumps(read_by, sort_keys=True).encode()).hexdigest()[:40]

    def _digests(self, files: Iterable[RecordingFile]) -> list[str]:
        known = self._known_digests()
        digests, seen = [], {}
        for file in files:
            path = str(Path(file.path).resolve())
            try:
                stamp = _stamp(path)
                entry = known.get(path)
                digest = entry[0] if entry and entry[1] == stamp else _digest(path)
            except OSError as error:
                message = f"{file.path}: {error.strerror}"
                raise RecordingError(message) from error
            digests.append(digest)
            if time.time_ns() - max(stamp[1:3]) > _SETTLED_NS:
                seen[path] = [digest, stamp]
        if any(known.get(path) != entry for path, entry in seen.items()):
            self._keep_digests(known | seen)
        return digests

    def _known_digests(self) -> dict[str, Any]:
        try:
            known = json.loads((self.directory / "digests.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def _keep_digests(self, digests: dict[str, Any]) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.directory, prefix=".", delete=False) as file:
                json.dump(digests, file)
            Path(file.name).rename(self.directory / "digests.json")
        except OSError:
            return

    def _path(self, name: str) -> Path:
        return self.directory / f"{name}.npz"


def _stamp(path: str) -> list[int]:
    found = Path(path).stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _store(file: Any, consumption: Consumption) -> None:
    facts = {"span_ms": consumption.span_ms, "counts": asdict(consumption.counts), "keys": consumption.keys}
    columns: dict[str, Any] = {"facts": np.frombuffer(json.dumps(facts).encode(), np.uint8)}
    for name in ("on_time", "late"):
        spans: Spans = getattr(consumption, name)
        for column in _COLUMNS:
            values: Numbers = getattr(spans, column)
            base = int(values.min()) if len(values) else 0
            columns[f"{name}.{column}.base"] = np.array(base)
            columns[f"{name}.{column}"] = _narrow(values - base)
    np.savez(file, **columns)


def _narrow(values: Numbers) -> Any:
    """The values in as few bytes as the largest needs."""
    return values.astype(np.min_scalar_type(int(values.max()) if len(values) else 0))


def _load(path: Path) -> Consumption:
    with np.load(path, allow_pickle=False) as columns:
        facts = json.loads(columns["facts"].tobytes())
        on_time, late = (_spans(columns, name) for name in ("on_time", "late"))
    keys = [(table, partition_key, key_type) for table, partition_key, key_type in facts["keys"]]
    return Consumption(keys, facts["span_ms"], on_time, late, Counts(**facts["counts"]))


def _spans(columns: Mapping[str, Any], name: str) -> Spans:
    return Spans(*(_widened(columns[f"{name}.{each}"]) + columns[f"{name}.{each}.base"] for each in _COLUMNS))


def _widened(values: Any) -> Numbers:
    return np.asarray(values, np.int64)
