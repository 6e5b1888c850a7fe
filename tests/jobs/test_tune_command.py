"""`headroom tune`: what it takes, what it prints, and what it suggests."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from connectors.recordings.files import find_recordings
from jobs.cli import cli
from jobs.consumption.collect import collect
from jobs.settings import Settings, WindowKind
from jobs.tune.cell import Judge
from jobs.tune.choices import Axes, ChoicesError, combinations, lease_text, read_kinds, read_leases, read_limits
from jobs.tune.suggest import Budget, suggest
from tests.connectors.recorded import record
from tests.flink.streams import SETTINGS_TOML, changed_settings, settings, stream, write
from tests.tune_oracle import changes_of

CELL_NAMES = [
    "limit_wcu", "window", "step", "kind", "lease", "suspended_keys", "suspensions", "extensions", "suspended_ms",
    "refused_wcu", "refused_writes", "near_keys", "seconds_to_suspend_median", "seconds_to_suspend_max",
    "source", "known_to_the_minute", "knock_on_modelled",
]  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tune")
    write(directory / "a.jsonl", stream())
    (directory / "headroom.toml").write_text(SETTINGS_TOML)
    return directory


@pytest.fixture(autouse=True)
def cached(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_CACHE_DIR", str(directory / "cache"))


def tune(directory: Path, *arguments: str) -> Result:
    paths = [str(directory / "a.jsonl"), "--config", str(directory / "headroom.toml")]
    return CliRunner().invoke(cli, ["tune", *paths, *arguments])


def test_json_is_a_list_of_a_cell_for_each_combination(directory: Path) -> None:
    axes = ["--limit", "80,400", "--window", "1m,2m", "--lease", "30s/1m,45s"]
    finished = tune(directory, *axes, "--format", "json")
    cells = json.loads(finished.stdout)
    assert [list(cell) for cell in cells] == [CELL_NAMES] * 8
    assert {(cell["limit_wcu"], cell["window"], tuple(cell["lease"])) for cell in cells} == {
        (limit, window, lease) for limit in (80, 400) for window in ("1m", "2m") for lease in (("30s", "1m"), ("45s",))
    }
    assert {(cell["source"], *cell["known_to_the_minute"], cell["knock_on_modelled"]) for cell in cells} == {
        ("recording", False)
    }
    assert finished.stdout == tune(directory, *axes, "--format", "json", "--no-cache").stdout


def test_the_table_marks_what_is_set_now_and_says_what_refused_leaves_out(directory: Path) -> None:
    finished = tune(directory)
    assert finished.exit_code == 0
    [now] = [line for line in finished.stdout.splitlines() if line.startswith("*  ")]
    assert " 400 " in now
    assert "later totals would have been lower" in finished.stdout
    assert "\x1b" not in finished.stdout


def test_in_a_narrow_terminal_no_figure_is_cut(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axes = ["--limit", "80,40000", "--window", "1m,2m", "--lease", "30s/1m,45s", "--kind", "cumulate,hop"]
    wide = tune(directory, *axes).stdout
    monkeypatch.setattr("jobs.tune.command.open_console", lambda: Console(width=80))
    narrow = tune(directory, *axes).stdout
    assert "…" not in narrow
    assert max(map(len, narrow.split("Leases: suspensions")[0].splitlines())) <= 80
    assert [line for line in narrow.splitlines() if "Kind" in line][:2] == [
        "Kind cumulate, Window 1m, Lease 30s/1m",
        "Kind cumulate, Window 1m, Lease 45s",
    ]
    figures = [line.split()[3:] for line in wide.splitlines() if line.strip().startswith(("cumulate ", "hop "))]
    assert [line.split() for line in narrow.splitlines() if re.match(r"\s+(80|40,000) ", line)] == figures


def test_the_page_holds_every_cell(directory: Path) -> None:
    finished = tune(directory, "--limit", "80,400", "--suggest", "--format", "html")
    assert finished.stdout.startswith("<!doctype html>")
    assert finished.stdout.count('<th scope="row"') == 2
    assert "Suggested:" in finished.stdout


def test_mistakes_are_told_by_the_option_at_fault(directory: Path) -> None:
    for arguments, said in [
        (["--limit", "2000,x"], "'x' is not a limit"),
        (["--limit", "0"], "'0' is not a limit"),
        (["--limit", "1000000000001"], "limits.default_wcu"),
        (["--window", "2"], "'2' is not a duration"),
        (["--window", "7s"], 'window.size: "7s" is not a multiple of window.step'),
        (["--lease", "2m/1m"], "shorter than the one before it"),
        (["--lease", "1s"], "it would lapse before it can be extended"),
        (["--kind", "tumble"], "'tumble' is not a kind of window"),
        (["--budget", "few"], "'few' is not a budget"),
    ]:
        finished = tune(directory, *arguments)
        assert (finished.exit_code, said in finished.output) == (2, True), finished.output


def test_the_suggested_limit_keeps_to_the_budget_and_the_next_lower_does_not(directory: Path) -> None:
    finished = tune(directory, "--suggest", "--budget", "3", "--format", "json")
    told = json.loads(finished.stdout)
    [suggestion] = told["suggestions"]
    assert suggestion["suggested"]["suspensions"] <= 3 < suggestion["next_lower"]["suspensions"]
    assert suggestion["next_lower"]["limit_wcu"] < suggestion["suggested"]["limit_wcu"]
    assert suggestion["fullest_window_wcu"]["p50"] <= suggestion["highest_wcu"]
    assert told["cells"]


def test_every_limit_above_a_suggested_one_keeps_to_the_budget_too(directory: Path) -> None:
    consumption = collect(find_recordings([directory / "a.jsonl"]), settings(), 500)
    judge = Judge(consumption)
    for allowed in (0, 1, 2, 5, 20):
        found = suggest(consumption, settings(), judge, Budget(allowed, None))
        assert found.chosen is not None
        limit_wcu = found.chosen.settings.limits.default_wcu
        higher = [changed_settings(limits={"default_wcu": limit_wcu * factor // 2}) for factor in (2, 3, 4, 8, 20)]
        assert all(cell.suspensions <= allowed for cell in judge.cells(higher))
        assert found.below is None or found.below.suspensions > allowed


def test_where_rules_alone_break_the_budget_no_limit_is_suggested(directory: Path) -> None:
    rules = ({"table": "sessions", "wcu": 5},)
    consumption = collect(find_recordings([directory / "a.jsonl"]), settings(), 500)
    given = changed_settings(limits={"rules": rules})
    assert suggest(consumption, given, Judge(consumption), Budget(0, None)).chosen is None


@pytest.mark.parametrize(
    ("text", "allowed"), [("5/day", 0.21), ("24/day", 1), ("2/hour", 2), ("168/week", 1), ("3", 3), ("0/day", 0)]
)
def test_a_budget_is_for_the_time_that_the_recording_covers(text: str, allowed: float) -> None:
    assert Budget.read(text).allowed(3_600_000) == pytest.approx(allowed)


def test_notation_is_read_as_it_is_written() -> None:
    assert read_limits("2000, 4_000") == [2_000, 4_000]
    assert read_leases("2m/5m/10m,1m") == [(120_000, 300_000, 600_000), (60_000,)]
    assert lease_text((120_000, 300_000)) == "2m/5m"
    assert read_kinds("hop,cumulate") == [WindowKind.HOP, WindowKind.CUMULATE]


def test_combinations_are_all_once_and_rules_hold_in_each() -> None:
    axes = Axes(limits_wcu=(5, 6, 5), windows_ms=(10_000, 20_000), kinds=tuple(WindowKind))
    choices = combinations(settings(), axes)
    assert len(choices) == 8
    assert all(choice.limits.rules == settings().limits.rules for choice in choices)
    assert Settings() in combinations(Settings(), Axes())
    with pytest.raises(ChoicesError) as refused:
        combinations(settings(), Axes(windows_ms=(7_000, 20_000), leases_ms=((1,),)))
    assert len(refused.value.problems) >= 2


def test_hot_keys_rank_what_was_consumed(directory: Path) -> None:
    paths = [str(directory / "a.jsonl"), "--config", str(directory / "headroom.toml")]
    finished = CliRunner().invoke(cli, ["hot-keys", *paths, "--period", "2m", "--top", "3", "--format", "json"])
    rankings = json.loads(finished.stdout)
    expected: dict[tuple[str, int], dict[str, int]] = {}
    [changes] = changes_of([stream()], settings())
    busiest: dict[tuple[str, str, int], int] = {}
    for change in changes:
        of_period = expected.setdefault((change.table, change.at_ms // 120_000 * 120_000), {})
        of_period[change.partition_key] = of_period.get(change.partition_key, 0) + change.wcu
        second = (change.table, change.partition_key, change.at_ms // 1_000)
        busiest[second] = busiest.get(second, 0) + change.wcu
    assert [(each["table"], each["period_start_ms"]) for each in rankings] == sorted(expected)
    for each in rankings:
        of_period = expected[each["table"], each["period_start_ms"]]
        assert each["wcu"] == sum(of_period.values())
        assert each["partition_keys"] == len(of_period)
        assert [hot["wcu"] for hot in each["top"]] == sorted(of_period.values(), reverse=True)[:3]
        for hot in each["top"]:
            assert hot["wcu"] == of_period[hot["partition_key"]]
            start_s = each["period_start_ms"] // 1_000
            seconds = [busiest.get((each["table"], hot["partition_key"], start_s + at), 0) for at in range(120)]
            assert hot["busiest_second_wcu"] == max(seconds)
            assert hot["partition_limit"] is None
    assert "Busiest second" in CliRunner().invoke(cli, ["hot-keys", *paths]).stdout
    wrong = CliRunner().invoke(cli, ["hot-keys", *paths, "--period", "100ms"])
    assert (wrong.exit_code, "whole seconds" in wrong.output) == (2, True)


@pytest.mark.parametrize(("wcu", "told"), [(799, None), (800, "approached"), (999, "approached"), (1_000, "reached")])
def test_how_near_a_second_came_to_what_a_partition_takes(wcu: int, told: str | None, tmp_path: Path) -> None:
    records = [record(1_763_000_000_000 + at, "k", 1_024 * 100 - 7) for at in range(wcu // 100)]
    records += [record(1_763_000_000_500, "k", 1_000) for _ in range(wcu % 100)]
    write(tmp_path / "a.jsonl", records)
    finished = CliRunner().invoke(cli, ["hot-keys", str(tmp_path / "a.jsonl"), "--format", "json", "--no-cache"])
    [ranking] = json.loads(finished.stdout)
    assert (ranking["top"][0]["busiest_second_wcu"], ranking["top"][0]["partition_limit"]) == (wcu, told)


def test_the_cache_is_shown_and_cleared(directory: Path) -> None:
    tune(directory)
    shown = CliRunner().invoke(cli, ["cache", "show"]).stdout
    assert str(directory / "cache") in shown
    assert "1 recording" in shown
    assert "freed" in CliRunner().invoke(cli, ["cache", "clear"]).stdout
    assert "0 recordings" in CliRunner().invoke(cli, ["cache", "show"]).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    finished = CliRunner().invoke(cli, ["completion", shell])
    assert finished.exit_code == 0
    assert "_HEADROOM_COMPLETE" in finished.stdout


def test_bash_completes_commands_and_options() -> None:
    headroom = Path(sys.executable).parent / "headroom"
    asked = [
        ("headroom tu", 1, "tune"),
        ("headroom tune --sug", 2, "--suggest"),
        ("headroom tune --format h", 3, "html"),
        ("headroom tune da", 2, "file,da"),
        ("headroom hot-keys da", 2, "file,da"),
    ]
    for words, at, expected in asked:
        environment = {"_HEADROOM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        finished = subprocess.run([headroom], env=environment, capture_output=True, text=True, check=False)
        assert expected in finished.stdout
