import json
import logging
import time
from pathlib import Path

import pytest

from jobs.capacity.keep import DirectoryLines, LoggedLines
from jobs.capacity.standing import Standing


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
