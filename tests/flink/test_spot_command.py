"""`headroom replay --job spot` as a user runs it: a process of its own, in both execution modes."""

import json
from pathlib import Path

import pytest

from tests.flink.test_replay_command import headroom
from tests.spot_stream import RECORDING, Fleet, lines

pytestmark = pytest.mark.flink

SAMPLES = Path(__file__).parents[1] / "events" / "ec2"


def test_both_execution_modes_write_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "day.jsonl").write_bytes(b"".join(lines(Fleet(seed=5, hours=12, interruptions_an_hour=0.2).day())))
    for mode in ("process", "thread"):
        arguments = ("--out", mode, "--execution-mode", mode, "--parallelism", "2")
        finished = headroom("replay", "--job", "spot", "day.jsonl", *arguments, cwd=tmp_path)
        assert finished.returncode == 0, finished.stderr
        assert "would have been replaced" in finished.stdout
    for name in ("actions.jsonl", "pools.jsonl", "malformed.jsonl", "shadow.jsonl"):
        assert (tmp_path / "process" / name).read_bytes() == (tmp_path / "thread" / name).read_bytes()
    assert (tmp_path / "thread" / "actions.jsonl").read_bytes()


def test_the_samples_of_aws_give_one_replacement_that_names_its_instance(tmp_path: Path) -> None:
    arguments = ("--out", "out", "--execution-mode", "thread")
    finished = headroom("replay", "--job", "spot", SAMPLES, RECORDING, *arguments, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    actions = [json.loads(line) for line in (tmp_path / "out" / "actions.jsonl").read_text().splitlines()]
    warned = json.loads((SAMPLES / "interruption_warning.json").read_text())["detail"]["instance-id"]
    replaced = [action["instance_id"] for action in actions if action["type"] == "replace_instance"]
    assert replaced.count(warned) == 1
    assert len(replaced) == len(set(replaced)) == 16
    assert "malformed, kept with their reasons" in finished.stdout
    first = json.loads((tmp_path / "out" / "malformed.jsonl").read_text().splitlines()[0])
    assert f"x {first['reason']}\n" in finished.stdout
