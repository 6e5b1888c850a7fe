"""The Spot job on Flink's embedded cluster, held against a fold in plain Python (thread mode, one JVM for all)."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.recordings.files import find_recordings
from connectors.spot_action_messages import encode
from jobs.execution import ExecutionMode
from jobs.settings import Settings
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.groups import GroupMemory, follow_group
from jobs.spot.instances import InstanceMemory, follow
from jobs.spot.market import Pool, wake_at_ms
from jobs.spot.pools import PoolMemory, let_time_pass, weigh
from jobs.spot.replay import replay
from jobs.spot.routing import read_told
from jobs.spot.tally import Tally
from jobs.spot.timeline import Timeline, read_timeline
from tests.spot_stream import Fleet, lines

pytestmark = pytest.mark.flink

FLEET = Fleet(seed=11, hours=16, interruptions_an_hour=0.15)
FILES = ("actions.jsonl", "pools.jsonl", "malformed.jsonl", "shadow.jsonl")
SETTINGS = Settings()


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    return FLEET.day()


def run(paths: Sequence[Path], out: Path, given: Settings = SETTINGS, parallelism: int = 2) -> Tally:
    tally, _ = replay(
        find_recordings(paths),
        given,
        out,
        parallelism=parallelism,
        execution_mode=ExecutionMode.THREAD,
        on_progress=lambda _: None,
    )
    return tally


def write(path: Path, messages: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(lines(list(messages))))
    return path


def told(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


class Folded:
    """All subjects of a recording in dictionaries, and each pool's evidence sorted at the end."""

    def __init__(self, path: Path, scratch: Path) -> None:
        with Timeline(scratch) as timeline:
            for file in find_recordings([path]):
                list(timeline.read(file))
            timeline.complete()
        self.actions: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        instances: dict[str, InstanceMemory] = defaultdict(InstanceMemory)
        groups: dict[str, GroupMemory] = defaultdict(GroupMemory)
        pools: dict[Pool, dict[tuple[object, ...], PoolEvidence]] = defaultdict(dict)
        for subject, kind, _, value in read_timeline(scratch):
            event = read_told(kind, value)
            heard: tuple[PoolEvidence, ...]
            if isinstance(event, PoolEvidence):
                heard = (event,)
            elif subject.startswith("group|"):
                groups[subject], heard = follow_group(groups[subject], event)  # type: ignore[arg-type] # by its subject
            else:
                instances[subject], followed = follow(instances[subject], event, SETTINGS.spot.signals)  # type: ignore[arg-type]
                heard = followed.evidence
                self.actions += [json.loads(encode(followed.action))] if followed.action else []
            for each in heard:
                is_signal = each.kind in (EvidenceKind.INTERRUPTION, EvidenceKind.REBALANCE)
                once = (each.kind, each.source_id, each.instance_id if is_signal else None)
                pools[each.pool].setdefault(once, each)
        for pool, evidence in pools.items():
            self._weigh(pool, sorted(evidence.values(), key=lambda each: (each.at_ms, each.order)))

    def _weigh(self, pool: Pool, evidence: list[PoolEvidence]) -> None:
        memory = PoolMemory()
        market = SETTINGS.spot.market
        for each in evidence:
            memory, changes = weigh(pool, memory, each, market)
            self._tell(changes)
        while (wake_ms := wake_at_ms(memory.state, market)) is not None:
            memory, changes = let_time_pass(pool, memory, wake_ms, market)
            self._tell(changes)

    def _tell(self, changes: Any) -> None:
        for change in changes:
            self.changes.append(change.line())
            self.actions += [json.loads(encode(change.change.action))] if change.change.action else []


def in_order(lines: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(line, sort_keys=True) for line in lines)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_replay_says_what_a_fold_says_and_the_stream_exercises_it(content: list[bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "day.jsonl", content)
    tally = run([path], tmp_path / "out")
    folded = Folded(path, tmp_path / "folded.sqlite")
    actions, changes = (read_lines(tmp_path / "out" / name) for name in ("actions.jsonl", "pools.jsonl"))
    assert in_order(actions) == in_order(folded.actions)
    assert in_order(changes) == in_order(folded.changes)
    assert {action["type"] for action in actions} == {"replace_instance", "fall_back", "return_to_spot"}
    assert {change["after"] for change in changes} >= {"suspect", "fallback", "armed"}
    replaced = [action["instance_id"] for action in actions if "instance_id" in action]
    assert len(replaced) == len(set(replaced)) == len(tally.replacements) > 20
    assert {change["action_id"] for change in changes} >= {
        action["action_id"] for action in actions if "instance_id" not in action
    }
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["events"] == len(content)
    assert summary["duplicates"] == len(content) - len(set(content)) > 0
    assert summary["replacements"] == len(replaced)
    assert summary["pool_changes"] == len(changes)


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_parallelism_order_duplicates_and_files_change_no_byte(
    content: list[bytes], tmp_path: Path, parallelism: int
) -> None:
    run([write(tmp_path / "as-it-came.jsonl", content)], tmp_path / "expected")
    random = Random(parallelism)
    shuffled = random.sample(content, len(content)) + random.sample(content, 40)
    for number in range(3):
        write(tmp_path / f"{number}.jsonl", shuffled[number::3])
    run([tmp_path / f"{number}.jsonl" for number in (2, 0, 1)], tmp_path / "out", parallelism=parallelism)
    assert told(tmp_path / "out") == told(tmp_path / "expected")


def test_shadow_decides_everything_and_sends_nothing(content: list[bytes], tmp_path: Path) -> None:
    path = write(tmp_path / "day.jsonl", content[:300])
    run([path], tmp_path / "sent")
    run([path], tmp_path / "shadow", Settings(shadow=True))
    assert (tmp_path / "shadow" / "actions.jsonl").read_bytes() == b""
    assert (tmp_path / "shadow" / "shadow.jsonl").read_bytes() == (tmp_path / "sent" / "actions.jsonl").read_bytes()


def test_a_recording_of_nothing_and_one_of_nothing_of_ours_are_results(tmp_path: Path) -> None:
    foreign = b'{"version":"0","id":"1","source":"aws.s3","detail-type":"Object Created","detail":{}}'
    for name, messages, events in (("none", [], 0), ("foreign", [foreign, b"{"], 2)):
        run([write(tmp_path / f"{name}.jsonl", messages)], tmp_path / name)
        summary = json.loads((tmp_path / name / "summary.json").read_text())
        assert (summary["events"], summary["replacements"], summary["first_event_ms"]) == (events, 0, None)
    assert len(read_lines(tmp_path / "foreign" / "malformed.jsonl")) == summary["malformed"] == 1
    assert summary["ignored"] == 1
