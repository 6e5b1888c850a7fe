"""`headroom up` and `headroom run` as a user runs them: processes of their own, and nothing left of them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.loop import descendants

pytestmark = pytest.mark.flink

HEADROOM = Path(sys.executable).parent / "headroom"
NOISE = ("Traceback", "Exception", "grpc", "WARNING")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def all_end(pids: list[int]) -> bool:
    deadline_s = time.monotonic() + 60
    while any(map(is_running, pids)) and time.monotonic() < deadline_s:
        time.sleep(0.1)
    return not any(map(is_running, pids))


def test_the_whole_loop_suspends_the_runaway_tenant_and_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    up = subprocess.Popen(
        [HEADROOM, "up", "--json"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert up.stdout is not None
    seen = []
    deadline_s = time.monotonic() + 240
    for line in up.stdout:
        seen.append(json.loads(line))
        if any(each["partition_key"] == "tenant-runaway" for each in seen[-1]["suspended"]):
            break
        assert time.monotonic() < deadline_s, line
    assert seen[0]["doing"].startswith("starting")
    parts = descendants(up.pid)
    assert len(parts) >= 5
    up.send_signal(signal.SIGINT)
    told, said = up.communicate(timeout=60)
    assert up.returncode == 130
    assert json.loads(told.splitlines()[-1])["doing"] == "ended"
    assert not [noise for noise in NOISE if noise in said]
    assert all_end(parts)
    assert list(tmp_path.iterdir()) == []


def test_nothing_outlives_a_loop_that_is_killed(tmp_path: Path) -> None:
    up = subprocess.Popen([HEADROOM, "up", "--json"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert up.stdout is not None
    for line in up.stdout:
        if "takes some seconds" in json.loads(line)["doing"]:
            break
    parts = descendants(up.pid)
    assert len(parts) >= 4
    os.kill(up.pid, signal.SIGKILL)
    up.communicate()
    assert all_end(parts)


def test_a_run_that_is_stopped_with_its_jvm_at_once_is_interrupted_and_not_broken(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'shadow = true\n[kinesis]\nstream = "s"\nregion = "eu-west-1"\nendpoint_url = "http://127.0.0.1:1"\n'
    )
    run = subprocess.Popen(
        [HEADROOM, "run", "capacity", "--config", "s.toml", "--state", "state"],
        cwd=tmp_path,
        env=os.environ | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stderr is not None
    said = [run.stderr.readline()]
    while not said[-1].startswith("the job is"):
        said.append(run.stderr.readline())
    os.killpg(run.pid, signal.SIGTERM)
    said += run.communicate(timeout=60)[1].splitlines()
    assert run.returncode == 130, said
    assert not [noise for noise in NOISE if any(noise in line for line in said)]
    assert said[-1] == "headroom: interrupted"


def test_mistakes_are_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[windwo]\n")
    (tmp_path / "jar.toml").write_text(
        'shadow = true\n[kinesis]\nstream = "s"\nregion = "eu-west-1"\nreader = "aws"\njar = "none.jar"\n'
    )
    for arguments, said in [
        (["up", "--config", "bad.toml"], "windwo"),
        (["up", "--duration", "soon"], "--duration"),
        (["run", "capacity"], "kinesis.stream"),
        (["run", "capacity", "--config", "bad.toml"], "windwo"),
        (["run", "capacity", "--config", "jar.toml"], "none.jar"),
        (["run", "capacity", "--restore", "nowhere"], "nowhere"),
    ]:
        finished = subprocess.run(
            [HEADROOM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert finished.returncode == 2, finished.stderr
        assert said in finished.stderr
        assert not [noise for noise in NOISE if noise in finished.stderr]
