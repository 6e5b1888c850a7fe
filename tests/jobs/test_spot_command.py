"""`headroom spot report` as a user runs it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jobs.cli import cli
from tests.browser import CHROMIUM, DRIVER, WHY_NOT, browser
from tests.spot_prices import PRICES
from tests.spot_stream import RECORDING


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["spot", "report", *map(str, arguments)])


def shipped(*arguments: str | Path) -> Result:
    return report(RECORDING, "--prices", PRICES, *arguments)


def test_a_table_goes_to_standard_output_and_progress_does_not() -> None:
    result = shipped()
    assert result.exit_code == 0
    assert "inbox-workers" in result.stdout
    assert "reading" not in result.stdout
    assert "reading" in result.stderr


def test_json_to_standard_output_is_json_alone() -> None:
    assert json.loads(shipped("--format", "json").stdout)["currency"] == "USD"


@pytest.mark.parametrize("form", ["table", "json", "html"])
def test_a_report_goes_to_a_file(form: str, tmp_path: Path) -> None:
    out = tmp_path / "report"
    result = shipped("--format", form, "--out", out)
    assert (result.exit_code, result.stdout) == (0, "")
    assert str(out) in result.stderr
    assert "inbox-workers" in out.read_text(encoding="utf-8")


def test_a_report_tells_of_the_time_that_is_asked_for() -> None:
    given = ("--from", "2026-03-14T06:00:00Z", "--to", "2026-03-14T12:00:00+00:00", "--format", "json")
    told = json.loads(shipped(*given).stdout)
    assert told["end_ms"] - told["start_ms"] == 6 * 3_600_000
    assert len(told["over_time"]) == 6
    assert 6 * 27 < sum(told["total"][f"{name}_hours"] for name in ("spot", "on_demand", "covered")) < 6 * 28.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl", "--prices", PRICES], "missing.jsonl: no such file"),
        ([RECORDING, "--prices", "missing.json"], "missing.json: No such file"),
        ([RECORDING, "--prices", RECORDING], "not JSON in UTF-8"),
        ([RECORDING], "--prices"),
        ([RECORDING, "--prices", PRICES, "--from", "yesterday"], "--from"),
        ([RECORDING, "--prices", PRICES, "--from", "2026-03-14", "--to", "2026-03-14"], "--from is not before --to"),
    ],
)
def test_a_mistake_is_told_by_its_name(arguments: list[str | Path], said: str) -> None:
    result = report(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_place_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    result = shipped("--out", tmp_path / "missing" / "report")
    assert result.exit_code == 1
    assert "missing" in result.stderr


def test_what_is_malformed_is_counted_and_left_out(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b'{"source": 5}\nnot json\n')
    result = report(RECORDING, broken, "--prices", PRICES, "--format", "json")
    assert result.exit_code == 0
    assert "2 malformed records left out" in result.stderr
    assert json.loads(result.stdout)["total"] == json.loads(shipped("--format", "json").stdout)["total"]


@pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason=WHY_NOT)
def test_the_page_fits_any_screen_and_loads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert shipped("--format", "html", "--out", out).exit_code == 0
    with browser() as window:
        window.open(out)
        for width in (360, 768, 1280):
            for dark in (False, True):
                window.look(width=width, dark=dark)
                assert window.run("return document.documentElement.scrollWidth") <= width
        assert window.run("return performance.getEntriesByType('resource').length") == 0
        assert (
            window.run("return [...document.querySelectorAll('svg:not([aria-label]):not([aria-hidden])')].length") == 0
        )
        assert window.log() == []
