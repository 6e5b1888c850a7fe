"""Rules take effect whole or not at all, from their time on, and every decision names them."""

import pickle
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from jobs.capacity.rules import RulesError, Timeline, Version, near_limit_condition, parse_rules, read_rules
from jobs.cli import cli
from jobs.settings import LeaseSettings, LimitsSettings, Settings
from jobs.settings.load import parse_settings
from tests.jobs.test_settings import UNHURRIED

LOW_TABLE = """
[[limits.rules]]
table = "low's"
wcu = 99
[[limits.rules]]
table = "low's"
partition_key = "a*"
wcu = 10
"""
EXEMPT_TABLE = '[[limits.rules]]\ntable = "free"\nexempt = true'
BASE = '[limits]\ndefault_wcu = 6000\n[rules]\nfile = "rules.toml"\n'
SEVEN = """
[[rules]]
version = 7
valid_from = "2026-11-20T10:06:00+00:00"
shadow = true
[rules.limits]
default_wcu = 8000
[[rules.limits.rules]]
table = "conversations"
partition_key = "tenant-000221"
exempt = true
[rules.lease]
steps = ["1m", "5m"]
"""
AT_MS = 1_795_169_160_000


def settings(toml: str = BASE) -> Settings:
    return parse_settings(toml.encode(), "h.toml")


def problems(text: str, given: Settings | None = None) -> tuple[str, ...]:
    with pytest.raises(RulesError) as caught:
        parse_rules(text, given or settings(), "rules.toml")
    return caught.value.problems


def version(number: int, from_ms: int | None) -> Version:
    limits = LimitsSettings(default_wcu=10_000 + number)
    return Version(number, from_ms, shadow=False, limits=limits, lease=LeaseSettings())


def test_a_version_changes_what_it_says_and_nothing_else() -> None:
    (seven,) = parse_rules(SEVEN, settings(), "rules.toml")
    assert (seven.number, seven.from_ms, seven.shadow) == (7, AT_MS, True)
    assert seven.limits.default_wcu == 8_000
    assert seven.limits.warn_ratio == Decimal("0.8")
    assert seven.lease.steps_ms == (60_000, 300_000)
    (only_shadow,) = parse_rules("[[rules]]\nversion = 1\nshadow = true", settings(), "r")
    assert (only_shadow.limits, only_shadow.lease) == (settings().limits, settings().lease)


@pytest.mark.parametrize(("at_ms", "wcu"), [(AT_MS - 1, 6_000), (AT_MS, 8_000), (AT_MS + 1, 8_000)])
def test_a_version_is_in_force_from_its_time_on(at_ms: int, wcu: int) -> None:
    timeline = Timeline(settings(), parse_rules(SEVEN, settings(), "r"))
    assert timeline.at(at_ms).limit_for("t", "k").wcu == wcu


def test_every_limit_names_its_version_where_rules_can_change_and_none_where_they_cannot() -> None:
    timeline = Timeline(settings(), parse_rules(SEVEN, settings(), "r"))
    assert timeline.at(0).limit_for("t", "k").rule == "default@0"
    assert timeline.at(AT_MS).limit_for("t", "k").rule == "default@7"
    assert timeline.at(AT_MS).limit_for("conversations", "tenant-000221").rule == "conversations/tenant-000221@7"
    assert Timeline(Settings(), ()).at(0).limit_for("t", "k").rule == "default"


@UNHURRIED
@given(st.lists(st.tuples(st.integers(1, 6), st.none() | st.integers(0, 9)), unique_by=lambda each: each[0]), st.data())
def test_the_highest_version_that_has_begun_is_in_force_however_they_came(
    given_versions: list[tuple[int, int | None]], data: st.DataObject
) -> None:
    versions = [version(number, from_ms) for number, from_ms in given_versions]
    timeline = Timeline(settings(), data.draw(st.permutations(versions)))
    for at_ms in range(-1, 11):
        begun = [number for number, from_ms in given_versions if (from_ms or 0) <= at_ms]
        assert timeline.at(at_ms).version == max(begun, default=0)


def test_a_timeline_reaches_workers_as_it_is() -> None:
    timeline = pickle.loads(pickle.dumps(Timeline(settings(), parse_rules(SEVEN, settings(), "r"))))  # noqa: S301 - own
    assert timeline.at(AT_MS).limit_for("t", "k").rule == "default@7"


