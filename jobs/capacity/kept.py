"""The result that a replay left in a directory, or what a live run has kept in one, read back. I/O."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from connectors.recordings.files import RecordingError, RecordingFile, find_recordings
from jobs.capacity.result_files import SETTINGS_FILE
from jobs.capacity.rules import RulesError, Timeline, read_rules
from jobs.results import SUMMARY_FILE
from jobs.settings import Settings, SettingsError, load_settings


class KeptResultError(Exception):
    """A directory that holds no result, or not that of the recording; the message says what is the matter."""


@dataclass(frozen=True, slots=True)
class KeptResult:
    """The result of a replay, or what a live run has kept.

    Attributes:
        actions: All actions, sent or in shadow, in the order of their times.
        rules: Which rules were in force when.
        rules_problem: Why that is not known, so that `rules` has only those of the settings.
    """

    directory: Path
    settings: Settings
    summary: dict[str, Any]
    actions: Sequence[dict[str, Any]]
    rules: Timeline
    rules_problem: str | None = None

    @property
    def is_live(self) -> bool:
        """Whether it is what a live run has kept, which has no summary."""
        return not self.summary

    def lines(self, name: str, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The lines of one of its files, in order, or the first of them."""
        if (self.directory / name).exists():
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
    return KeptResult(directory, settings, summary, lines, *_rules(settings))


def is_of_live_run(directory: Path) -> bool:
    """Whether a directory holds what a live run keeps, which is no result of a replay."""
    kept = any((directory / name).exists() for name in ("actions.jsonl", "shadow.jsonl"))
    return kept and not (directory / SUMMARY_FILE).exists()


def open_live(directory: Path, settings: Settings) -> KeptResult:
    """What a live run has kept so far.

    Args:
        directory: Its `--out`.
        settings: Those that it runs with, which are not in the directory.

    Raises:
        KeptResultError: It cannot be read.
    """
    actions: dict[str, dict[str, Any]] = {}
    try:
        for name in ("actions.jsonl", "shadow.jsonl"):
            if (directory / name).exists():
                # After a failure lines are there twice.
                actions |= {line["action_id"]: line for line in _lines(directory / name)}
    except OSError as error:
        message = f"{error.filename or directory}: {error.strerror or error}"
        raise KeptResultError(message) from error
    in_order = sorted(actions.values(), key=lambda action: action["issued_at_ms"])
    return KeptResult(directory, settings, {}, in_order, *_rules(settings))


def _rules(settings: Settings) -> tuple[Timeline, str | None]:
    try:
        return Timeline(settings, read_rules(settings)), None
    except RulesError as error:
        return Timeline(settings, []), error.problems[0]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError as error:
                message = f"{path}: line {number} is not JSON"
                raise KeptResultError(message) from error
