"""The commands of `headroom config`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import click

from jobs.settings import Settings, SettingsError, load_settings
from jobs.settings.properties import PropertiesError, from_groups, parse_json, to_groups
from jobs.settings.properties import to_json as properties_json
from jobs.settings.render import count_given, count_left_at_default, to_json, to_toml
from jobs.settings.toml_text import printable

_EXIT_INVALID = 2
_FILE = click.Path(path_type=Path)


@click.group()
def config() -> None:
    """Check a settings file, show the settings in effect, turn them into property groups and back."""


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


@config.command("to-properties")
@click.argument("file", type=_FILE)
def to_properties(file: Path) -> None:
    """Print the settings given in FILE as property groups.

    That is how Managed Service for Apache Flink hands settings to a job: as EnvironmentProperties of the application,
    and there as /etc/flink/application_properties.json. Settings left at their defaults are not written, but for those
    of a rule or a table.

    
    Exit status: 0, or 2 when FILE cannot be used or its settings have no room in property groups.

    
    Examples:
      headroom config to-properties headroom.toml
      headroom config to-properties headroom.toml > application_properties.json
    """
    try:
        groups = to_groups(_settings(file))
    except PropertiesError as error:
        _refuse(f"{printable(str(file))}: {problem}" for problem in error.problems)
    click.echo(properties_json(groups), nl=False)


@config.command("from-properties")
@click.argument("file", type=_FILE)
def from_properties(file: Path) -> None:
    """Print the settings in the property groups in FILE as TOML.

    FILE is what `to-properties` prints; groups that are not Headroom's are passed over.

    
    Exit status: 0, or 2 when FILE cannot be used; every mistake is told with its group and key.

    
    Examples:
      headroom config from-properties application_properties.json > headroom.toml
    """
    try:
        settings = from_groups(parse_json(file.read_bytes()))
    except OSError as error:
        _refuse([f"{printable(str(file))}: cannot be read: {error.strerror}"])
    except PropertiesError as error:
        _refuse(f"{printable(str(file))}: {problem}" for problem in error.problems)
    click.echo(to_toml(settings), nl=False)


def _settings(file: Path | None) -> Settings:
    """The settings in the file; with a mistake in them, the command tells all and ends here."""
    try:
        return load_settings(file)
    except SettingsError as error:
        _refuse(error.problems)


def _refuse(problems: Iterable[str]) -> NoReturn:
    """Tell all problems and how many they are, and end the command."""
    count = 0
    for count, problem in enumerate(problems, 1):  # noqa: B007 - the count is what is left of the loop
        click.echo(problem, err=True)
    click.echo(f"{_counted(count, 'problem')} found", err=True)
    sys.exit(_EXIT_INVALID)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
