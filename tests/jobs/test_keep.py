import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from jobs.capacity.keep import DirectoryLines, LoggedLines
from jobs.capacity.outcomes import applied_rules, refused_rules
from jobs.capacity.standing import Standing
from jobs.run_command import _Told


def test_lines_are_there_for_others_to_read_at_once_and_added_to_what_there_was(tmp_path: Path) -> None:
    for text in ("ä", "\ud800"):
        lines = DirectoryLines(tmp_path / "out")
        lines.add("late", [{"partition_key": text}])
        assert json.loads((tmp_path / "out" / "late.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        lines.close()
    assert len((tmp_path / "out" / "late.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_the_status_is_replaced_whole_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    lines, standing = DirectoryLines(tmp_path), Standing(step_ms=1_000)
    lines.status(standing)
    standing.add_decision("suspended")
    now_s = 100.9
    lines.status(standing)
    assert json.loads((tmp_path / "status.json").read_text())["decided"] == {}
    now_s = 101.0
    lines.status(standing)
    assert json.loads((tmp_path / "status.json").read_text())["decided"] == {"suspended": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_log_gets_some_lines_of_each_kind_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    lines = LoggedLines()
    with caplog.at_level(logging.WARNING):
        for number in range(30):
            lines.add("malformed", [{"number": number}])
        lines.add("late", [{"number": 0}])
        assert len(caplog.records) == 21
        now_s = 160.1
        lines.add("malformed", [{"number": 30}])
    assert caplog.records[-1].getMessage() == 'malformed: {"number": 30}'


def test_the_reason_for_refused_rules_is_told_until_later_ones_are_applied() -> None:
    standing = Standing(step_ms=1_000)
    assert standing.snapshot(0)["rules"] == {}
    standing.add_rules(applied_rules(2, 5))
    standing.add_rules(refused_rules("wcu: -1 is not allowed", 6))
    assert standing.snapshot(0)["rules"] == {"version": 2, "refused": 1, "reason": "wcu: -1 is not allowed"}
    standing.add_rules(applied_rules(3, 7))
    assert standing.snapshot(0)["rules"] == {"version": 3, "refused": 1}


def test_a_run_says_at_once_what_became_of_rules(capsys: pytest.CaptureFixture[str]) -> None:
    told = _Told()
    status: dict[str, Any] = {"records": 0, "malformed": 0, "lag_ms": None, "decided": {}}
    for rules in ({}, {"version": 2}, {"version": 2}, {"version": 2, "refused": 1, "reason": "wcu: -1"}):
        told("RUNNING", {**status, "rules": rules})
    told("RUNNING", status)
    assert [line for line in capsys.readouterr().err.splitlines() if "rules" in line] == [
        "rules: version 2 has come",
        "rules refused, which changes nothing: wcu: -1",
    ]
