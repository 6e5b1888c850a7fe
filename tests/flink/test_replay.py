"""The capacity job on Flink's embedded cluster, held against the batch oracle (thread mode, one JVM for all)."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.recordings.files import RecordingFile, find_recordings
from connectors.recordings.segments import Segment
from jobs.capacity.replay import replay
from jobs.capacity.tally import Tally
from jobs.execution import ExecutionMode, JobFailedError
from jobs.recorded.lanes import plan_lanes_of_job
from jobs.settings import Settings
from tests.flink.streams import assert_result_is, dealt, judge, settings, stream, told, write

pytestmark = pytest.mark.flink


def run(paths: list[Path], out: Path, given: Settings, parallelism: int = 2) -> Tally:
    tally, _ = replay(
        find_recordings(paths),
        given,
        out,
        parallelism=parallelism,
        execution_mode=ExecutionMode.THREAD,
        on_progress=lambda _: None,
    )
    return tally


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    return stream()


def test_replay_says_what_the_oracle_says_and_the_stream_exercises_it(content: list[bytes], tmp_path: Path) -> None:
    judgement = judge([content], settings())
    run([write(tmp_path / "a.jsonl", content)], tmp_path / "out", settings())
    assert_result_is(judgement, tmp_path / "out")
    sequences = {action["decision_seq"] for action in judgement.actions}
    assert len(judgement.actions) > 4
    assert max(sequences) >= 2
    assert {line["level"] for line in judgement.windows} == {"warn", "over"}
    assert all(judgement.counts[name] for name in ("late", "malformed", "ignored"))


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_parallelism_and_the_order_and_form_of_files_change_no_byte(
    content: list[bytes], tmp_path: Path, parallelism: int
) -> None:
    sound = [record for record in content if record.startswith(b'{"awsRegion"') and record.endswith(b"}")]
    files = dealt(sound, 4)
    forms = ("lines", "gzip", "concatenated", "parquet")
    paths = [
        write(tmp_path / f"{4 - number}.rec", records, form=form)
        for number, (records, form) in enumerate(zip(files, forms, strict=True))
    ]
    run(paths[::-1], tmp_path / "out", settings(), parallelism)
    assert_result_is(judge(files, settings()), tmp_path / "out")


def test_hopping_windows_follow_the_oracle(content: list[bytes], tmp_path: Path) -> None:
    given = settings('[window]\nkind = "hop"\nsize = "1m"\nstep = "10s"\n')
    run([write(tmp_path / "a.jsonl", content)], tmp_path / "out", given)
    assert_result_is(judge([content], given), tmp_path / "out")


def test_steps_below_a_second_follow_the_oracle(content: list[bytes], tmp_path: Path) -> None:
    given = settings('[window]\nsize = "30s"\nstep = "500ms"\nout_of_orderness = "100ms"\n')
    run([write(tmp_path / "a.jsonl", content[:2_000])], tmp_path / "out", given)
    assert_result_is(judge([content[:2_000]], given), tmp_path / "out")


def test_shadow_decides_everything_and_sends_nothing(content: list[bytes], tmp_path: Path) -> None:
    given = settings("shadow = true\n")
    tally = run([write(tmp_path / "a.jsonl", content)], tmp_path / "out", given)
    assert told(tmp_path / "out", "actions.jsonl") == []
    assert told(tmp_path / "out", "shadow.jsonl") == judge([content], given).actions
    assert tally.suspended


def test_an_empty_file_is_a_result_of_nothing(tmp_path: Path) -> None:
    tally = run([write(tmp_path / "empty.jsonl", [])], tmp_path / "out", settings())
    assert (tally.counts.events, told(tmp_path / "out", "windows.jsonl")) == (0, [])


def test_a_job_that_fails_names_its_cause_and_leaves_the_earlier_result(
    content: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", content[:50])
    run([path], tmp_path / "out", settings())
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}

    def plan_and_lose_the_file(
        files: Sequence[RecordingFile], parallelism: int, execution_mode: ExecutionMode
    ) -> list[list[Segment]]:
        lanes = plan_lanes_of_job(files, parallelism, execution_mode)
        path.unlink()
        return lanes

    monkeypatch.setattr("jobs.capacity.replay.plan_lanes_of_job", plan_and_lose_the_file)
    with pytest.raises(JobFailedError, match="FileNotFoundError"):
        run([path], tmp_path / "out", settings())
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
