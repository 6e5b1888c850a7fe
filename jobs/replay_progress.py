"""What a person sees of a replay while it runs. I/O."""

from collections.abc import Sequence
from time import monotonic
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from connectors.recordings.files import RecordingFile

_LINE_EVERY_S: Final = 5.0


class ReplayProgress:
    """Tells how far a replay is, on stderr: a bar on a terminal, elsewhere a line now and then, nothing when quiet."""

    def __init__(
        self,
        files: Sequence[RecordingFile],
        *,
        doing: str = "replaying",
        first: str = "starting Flink",
        quiet: bool = False,
    ) -> None:
        self._doing = doing
        self._first = first
        self._console = Console(stderr=True, quiet=quiet)
        self._total_bytes = max(1, sum(file.content_bytes for file in files))
        self._told_s = monotonic()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[found]}"),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(first, total=None, found="")

    def __enter__(self) -> Self:
        """Begin to tell."""
        self._bar.start()
        if not self._console.is_terminal:
            self._console.print(f"{self._first} ...")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and leave nothing of the bar."""
        self._bar.stop()

    def update(self, read_bytes: int, found: str) -> None:
        """Show how much was read, without compression, and in words what was found so far."""
        read_bytes = min(read_bytes, self._total_bytes)
        self._bar.update(
            self._task, description=self._doing, total=self._total_bytes, completed=read_bytes, found=found
        )
        if not self._console.is_terminal and monotonic() - self._told_s > _LINE_EVERY_S:
            self._told_s = monotonic()
            self._console.print(f"{read_bytes / self._total_bytes:4.0%}  {found}", highlight=False)
