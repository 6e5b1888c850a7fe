"""The consumption of a recording for a command: from the cache, or read with progress told. I/O."""

from collections.abc import Sequence
from math import gcd
from time import monotonic
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from connectors.recordings.files import RecordingError, RecordingFile
from jobs.consumption.cache import ConsumptionCache, default_directory
from jobs.consumption.collect import CollectError, collect
from jobs.consumption.series import SECOND_MS, Consumption
from jobs.options import EXIT_FAILED, refuse
from jobs.settings import Settings

_LINE_EVERY_S: Final = 5.0


def span_ms(choices: Sequence[Settings]) -> int:
    """The longest span in which all steps and leases of these settings, and seconds, can be told apart."""
    lengths = [(choice.window.step_ms, *choice.lease.steps_ms) for choice in choices]
    return gcd(SECOND_MS, *(length_ms for each in lengths for length_ms in each))


def read_consumption(
    files: Sequence[RecordingFile], settings: Settings, choices: Sequence[Settings] = (), *, use_cache: bool = True
) -> Consumption:
    """What each partition key consumed; exits where the recording cannot be read.

    Args:
        files: The recording.
        settings: How it is decoded.
        choices: All settings that it will be looked at with, where there are others.
        use_cache: Whether to look for it in the cache, and to keep it there.
    """
    span = span_ms(choices or [settings])
    cache = ConsumptionCache(default_directory()) if use_cache else None
    try:
        name = cache.name_for(files, settings, span) if cache else ""
        known = cache.find(name) if cache else None
        if known is not None:
            return known
        with ReadProgress(files) as progress:
            consumption = collect(files, settings, span, on_progress=progress.update)
    except (RecordingError, CollectError, OSError) as error:
        refuse([str(error)], EXIT_FAILED)
    if cache:
        cache.keep(name, consumption)
    return consumption


class ReadProgress:
    """Tells how far reading is, on stderr: a bar on a terminal, elsewhere a line now and then."""

    def __init__(self, files: Sequence[RecordingFile]) -> None:
        self._console = Console(stderr=True)
        self._total_bytes = max(1, sum(file.content_bytes for file in files))
        self._told_s = monotonic()
        columns = (TextColumn("reading"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("reading", total=self._total_bytes)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, read_bytes: int) -> None:
        """Show how much was read."""
        self._bar.update(self._task, completed=min(read_bytes, self._total_bytes))
        if not self._console.is_terminal and monotonic() - self._told_s > _LINE_EVERY_S:
            self._told_s = monotonic()
            self._console.print(f"reading: {min(1, read_bytes / self._total_bytes):4.0%}", highlight=False)