def test_all_mistakes_are_told_and_nothing_is_used() -> None:
    text = """
[[rules]]
version = 2
valid_from = "yesterday"
window.size = "1m"
[rules.limits]
default_wcu = 0
[[rules]]
version = 2
[rules.lease]
steps = ["1s"]
[other]
"""
    assert problems(text) == (
        "rules.toml: other: unknown; a file of rules holds [[rules]]",
        "rules.toml: rules[0].window: cannot change while a job runs; a version holds shadow, limits, lease",
        'rules.toml: rules[0].valid_from: "yesterday" is not allowed; it takes a time such as '
        '"2026-11-20T10:06:00+00:00"',
        "rules.toml: rules[0].limits.default_wcu: 0 is not allowed; it takes a whole number from 1 to 1000000000000",
        'rules.toml: rules[1].lease.steps[0]: "1s" is shorter than window.step, "5s"; it would lapse before it can be '
        "extended",
    )


@pytest.mark.parametrize("number", ["0", "-1", "true", '"1"', "1.5"])
def test_a_version_is_a_whole_number_above_the_one_before(number: str) -> None:
    assert "version" in problems(f"[[rules]]\nversion = {number}")[0]
    assert "above 3" in problems("[[rules]]\nversion = 3\n[[rules]]\nversion = 3")[0]


@pytest.mark.parametrize("text", ["", "rules = 1", "rules = [1]", "[rules]\nversion = 1", "]", "a = 1e999999999999"])
def test_what_holds_no_rules_is_refused(text: str) -> None:
    assert problems(text)


@pytest.mark.parametrize(("wcu", "is_refused"), [(999, True), (1_000, False), (1_001, False)])
def test_limits_below_what_reaches_the_rules_are_refused(wcu: int, is_refused: bool) -> None:
    given = settings(BASE.replace("[limits]", "[limits]\nwarn_ratio = 1"))
    text = f"[[rules]]\nversion = 1\n[rules.limits]\nwarn_ratio = 1\ndefault_wcu = {wcu}"
    if is_refused:
        assert "below rules.lowest_warn_wcu, 1000" in problems(text, given)[0]
    else:
        assert parse_rules(text, given, "r")


def reaches_the_rules(given: Settings, table: str, wcu: int) -> bool:
    """Whether a total does, as a database says that has the same CASE and comparison with NULL as Flink."""
    query = f"SELECT {near_limit_condition(given, 'wcu')} FROM (SELECT ? AS table_name, ? AS wcu)"  # noqa: S608 - ours
    with closing(sqlite3.connect(":memory:")) as database:
        ((found,),) = database.execute(query, (table, wcu)).fetchall()
    return bool(found)


@pytest.mark.parametrize(
    ("given", "table", "lowest_wcu"),
    [
        (Settings(), "any", 4_800),
        (settings(), "any", 1_000),
        (settings(BASE.replace("6000", "500")), "any", 400),
        (settings(LOW_TABLE), "low's", 8),
        (settings(LOW_TABLE), "other", 4_800),
        (settings(f"{LOW_TABLE}\n[rules]\nfile = 'r.toml'"), "low's", 8),
        (settings(f"{LOW_TABLE}\n[rules]\nfile = 'r.toml'"), "other", 1_000),
        (settings(f"{EXEMPT_TABLE}\n[rules]\nfile = 'r.toml'"), "free", 1_000),
    ],
    ids=["default", "rules", "low_default", "low", "beside_low", "low_rules", "beside_low_rules", "exempt_rules"],
)
def test_totals_reach_the_rules_from_the_lowest_limit_that_their_table_can_have(
    given: Settings, table: str, lowest_wcu: int
) -> None:
    reached = [reaches_the_rules(given, table, wcu) for wcu in (lowest_wcu - 1, lowest_wcu, lowest_wcu + 1)]
    assert reached == [False, True, True]


def test_no_total_of_a_table_whose_keys_are_all_exempt_reaches_the_rules() -> None:
    assert not reaches_the_rules(settings(EXEMPT_TABLE), "free", 10**12)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for name, content in (("none.toml", None), ("binary.toml", b"\xff")):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        given = settings(f"[rules]\nfile = '{file}'")
        with pytest.raises(RulesError, match=name):
            read_rules(given)


def test_replay_refuses_rules_with_mistakes(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rules]]\nversion = 0")
    recording = Path(__file__).parents[1] / "recordings" / "conversations.jsonl.gz"
    result = CliRunner().invoke(cli, ["replay", str(recording), "--rules", str(rules), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "rules[0].version: 0 is not allowed" in result.output
