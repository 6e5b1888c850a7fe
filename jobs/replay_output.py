"""What a replay prints besides its files, and while it runs. I/O."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console

from connectors.recordings.files import RecordingFile
from jobs.execution import ExecutionMode
from jobs.recorded.malformed_reasons import MalformedReasons
from jobs.replay_progress import ReplayProgress
from jobs.settings import Settings


class _Read(Protocol):
    @property
    def read_bytes(self) -> int: ...


class Counted(Protocol):
    """What a replay found so far."""

    @property
    def counts(self) -> _Read:
        """How much was read, without compression."""


TallyT = TypeVar("TallyT", bound=Counted)
TallyCo = TypeVar("TallyCo", bound=Counted, covariant=True)


@dataclass(frozen=True, slots=True)
class Output:
    """How a replay speaks: to a person, to a program, or not at all.

    Attributes:
        as_json: One JSON object on stdout, in place of words.
        quiet: No words, nor how far the replay is.
    """

    as_json: bool = False
    quiet: bool = False

    def print(self, result: dict[str, Any], show: Callable[[], None]) -> None:
        """Print the result as an object, or let it be shown in words."""
        if self.as_json:
            sys.stdout.buffer.write((json.dumps(result, ensure_ascii=False) + "\n").encode())
        elif not self.quiet:
            show()


def print_notes(console: Console, notes: Mapping[str, int], malformed: MalformedReasons) -> None:
    """Print how many records each note is true of, but for none, and why most malformed ones are."""
    for text, count in notes.items():
        if count:
            console.print(f"  {count:,} {text}", highlight=False)
    for reason in malformed.told():
        console.print(f"  malformed: {reason}", highlight=False, markup=False, soft_wrap=True)


class Replay(Protocol[TallyCo]):
    """Replays a recording with one job."""

    def __call__(
        self,
        files: Sequence[RecordingFile],
        settings: Settings,
        out: Path,
        *,
        parallelism: int,
        execution_mode: ExecutionMode,
        on_progress: Callable[[TallyCo], None],
    ) -> tuple[TallyCo, dict[str, Any]]:
        """What was found, and the summary of it, the result being in `out`.

        Raises:
            ResultsError: `out` cannot be used.
            JobFailedError: The job failed.
        """


@dataclass(frozen=True, slots=True)
class ReplayView(Generic[TallyT]):
    """A job's replay, and how what it finds is told.

    Attributes:
        found: What was found so far, in a few words.
        as_json: What a program is told at the end.
        show: Tells a person.
    """

    replay: Replay[TallyT]
    found: Callable[[TallyT], str]
    as_json: Callable[[TallyT, dict[str, Any], Path], dict[str, Any]]
    show: Callable[[TallyT, dict[str, Any], Settings, Path], None]

    def run(
        self,
        files: Sequence[RecordingFile],
        settings: Settings,
        out: Path,
        output: Output,
        *,
        parallelism: int,
        execution_mode: ExecutionMode,
    ) -> None:
        """Replay a recording, telling how far it is, and print what came of it; raises as `Replay` does."""
        with ReplayProgress(files, quiet=output.quiet) as progress:
            tally, summary = self.replay(
                files,
                settings,
                out,
                parallelism=parallelism,
                execution_mode=execution_mode,
                on_progress=lambda tally: progress.update(tally.counts.read_bytes, self.found(tally)),
            )
        output.print(self.as_json(tally, summary, out), lambda: self.show(tally, summary, settings, out))


def summary_json(_: Any, summary: dict[str, Any], out: Path) -> dict[str, Any]:
    """The summary, and where the files are."""
    return {**summary, "results": str(out)}
