"""The page of a replay: what it says, and how it behaves in a real browser."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jobs.cli import cli
from jobs.report.chart import Axis, short, time_ticks, value_ticks
from jobs.report.decisions import lease_times, length_ms, told_decisions
from jobs.settings.render import to_toml
from tests import browser as browser_module
from tests.browser import Browser, assert_fits_and_is_accessible, browser
from tests.connectors.recorded import record
from tests.flink.streams import SETTINGS_TOML, changed_settings, settings, stream, write
from tests.kept_results import keep_result

EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>\u202e\"'&"
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    records = stream()
    at_ms = json.loads(records[1_000])["dynamodb"]["ApproximateCreationDateTime"]
    at_ms = at_ms // 1_000 if at_ms > 10**14 else at_ms
    evil = [record(tableName="sessions", key=EVIL, at_ms=at_ms + number, size=1_500) for number in range(300)]
    return [*records[:1_000], *evil, *records[1_000:]]


@pytest.fixture(scope="module")
def kept(content: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("report")
    before = os.environ.get("HEADROOM_CACHE_DIR")
    os.environ["HEADROOM_CACHE_DIR"] = str(directory / "cache")
    yield keep_result([write(directory / "a.jsonl", content)], [content], settings(), directory / "out")
    os.environ.pop("HEADROOM_CACHE_DIR") if before is None else os.environ.update(HEADROOM_CACHE_DIR=before)


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def page(kept: Path) -> Path:
    finished = report(kept)
    assert finished.exit_code == 0, finished.output
    return kept / "report.html"


def test_the_page_tells_every_decision_and_its_evidence(page: Path, kept: Path) -> None:
    text = page.read_text(encoding="utf-8")
    actions = [json.loads(line) for line in (kept / "actions.jsonl").read_text().splitlines()]
    assert len(actions) > 4
    for action in actions:
        assert action["action_id"][:12] in text
        assert f"{action['evidence']['consumed_wcu']:,}" in text
    assert ", extended" in text
    assert 'class="lease"' in text
    assert "records could not be read; these are the first 20" in text
    assert "behind the newest before them" in text


def test_what_a_partition_key_says_is_only_text(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<script>document" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "&lt;/script&gt;" in text
    assert text.count("<script>") == 1


def test_the_page_refers_to_nothing_outside_of_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|url\(|@import|https?://""", text)
    assert "default-src &#39;none&#39;" in text


def test_a_page_of_a_result_of_nothing_says_so(tmp_path: Path) -> None:
    out = keep_result([write(tmp_path / "empty.jsonl", [])], [[]], settings(), tmp_path / "out")
    assert report(out, "--no-cache").exit_code == 0
    text = (out / "report.html").read_text()
    for said in ("The recording holds no change", "No partition key went over", "None: every record could be read"):
        assert said in text


def test_in_shadow_the_page_tells_decisions_too(content: list[bytes], tmp_path: Path) -> None:
    given = settings("shadow = true\n")
    out = keep_result([write(tmp_path / "a.jsonl", content)], [content], given, tmp_path / "out")
    assert report(out, "--no-cache", "--out", tmp_path / "page.html").exit_code == 0
    assert "none would be sent" in (tmp_path / "page.html").read_text()
    assert not (out / "report.html").exists()


def test_where_rules_changed_the_page_says_whose_limits_it_draws(content: list[bytes], tmp_path: Path) -> None:
    kept = keep_result([write(tmp_path / "a.jsonl", content)], [content], settings(), tmp_path / "out")
    said = "Limits here are those of the settings; rules changed them meanwhile"
    report(kept)
    assert said not in (kept / "report.html").read_text()
    (kept / "settings.toml").write_text(to_toml(changed_settings(rules={"file": "rules.toml"})))
    report(kept)
    assert said in (kept / "report.html").read_text()


