"""The directory that a replay leaves: lines sorted on disk as they arrive, put in place whole or not at all. I/O."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

SUMMARY_FILE: Final = "summary.json"
_MOST_SORT_FIELDS: Final = 4


class ResultsError(Exception):
    """A directory that results cannot be written to; the message names it and says what is the matter."""


class Results:
    """Takes the lines of each file in any order, and puts all files in place at the end.

    SQLite sorts them in a hidden directory beside the one asked for, so their number does not matter, and until
    `publish` an earlier result is left as it was.

    Args:
        directory: Where the files shall be. It may hold an earlier result of the same kind, but nothing else.
        line_files: The names of the files that lines are added to.
        directories: The names of directories that are filled by others, see `directory`.
        others: The names of files that may be there beside an earlier result, and go with it.

    Raises:
        ResultsError: The directory holds something else, or cannot be made.
    """

    def __init__(
        self, directory: Path, line_files: Sequence[str], directories: Sequence[str] = (), others: Sequence[str] = ()
    ) -> None:
        self._shown = directory
        self._line_files = line_files
        self._directories = directories
        self._others = others
        with _told_as_results_error(directory):
            # Resolved, for a link shall go on to lead where it led.
            self._directory = directory.resolve()
            self._require_usable()
            self._directory.parent.mkdir(parents=True, exist_ok=True)
            self._staging = Path(tempfile.mkdtemp(prefix=f".{self._directory.name}-", dir=self._directory.parent))
            try:
                self._open()
            except BaseException:
                shutil.rmtree(self._staging, ignore_errors=True)
                raise

    def _open(self) -> None:
        self._written = self._staging / "result"
        for each in self._directories:
            (self._written / each).mkdir(parents=True)
        self._lines = sqlite3.connect(self._staging / "lines.sqlite", isolation_level=None)
        # What a crash loses here is worth nothing, so no time is spent to keep it.
        self._lines.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        self._lines.execute("CREATE TABLE lines (file, first, second, third, fourth, line)")
        self._lines.execute("BEGIN")

    def __enter__(self) -> Self:
        """The results, empty."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear away what was not published."""
        self._lines.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def add(self, file: str, sort_by: tuple[int | str, ...], line: str) -> None:
        """One more line of a file; lines are sorted by at most four fields, then by themselves.

        Raises:
            ResultsError: There is no room for it.
        """
        fields = (*sort_by, *[None] * (_MOST_SORT_FIELDS - len(sort_by)))
        with _told_as_results_error(self._shown):
            self._lines.execute("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", (file, *fields, line))

    def directory(self, name: str) -> Path:
        """One of the directories, to be filled before all is put in place."""
        return self._written / name

    def publish(self, summary: dict[str, Any]) -> None:
        """Write all files and put them in the place of an earlier result, in one step as far as the system has one.

        Raises:
            ResultsError: They cannot be written; an earlier result is in its place.
        """
        with _told_as_results_error(self._shown):
            written = self._written
            written.mkdir(exist_ok=True)
            for name in self._line_files:
                self._write(written / name)
            text = json.dumps(summary, indent=2, ensure_ascii=False)
            (written / SUMMARY_FILE).write_text(text + "\n", encoding="utf-8")
            self._require_usable()
            self._put_in_place(written)

    def _put_in_place(self, written: Path) -> None:
        earlier = self._staging / "earlier"
        try:
            if self._directory.exists():
                self._directory.rename(earlier)
            written.rename(self._directory)
        except BaseException:
            # Interruptions too: what is left in the staging directory is about to be removed.
            if earlier.exists() and not self._directory.exists():
                earlier.rename(self._directory)
            raise

    def _write(self, path: Path) -> None:
        query = "SELECT line FROM lines WHERE file = ? ORDER BY first, second, third, fourth, line"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for (line,) in self._lines.execute(query, (path.name,)))

    def _require_usable(self) -> None:
        if not self._directory.exists():
            return
        if not self._directory.is_dir():
            message = f"{self._shown}: not a directory"
            raise ResultsError(message)
        if self._directory.is_mount():
            message = f"{self._shown}: a mount point, which cannot be replaced; name a directory in it"
            raise ResultsError(message)
        ours = (*self._line_files, *self._directories, *self._others, SUMMARY_FILE)
        others = sorted(path.name for path in self._directory.iterdir() if path.name not in ours)
        if others:
            message = f"{self._shown}: holds {others[0]!r}, which no replay of this job wrote; "
            message += "name a directory of its own"
            raise ResultsError(message)


@contextmanager
def _told_as_results_error(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{directory}: cannot be written: {error.strerror or error}"
        raise ResultsError(message) from error
    except sqlite3.Error as error:
        message = f"{directory}: cannot be written: {error}"
        raise ResultsError(message) from error
