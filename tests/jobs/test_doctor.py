import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jobs import doctor as examination
from jobs.cli import cli
from jobs.doctor import Verdict, examine


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def verdicts() -> dict[str, Verdict]:
    return {finding.name: finding.verdict for finding in examine()}


def test_the_machine_that_runs_the_tests_lacks_nothing_that_is_needed() -> None:
    result = CliRunner().invoke(cli, ["doctor"])
    assert result.exit_code == 0, result.output
    assert "missing" not in result.output
    assert {"Python", "Java", "memory", "temporary files", "local ports"} <= verdicts().keys()


def test_what_only_some_commands_need_is_optional_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = {finding.name: finding for finding in examine()}
    for name in ("Docker", "AWS credentials"):
        assert (found[name].verdict, bool(found[name].remedy)) == (Verdict.OPTIONAL, True)
    assert CliRunner().invoke(cli, ["doctor"]).exit_code == 0


def refuse_ports(*_: Any, **__: Any) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize(
    ("name", "lack"),
    [
        ("memory", lambda patch: patch.setattr(examination, "_memory_bytes", lambda: 3 * 2**30 - 1)),
        ("local ports", lambda patch: patch.setattr(socket, "create_server", refuse_ports)),
        ("temporary files", lambda patch: patch.setattr(tempfile, "NamedTemporaryFile", refuse_ports)),
        ("Java", lambda patch: patch.setattr(subprocess, "run", refuse_ports)),
        ("Python", lambda patch: patch.setattr(sys, "version_info", (3, 13, 0))),
    ],
)
def test_what_is_missing_is_named_with_what_to_do_and_the_status_is_1(
    name: str, lack: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    lack(monkeypatch)
    result = CliRunner().invoke(cli, ["doctor"])
    monkeypatch.undo()
    assert result.exit_code == 1, result.output
    assert f"missing   {name}: " in result.output
    assert f"missing   {name}: " + "\n" not in result.output


@pytest.mark.parametrize(("memory_bytes", "verdict"), [(3 * 2**30, Verdict.OK), (3 * 2**30 - 1, Verdict.MISSING)])
def test_three_gibibytes_are_enough(memory_bytes: int, verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_memory_bytes", lambda: memory_bytes)
    assert verdicts()["memory"] is verdict
