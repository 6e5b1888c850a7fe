"""`headroom replay` as a user runs it: a process of its own, its streams and its exit status."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.flink.streams import SETTINGS_TOML, assert_result_is, dealt, judge, settings, stream, write

pytestmark = pytest.mark.flink

HEADROOM = Path(sys.executable).parent / "headroom"
NOISE = ("Traceback", "Exception", "grpc", "WARNING", "[warning]")


def headroom(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        [HEADROOM, *arguments], cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    for noise in NOISE:
        assert noise not in finished.stdout + finished.stderr
    return finished


@pytest.mark.parametrize("mode", ["process", "thread"])
def test_both_execution_modes_say_what_the_oracle_says(mode: str, tmp_path: Path) -> None:
    files = dealt(stream(), 2)
    (tmp_path / "day").mkdir()
    for number, records in enumerate(files):
        write(tmp_path / "day" / f"{number}.jsonl", records)
    (tmp_path / "headroom.toml").write_text(SETTINGS_TOML)
    finished = headroom(
        "replay", "day", "--config", "headroom.toml", "--parallelism", "2", "--execution-mode", mode, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    assert_result_is(judge(files, settings()), tmp_path / "headroom-out")
    assert "tenant-000022" in finished.stdout
    assert finished.stderr.startswith("starting Flink")


def test_mistakes_are_told_before_flink_starts_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.toml").write_text("[windwo]\n[limits]\ndefault_wcu = 0\nwarn_ratio = 2.0\n[lease]\nsteps = []\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    write(tmp_path / "a.jsonl", [])
    for arguments, said in [
        (["missing.jsonl"], "missing.jsonl: no such file"),
        (["empty"], "empty: the directory holds no recording"),
        (["a.jsonl", "--config", "bad.toml"], "window"),
        (["a.jsonl", "--out", "out"], "mine.txt"),
        (["a.jsonl", "--parallelism", "0"], "--parallelism"),
        ([], "PATH"),
    ]:
        finished = headroom("replay", *arguments, cwd=tmp_path)
        assert finished.returncode == 2
        assert said in finished.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "bad.toml", "empty", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_replay_says_so_in_one_line_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", stream())
    (tmp_path / "scratch").mkdir()
    begun = subprocess.Popen(
        [HEADROOM, "replay", "a.jsonl", "--out", "out"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "scratch")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline_s = time.monotonic() + 60
    while not list((tmp_path / "scratch").glob("*/minicluster_*")):  # it waits for an answer of Flink's JVM then
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    begun.send_signal(number)
    told, said = begun.communicate(timeout=60)
    assert begun.returncode == 130
    assert not [noise for noise in NOISE if noise in said]
    assert (told, said.splitlines()[-1]) == ("", "headroom: interrupted")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "scratch"]


@pytest.mark.parametrize(("most_bytes", "status"), [(0, 2), (100_000, 1)])  # no results; no Flink
def test_a_disk_without_room_is_told_in_a_line_and_leaves_no_result(
    most_bytes: int, status: int, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", stream())
    (tmp_path / "scratch").mkdir()
    finished = subprocess.run(
        [HEADROOM, "replay", "a.jsonl", "--out", "out"],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path / "scratch")},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == status
    assert not [noise for noise in NOISE if noise in finished.stderr]
    (line,) = [each for each in finished.stderr.splitlines() if each.startswith("headroom: ")]
    assert finished.stderr.endswith(f"{line}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "scratch"]


def test_the_shipped_recording_shows_what_the_readme_shows(tmp_path: Path) -> None:
    root = Path(__file__).parent.parent.parent
    recording, config = root / "tests/recordings/conversations.jsonl.gz", root / "examples/conversations.toml"
    finished = headroom("replay", recording, "--config", config, "--out", tmp_path / "out", cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    readme = (root / "README.md").read_text(encoding="utf-8")
    begins = readme.index("3 partition keys would")
    shown = readme[begins : readme.index("```", begins)].rstrip()
    assert shown in "\n".join(line.rstrip() for line in finished.stdout.splitlines())
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["suspensions"] == 4
