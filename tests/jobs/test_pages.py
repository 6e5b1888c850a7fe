"""The pages of commands that have no tests of their own in a browser: `tune`, `hot-keys` and `spot report`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from jobs.cli import cli
from jobs.pages.render import about
from tests import browser as browser_module
from tests.browser import Browser, assert_fits_and_is_accessible, browser
from tests.connectors.recorded import record
from tests.flink.streams import SETTINGS_TOML, stream, write
from tests.usage.ledgers import make_ledger, row

ROOT = Path(__file__).parent.parent.parent
PAGES = ["tune", "tune-suggest", "tune-ledger", "hot-keys", "hot-keys-ledger", "hot-keys-none", "spot"]
EVIL = "</script><img src=x onerror=alert(1)>"

needs_browser = pytest.mark.skipif(
    browser_module.CHROMIUM is None or browser_module.DRIVER is None, reason=browser_module.WHY_NOT
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    directory = tmp_path_factory.mktemp("pages")
    busy = [record(1_795_168_800_000, EVIL, 1_024 * 100 - 200) for _ in range(9)]
    write(directory / "a.jsonl", [*busy, *stream()])
    write(directory / "none.jsonl", [])
    (directory / "headroom.toml").write_text(SETTINGS_TOML)
    make_ledger(directory / "ledger", [("visits", row(wcu=wcu, key=f"tenant-{wcu}")) for wcu in (5, 50_000, 70_000)])
    recording = [str(directory / "a.jsonl"), "--config", str(directory / "headroom.toml"), "--no-cache"]
    ledger = str(directory / "ledger")
    commands = {
        "tune": ["tune", *recording],
        "tune-suggest": ["tune", *recording, "--window", "1m,2m", "--suggest"],
        "tune-ledger": ["tune", ledger, "--suggest"],
        "hot-keys": ["hot-keys", *recording, "--period", "2m", "--top", "5"],
        "hot-keys-ledger": ["hot-keys", ledger],
        "hot-keys-none": ["hot-keys", str(directory / "none.jsonl"), "--no-cache"],
        "spot": [
            "spot", "report", str(ROOT / "tests" / "recordings" / "spot-day.jsonl.gz"),
            "--prices", str(ROOT / "examples" / "spot-prices.json"),
        ],
    }  # fmt: skip

    def page(name: str) -> Path:
        path = directory / f"{name}.html"
        if not path.exists():
            finished = CliRunner().invoke(cli, [*commands[name], "--format", "html"])
            assert finished.exit_code == 0, finished.output
            path.write_text(finished.stdout, encoding="utf-8")
        return path

    return page


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@needs_browser
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (1280, False), (1280, True)])
def test_each_page_fits_and_no_accessibility_rule_is_broken(
    window: Browser, pages: Callable[[str], Path], name: str, width: int, dark: bool
) -> None:
    assert_fits_and_is_accessible(window, pages(name), width=width, dark=dark)
    assert window.run("return performance.getEntriesByType('resource').length") == 0
    assert window.log() == []


def test_hot_keys_of_a_page_are_text_and_marked_where_they_filled_a_partition(pages: Callable[[str], Path]) -> None:
    text = pages("hot-keys").read_text(encoding="utf-8")
    assert "<img" not in text
    assert "&lt;img" in text
    assert "approached at 10:00:00" in text
    assert "reached at 10:04:00" in pages("hot-keys-ledger").read_text(encoding="utf-8")
    assert "There is no change in it." in pages("hot-keys-none").read_text(encoding="utf-8")


def test_several_suggestions_are_told_in_a_line_each_and_why_on_demand(pages: Callable[[str], Path]) -> None:
    text = pages("tune-suggest").read_text(encoding="utf-8")
    assert text.count("Suggested: ") >= 2
    assert text.count("<details>") == 2
    assert "<details>" not in pages("tune-ledger").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("duration_ms", "told"), [(0, "0s"), (61_000, "1m1s"), (3_600_000, "1h"), (359_845_500, "4d3h"), (1_500, "1s500ms")]
)
def test_a_long_duration_is_told_in_its_two_largest_units(duration_ms: int, told: str) -> None:
    assert about(duration_ms) == told
