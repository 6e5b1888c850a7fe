"""Settings go into property groups and come back as they were."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given

from jobs.cli import cli
from jobs.settings import Settings, TableSettings, schema
from jobs.settings.load import parse_settings
from jobs.settings.properties import (
    LONGEST_VALUE,
    MOST_ENTRIES,
    MOST_GROUPS,
    PropertiesError,
    from_groups,
    parse_json,
    property_of,
    to_groups,
    to_json,
)
from jobs.settings.reference import example_file
from tests.jobs.test_settings import UNHURRIED, any_settings

EVERYTHING = """
shadow = true
[window]
size = "4m"
step = "10s"
kind = "hop"
[lease]
steps = ["30s", "1m30s"]
[limits]
warn_ratio = 0.75
[[limits.rules]]
table = "conversations"
partition_key = "tenant-0001*"
wcu = 12000
[[limits.rules]]
table = "a.b-c"
exempt = true
[tables."a.b-c"]
partition_key = "pk"
"""


def settings(toml: str) -> Settings:
    return parse_settings(toml.encode(), "h.toml")


def problems(groups: dict[str, dict[str, str]]) -> tuple[str, ...]:
    with pytest.raises(PropertiesError) as caught:
        from_groups(groups)
    return caught.value.problems


@UNHURRIED
@given(any_settings())
def test_settings_written_as_property_groups_read_back_equal(written: Settings) -> None:
    groups = to_groups(written)
    assert from_groups(parse_json(to_json(groups).encode())) == written
    assert len(groups) <= MOST_GROUPS
    assert all(1 <= len(entries) <= MOST_ENTRIES for entries in groups.values())


def test_every_setting_goes_across() -> None:
    # The example has all settings; uncommented, its rules and tables too.
    lines = [line if line.startswith("# ") else line.removeprefix("#") for line in example_file().splitlines()]
    written = settings("\n".join(line for line in lines if line != "exempt = false"))
    keys = {f"{group}.{key}" for group, entries in to_groups(written).items() for key in entries}
    for setting in schema.settings():
        name = setting.path.replace("rules[]", "rules.0").replace("<name>", "conversations")
        assert f"headroom.{name}" in keys
    assert from_groups(to_groups(written)) == written


def test_the_groups_and_keys_are_the_documented_ones() -> None:
    assert to_groups(settings(EVERYTHING)) == {
        "headroom": {"shadow": "true"},
        "headroom.window": {"size": "4m", "step": "10s", "kind": "hop"},
        "headroom.limits": {"warn_ratio": "0.75"},
        "headroom.limits.rules": {
            "0.table": "conversations",
            "0.partition_key": "tenant-0001*",
            "0.wcu": "12000",
            "0.exempt": "false",
            "1.table": "a.b-c",
            "1.exempt": "true",
        },
        "headroom.lease": {"steps": "30s, 1m30s"},
        "headroom.tables": {"a.b-c.partition_key": "pk", "a.b-c.transactional": "false"},
    }


def test_defaults_are_no_properties_at_all() -> None:
    assert to_groups(Settings()) == {}
    assert from_groups({}) == Settings()


def test_groups_of_others_are_passed_over() -> None:
    others = {"kinesis.analytics.flink.run.options": {"python": "main.py"}, "headroomy": {"x": "y"}}
    assert from_groups(others | {"headroom": {"shadow": "true"}}) == settings("shadow = true")


@pytest.mark.parametrize("rules", [12, 13, 40])  # 50 entries hold 12 rules of four
def test_rules_beyond_fifty_entries_go_on_in_numbered_groups(rules: int) -> None:
    each = '[[limits.rules]]\ntable = "t"\npartition_key = "{}"\nwcu = 1\n'
    written = settings("".join(map(each.format, range(rules))))
    groups = to_groups(written)
    assert len(groups) == -(-rules * 4 // MOST_ENTRIES)
    shuffled = dict(reversed(groups.items()))
    assert from_groups(shuffled) == written


def test_settings_without_room_in_property_groups_are_refused() -> None:
    each = '[[limits.rules]]\ntable = "t"\npartition_key = "{}"\nwcu = 1\n'
    with pytest.raises(PropertiesError, match="an application has 50"):
        to_groups(settings("".join(map(each.format, range(700)))))
    with pytest.raises(PropertiesError, match=r"headroom\.tables, key t\.partition_key: longer than 2048"):
        to_groups(Settings(tables={"t": TableSettings(partition_key="k" * (LONGEST_VALUE + 1))}))
    to_groups(Settings(tables={"t": TableSettings(partition_key="k" * LONGEST_VALUE)}))


def test_all_mistakes_are_told_at_once_with_group_and_key() -> None:
    assert problems(
        {
            "headroom": {"shadow": "yes", "window": "x", "colour": "red"},
            "headroom.window": {"size": "120", "steps": "5s"},
            "headroom.lease": {"steps": "2m, soon"},
            "headroom.limits.rules": {"1.table": "t", "one.wcu": "5"},
            "headroom.tables": {"transactional": "true"},
            "headroom.limit": {"default_wcu": "5"},
        }
    ) == (
        "group headroom, key window: not a key of this group; a section has a group of its own, headroom.<section>",
        "group headroom.limits.rules, key one.wcu: not a key of this group; its keys are like 0.exempt",
        "group headroom.tables, key transactional: not a key of this group; its keys are like name.transactional",
        "group headroom.limit: unknown group; known are headroom, headroom.window, headroom.limits, "
        "headroom.limits.rules, headroom.lease, headroom.decode, headroom.usage, headroom.kinesis, headroom.sqs, "
        "headroom.rules, headroom.tables, headroom.spot, headroom.spot.signals, headroom.spot.market",
        "group headroom.limits.rules: keys are numbered from 0 without a gap; 0 is missing",
        'group headroom, key shadow: "yes" is not allowed; it takes true or false',
        "group headroom, key colour: unknown setting; known here are shadow, window, limits, lease, decode, "
        "usage, kinesis, sqs, rules, tables, spot",
        'group headroom.window, key size: 120 has no unit; write "120s"',
        "group headroom.window, key steps: unknown setting; did you mean window.step?",
        'group headroom.lease, key steps: "soon" is not allowed; it takes a duration from "100ms" to "1d"',
        "group headroom.limits.rules, key 0: sets no limit; give wcu, or exempt = true",
    )


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("shadow",), ("headroom", "shadow")),
        (("window", "size"), ("headroom.window", "size")),
        (("lease", "steps", 1), ("headroom.lease", "steps")),
        (("limits", "rules", 2, "wcu"), ("headroom.limits.rules", "2.wcu")),
        (("limits", "rules", 2), ("headroom.limits.rules", "2")),
        (("tables", "a.b", "partition_key"), ("headroom.tables", "a.b.partition_key")),
    ],
)
def test_a_setting_has_one_place_in_the_groups(path: tuple[str | int, ...], place: tuple[str, str]) -> None:
    assert property_of(path) == place


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"{}", "not an array of property groups"),
        (b"[1]", r"\[0\]: not a property group"),
        (b'[{"PropertyGroupId": "headroom", "PropertyMap": {"shadow": true}}]', "not a map of texts"),
        (b'[{"PropertyGroupId": "g", "PropertyMap": {}}, {"PropertyGroupId": "g", "PropertyMap": {}}]', "g again"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_none_of_property_groups_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(PropertiesError, match=problem):
        parse_json(content)


def found(groups: dict[str, dict[str, str]]) -> tuple[str, ...]:
    try:
        from_groups(groups)
    except PropertiesError as error:
        return error.problems
    return ()


@UNHURRIED
@given(any_settings())
def test_no_mistake_in_a_value_is_more_than_a_problem(written: Settings) -> None:
    groups = to_groups(written)
    broken: dict[str, dict[str, str]] = {group: dict.fromkeys(entries, "[") for group, entries in groups.items()}
    assert all(problem.isprintable() for problem in found(broken))


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["config", *map(str, arguments)])


def test_the_commands_take_a_file_to_properties_and_back(tmp_path: Path) -> None:
    toml, properties, again = tmp_path / "h.toml", tmp_path / "p.json", tmp_path / "again.toml"
    toml.write_text(EVERYTHING)
    properties.write_text(run("to-properties", toml).output)
    assert {group["PropertyGroupId"] for group in json.loads(properties.read_text())} >= {"headroom", "headroom.window"}
    again.write_text(run("from-properties", properties).output)
    assert settings(again.read_text()) == settings(EVERYTHING)


def test_the_commands_name_the_file_at_fault(tmp_path: Path) -> None:
    missing = run("from-properties", tmp_path / "none.json")
    assert missing.exit_code == 2
    assert "none.json: cannot be read: No such file" in missing.output
    wrong = tmp_path / "p.json"
    wrong.write_text('[{"PropertyGroupId": "headroom.window", "PropertyMap": {"size": "never"}}]')
    refused = run("from-properties", wrong)
    assert refused.exit_code == 2
    assert "p.json: group headroom.window, key size" in refused.output
    assert "1 problem found" in refused.output
