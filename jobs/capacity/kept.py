"""The result that a replay left in a directory, read back. I/O."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from connectors.recordings.files import RecordingError, RecordingFile, find_recordings
from jobs.capacity.result_files import SETTINGS_FILE
from jobs.results import SUMMARY_FILE
from jobs.settings import Settings, SettingsError, load_settings


class KeptResultError(Exception):
    """A directory that holds no result, or not that of the recording; the message says what is the matter."""


@dataclass(frozen=True, slots=True)
class KeptResult:
    """The result of a replay.

    Attributes:
        actions: All actions, sent or in shadow, in the order of their times.
    """

    directory: Path
    settings: Settings
    summary: dict[str, Any]
    actions: Sequence[dict[str, Any]]

    def lines(self, name: str, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The lines of one of its files, in order, or the first of them."""
        yield from islice(_lines(self.directory / name), most)

    def recording(self, given: Sequence[Path] = ()) -> list[RecordingFile]:
        """The files that the result is of.

        Args:
            given: Where they are now; by default where they were.

        Raises:
            KeptResultError: Files are missing, or are not as large as they were.
        """
        known = self.summary.get("recording") or []
        paths = list(given) or [Path(each["file"]) for each in known]
        if not paths:
            message = f"{self.directory}: does not say what recording it is of; name it with --recording"
            raise KeptResultError(message)
        try:
            files = find_recordings(paths)
        except RecordingError as error:
            message = f"{error}; if the recording is elsewhere now, name it with --recording"
            raise KeptResultError(message) from error
        sizes = sorted(file.size_bytes for file in files)
        if known and sizes != sorted(each["size_bytes"] for each in known):
            message = f"{paths[0]}: is not the recording that {self.directory} is the result of, or has changed since: "
            message += f"{sum(sizes):,} bytes, not {sum(each['size_bytes'] for each in known):,}"
            raise KeptResultError(message)
        return files


def open_result(directory: Path) -> KeptResult:
    """The result in a directory.

    Raises:
        KeptResultError: There is none, or it cannot be read.
    """
    if not directory.is_dir():
        message = f"{directory}: no such directory; `headroom replay` writes one"
        raise KeptResultError(message)
    try:
        summary = json.loads((directory / SUMMARY_FILE).read_text(encoding="utf-8"))
        settings = load_settings(directory / SETTINGS_FILE)
        lines = [*_lines(directory / "actions.jsonl"), *_lines(directory / "shadow.jsonl")]
    except FileNotFoundError as error:
        message = f"{directory}: not the result of a replay: {Path(error.filename).name} is missing"
        raise KeptResultError(message) from error
    except OSError as error:
        message = f"{error.filename or directory}: {error.strerror or error}"
        raise KeptResultError(message) from error
    except SettingsError as error:
        message = f"{directory}: not the result of a replay: {error.problems[0]}"
        raise KeptResultError(message) from error
    except ValueError as error:
        message = f"{directory}: not the result of a replay: {error}"
        raise KeptResultError(message) from error
    if not isinstance(summary, dict):
        message = f"{directory}: not the result of a replay: {SUMMARY_FILE} is no object"
        raise KeptResultError(message)
    return KeptResult(directory, settings, summary, lines)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                message = f"{path}: line {number} is not JSON"
                raise KeptResultError(message) from error
