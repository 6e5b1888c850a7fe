"""The commands `headroom config check` and `headroom config show`."""

import sys
from pathlib import Path

import click

from jobs.settings import Settings, SettingsError, load_settings
from jobs.settings.render import count_given, count_left_at_default, to_json, to_toml
from jobs.settings.toml_text import printable

_EXIT_INVALID = 2
_FILE = click.Path(path_type=Path)


@click.group()
def config() -> None:
    """Check a settings file, or show the settings in effect."""


@config.command()
@click.argument("file", type=_FILE)
def check(file: Path) -> None:
    """Tell every mistake in the settings FILE.

    \b
    Exit status: 0 when FILE can be used, 2 when it cannot.

    \b
    Examples:
      headroom config check headroom.toml
      headroom config show > mine.toml && headroom config check mine.toml
    """  # noqa: D301 - click looks for the character that the escape stands for
    settings = _settings(file)
    given = _counted(count_given(settings), "setting")
    left = count_left_at_default(settings)
    click.echo(f"{printable(str(file))}: ok, {given} given, {left} left at their defaults")


@config.command()
@click.argument("file", type=_FILE, required=False)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["toml", "json"]),
    default="toml",
    show_default=True,
    help="toml marks the defaults and can be used as a settings file.",
)
def show(file: Path | None, output_format: str) -> None:
    """Print the settings in effect: those of FILE, else defaults.

    \b
    Exit status: 0, or 2 when FILE cannot be used.

    \b
    Examples:
      headroom config show
      headroom config show headroom.toml
      headroom config show headroom.toml --format json
    """  # noqa: D301 - click looks for the character that the escape stands for
    settings = _settings(file)
    click.echo(to_json(settings) if output_format == "json" else to_toml(settings), nl=False)


def _settings(file: Path | None) -> Settings:
    """The settings in the file; with a mistake in them, the command tells all and ends here."""
    try:
        return load_settings(file)
    except SettingsError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        click.echo(f"{_counted(len(error.problems), 'problem')} found", err=True)
        sys.exit(_EXIT_INVALID)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