def test_an_exempt_key_is_counted_and_not_drawn(content: list[bytes], tmp_path: Path) -> None:
    rules = [{"table": "conversations", "exempt": True}]
    given = changed_settings(limits={"rules": tuple(rules)})
    out = keep_result([write(tmp_path / "a.jsonl", content)], [content], given, tmp_path / "out")
    assert report(out, "--no-cache").exit_code == 0
    text = (out / "report.html").read_text()
    assert re.search(r"\d+ more are exempt", text)
    assert '<h3><span class="key">conversations' not in text


def test_mistakes_are_told_with_what_to_do(content: list[bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", content[:200])
    out = keep_result([path], [content[:200]], settings(), tmp_path / "out")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "other.jsonl", content[200:300])
    same_size = bytearray(path.read_bytes())
    same_size[:2_000] = b"x" * 2_000
    (tmp_path / "changed.jsonl").write_bytes(same_size)
    path.rename(tmp_path / "moved.jsonl")
    mistakes: list[tuple[list[str | Path], str]] = [
        (["nowhere"], "no such directory; `headroom replay` writes one"),
        ([tmp_path / "empty"], "summary.json is missing"),
        ([out], "name it with --recording"),
        ([out, "--recording", tmp_path / "other.jsonl"], "has changed since"),
        ([out, "--recording", tmp_path / "changed.jsonl"], "has changed since"),
    ]
    for arguments, said in mistakes:
        finished = report(*arguments, "--no-cache")
        assert finished.exit_code == 2, finished.output
        assert said in finished.output
    assert report(out, "--no-cache", "--recording", tmp_path / "moved.jsonl").exit_code == 0
    unwritable = report(
        out, "--no-cache", "--recording", tmp_path / "moved.jsonl", "--out", tmp_path / "no" / "page.html"
    )
    assert (unwritable.exit_code, "cannot be written" in unwritable.output) == (1, True)


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (5, [0, 2, 4, 6]),
        (6_000, [0, 2_000, 4_000, 6_000]),
        (8_001, [0, 5_000, 10_000]),
    ],
)
def test_values_on_an_axis_are_round_and_reach_above_the_highest(highest: int, expected: list[int]) -> None:
    assert value_ticks(highest) == expected


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (800, "800"), (1_500, "1.5k"), (2_000_000, "2M")])
def test_values_on_an_axis_are_short(value: int, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize("hours", [0.002, 0.02, 0.2, 3, 11, 13, 40 * 24, 900 * 24])
def test_times_on_an_axis_are_few_and_differ(hours: float) -> None:
    axis = Axis.covering(1_795_168_800_070, 1_795_168_800_070 + int(hours * HOUR_MS), 5_000)
    labels = [tick.label for tick in time_ticks(axis)]
    assert 2 <= len(labels) == len(set(labels)) <= 12
    assert axis.point_ms % 5_000 == 0


def test_midnight_on_an_axis_is_told_by_its_date() -> None:
    axis = Axis.covering(1_795_168_800_070, 1_795_168_800_070 + 26 * HOUR_MS, 5_000)
    assert [tick.label for tick in time_ticks(axis)] == ["12:00", "18:00", "11-21", "06:00", "12:00"]


def test_leases_that_are_extended_are_one_stretch() -> None:
    def action(issued_at_ms: int, lease_ms: int, key: str = "k") -> dict[str, Any]:
        end_ms = issued_at_ms + lease_ms
        return {
            "table": "t",
            "partition_key": key,
            "partition_key_type": "S",
            "issued_at_ms": issued_at_ms,
            "not_after_ms": end_ms,
        }

    decisions = told_decisions([action(0, 10), action(3, 5, "other"), action(9, 10), action(19, 10)])
    assert [each.extends for each in decisions] == [False, False, True, False]
    times = lease_times(decisions)
    assert times == {("t", "k"): [(0, 19), (19, 29)], ("t", "other"): [(3, 8)]}
    assert length_ms(times["t", "k"]) == 29


# In a real browser.

needs_browser = pytest.mark.skipif(
    browser_module.CHROMIUM is None or browser_module.DRIVER is None, reason=browser_module.WHY_NOT
)


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_and_no_accessibility_rule_is_broken(window: Browser, page: Path, width: int, dark: bool) -> None:
    assert_fits_and_is_accessible(window, page, width=width, dark=dark)


@needs_browser
def test_search_narrows_the_decisions_and_says_how_many_are_left(window: Browser, page: Path, kept: Path) -> None:
    window.look(width=1280)
    window.open(page)
    rows = len((kept / "actions.jsonl").read_text().splitlines())
    for query, expected in [("tenant-000022", None), ("no such key", 0), ("", rows)]:
        window.run(
            "const input = document.getElementById('search'); input.value = arguments[0];"
            "input.dispatchEvent(new Event('input'))",
            query,
        )
        shown = window.run(
            "return [...document.querySelectorAll('#decisions tbody tr')].filter(row => row.checkVisibility())"
            ".map(row => row.textContent)"
        )
        assert all(query in row for row in shown)
        assert len(shown) == expected or (expected is None and 0 < len(shown) < rows)
        status = window.run("return document.querySelector('.search output').textContent")
        assert status == (f"{len(shown)} of {rows} rows" if query else "")


@needs_browser
def test_without_its_script_the_page_is_whole_but_for_the_search(window: Browser, page: Path, kept: Path) -> None:
    window.devtools("Emulation.setScriptExecutionDisabled", value=True)
    try:
        window.open(page)
        document = window.devtools("DOM.getDocument", depth=1)["root"]["nodeId"]
        rows = window.devtools("DOM.querySelectorAll", nodeId=document, selector="#decisions tbody tr")["nodeIds"]
        assert len(rows) == len((kept / "actions.jsonl").read_text().splitlines())
        search = window.devtools("DOM.querySelector", nodeId=document, selector=".search[hidden]")["nodeId"]
        assert search != 0
    finally:
        window.devtools("Emulation.setScriptExecutionDisabled", value=False)


@needs_browser
def test_the_keyboard_reaches_everything_and_what_it_reaches_is_seen(window: Browser, page: Path) -> None:
    window.look(width=1280)
    window.open(page)
    reached = []
    for _ in range(40):
        window.tab()
        told = window.run(
            "const at = document.activeElement, style = getComputedStyle(at);"
            "return [at.tagName.toLowerCase(), at.className || at.id, style.outlineStyle, style.outlineWidth]"
        )
        if told[0] == "body":
            break
        reached.append(tuple(told))
    assert reached[0][:2] == ("a", "skip")
    assert {"summary", "input", "div"} <= {each[0] for each in reached}
    assert all(style == "solid" and width != "0px" for _, _, style, width in reached)


@needs_browser
def test_nothing_runs_or_is_fetched_and_the_browser_has_no_complaint(window: Browser, page: Path) -> None:
    window.open(page)
    assert "owned" not in window.run("return document.title")
    assert window.run("return performance.getEntriesByType('resource').length") == 0
    assert window.run("return document.images.length") == 0
    assert window.log() == []


@needs_browser
def test_on_paper_the_page_is_dark_on_white_whatever_the_screen_is(window: Browser, page: Path) -> None:
    window.look(width=1280, dark=True)
    window.open(page)
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    window.devtools("Emulation.setEmulatedMedia", media="print", features=[scheme])
    assert window.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert window.run("return document.querySelector('.search').checkVisibility()") is False
    window.devtools("Emulation.setEmulatedMedia", media="", features=[])


def test_the_settings_of_these_tests_are_the_ones_that_are_kept(kept: Path) -> None:
    assert "default_wcu = 400" in SETTINGS_TOML
    assert "default_wcu = 400" in (kept / "settings.toml").read_text()
