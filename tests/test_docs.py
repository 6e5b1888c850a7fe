"""The documents say what the program does."""

import re
from pathlib import Path

import click
import pytest

from jobs.cli import cli
from jobs.settings import load_settings
from jobs.settings.reference import readme_with_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def leaf_commands(group: click.Group, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= leaf_commands(command, (*path, name))
        else:
            found[*path, name] = command
    return found


COMMANDS = leaf_commands(cli)


def test_the_readme_has_the_table_of_settings_that_the_model_gives() -> None:
    assert readme_with_table(README) == README, "run `python -m jobs.settings`"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_readme(command: tuple[str, ...]) -> None:
    assert " ".join(("headroom", *command)) in README


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_examples_and_every_option_is_explained(command: tuple[str, ...]) -> None:
    assert "Example" in f"{COMMANDS[command].help} {COMMANDS[command].epilog}"
    unexplained = [
        option.name for option in COMMANDS[command].params if isinstance(option, click.Option) and not option.help
    ]
    assert unexplained == []


def test_every_make_target_in_the_readme_exists_and_has_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert {"replay", "test"} <= named
    for target in named:
        assert re.search(rf"^{target}:.*## \S", makefile, re.MULTILINE), target


def test_every_link_in_the_documents_leads_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_settings_are_valid() -> None:
    for file in [ROOT / "headroom.example.toml", *(ROOT / "examples").glob("*.toml")]:
        load_settings(file)


def test_ci_runs_the_readme_s_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in README


def test_every_word_to_look_for_in_a_log_is_one_that_is_logged() -> None:
    alarms = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("\n## Alarms\n")[2]
    named = set(re.findall(r"`([a-z]+_[a-z_]+)`(?: and `[a-z_]+`)? (?:in|and)", alarms.partition("\n## Metrics\n")[0]))
    named |= set(re.findall(r"[Ll]og has `([a-z_]+)`", alarms))
    assert {"action_returned", "call_failed", "message_returned", "orphan_failed"} <= named
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "lambdas").rglob("*.py"))
    for name in named:
        assert re.search(rf"""logger\.\w+\(\s*f?"{name}\"""", source), name
