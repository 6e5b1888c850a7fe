"""Arguments and options that several commands share, and what they mean."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from connectors.recordings.files import RecordingError, RecordingFile, find_recordings
from jobs.settings import Settings, SettingsError, load_settings

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


class Notation(click.ParamType[Any]):
    """Options that are read by a function, which raises ValueError for what it cannot read."""

    def __init__(self, name: str, read: Callable[[str], object]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the function makes of the text."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


paths_argument = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
config_option = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Settings, as `headroom config show` prints them; without it the defaults hold.",
)

recording_option = click.option(
    "--recording",
    metavar="PATH",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Where the recording is now, if not where it was when it was replayed; repeatable.",
)
cache_option = click.option(
    "--cache/--no-cache",
    "use_cache",
    default=True,
    show_default=True,
    help="Whether what is read from a recording is kept for the next time, and looked for there.",
)


def refuse(problems: Sequence[str], exit_code: int = EXIT_USAGE) -> NoReturn:
    """Print each problem on a line of its own to stderr, and exit."""
    for problem in problems:
        click.echo(f"headroom: {problem}", err=True)
    sys.exit(exit_code)


def open_settings(config_file: Path | None) -> Settings:
    """The settings in a file, or the defaults; exits where the file has mistakes."""
    try:
        return load_settings(config_file)
    except SettingsError as error:
        refuse(error.problems)


def open_recordings(paths: Sequence[Path]) -> list[RecordingFile]:
    """The files that the paths mean; exits where one cannot be read."""
    try:
        return find_recordings(paths)
    except RecordingError as error:
        refuse([str(error)])
