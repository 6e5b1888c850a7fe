"""The usage job on Flink's embedded cluster, held against its batch oracle (thread mode, one JVM for all)."""

import json
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.recordings.files import find_recordings
from jobs.execution import ExecutionMode
from jobs.settings import Settings
from jobs.usage.ledger import Ledger
from jobs.usage.periods import ClosedPeriod, month_end_ms, month_of
from jobs.usage.query import MeterSession
from jobs.usage.replay import replay
from tests import usage_oracle
from tests.flink.streams import SETTINGS_TOML, dealt, settings, stream, told, write
from tests.flink.test_replay_command import HEADROOM

pytestmark = pytest.mark.flink


def run(paths: list[Path], out: Path, given: Settings, parallelism: int = 2) -> dict[str, Any]:
    _, summary = replay(
        find_recordings(paths),
        given,
        out,
        parallelism=parallelism,
        execution_mode=ExecutionMode.THREAD,
        on_progress=lambda _: None,
    )
    return summary


def content(ledger: Path) -> dict[str, bytes]:
    return {str(path.relative_to(ledger)): path.read_bytes() for path in ledger.rglob("*") if path.is_file()}


def changed(record: bytes, **fields: Any) -> bytes:
    return json.dumps(json.loads(record) | fields).encode()


@pytest.fixture(scope="module")
def records() -> list[bytes]:
    """A stream with duplicates near and far, some of which say something else, and with changes that are late."""
    random = Random(5)
    given = stream()
    sound = [record for record in given if record.startswith(b'{"awsRegion"') and record.endswith(b"}")]
    for record in random.sample(sound, 60):
        given.insert(random.randrange(len(given)), record)
    for record, other in zip(random.sample(sound, 20), random.sample(sound, 20), strict=True):
        place = given.index(record) + 1
        given[place:place] = [changed(other, eventID=json.loads(record)["eventID"]), record]
    given += random.sample(sound, 30)
    return given


@pytest.mark.parametrize("parallelism", [1, 2, 3])
def test_the_ledger_is_what_the_oracle_says_at_any_parallelism(
    records: list[bytes], tmp_path: Path, parallelism: int
) -> None:
    sound = [record for record in records if record.startswith(b'{"awsRegion"') and record.endswith(b"}")]
    paths = {
        str(write(tmp_path / f"{number}.jsonl", each)): each for number, each in enumerate(dealt(sound, 3, seed=2))
    }
    judged = usage_oracle.judge(paths, settings())
    summary = run([Path(path) for path in paths], tmp_path / "out", settings(), parallelism)
    assert usage_oracle.read_ledger(tmp_path / "out" / "ledger") == judged.rows
    assert summary["duplicates_seen_if_known"] == judged.counts["duplicates"] > 100
    assert summary["conflicts"] == judged.counts["conflicts"] == len(told(tmp_path / "out", "conflicts.jsonl")) > 10
    assert summary["correction_rows"] == sum(group[5] is not None for group in judged.rows) > 10


def test_malformed_records_are_kept_and_the_same_recording_again_gives_the_same_bytes(
    records: list[bytes], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", records)
    summary = run([path], tmp_path / "out", settings(), parallelism=1)
    first = content(tmp_path / "out" / "ledger")
    assert (
        usage_oracle.read_ledger(tmp_path / "out" / "ledger")
        == usage_oracle.judge({str(path): records}, settings()).rows
    )
    assert summary["malformed"] == len(told(tmp_path / "out", "malformed.jsonl")) > 10
    run([path], tmp_path / "out", settings(), parallelism=2)
    assert content(tmp_path / "out" / "ledger") == first


def test_beyond_the_horizon_a_copy_counts_again(records: list[bytes], tmp_path: Path) -> None:
    given = settings('[usage]\nhorizon = "1m"\n')
    path = write(tmp_path / "a.jsonl", records)
    judged = usage_oracle.judge({str(path): records}, given)
    assert judged.counts["duplicates"] < usage_oracle.judge({str(path): records}, settings()).counts["duplicates"]
    summary = run([path], tmp_path / "out", given)
    assert usage_oracle.read_ledger(tmp_path / "out" / "ledger") == judged.rows
    assert summary["duplicates_seen_if_known"] == judged.counts["duplicates"]


def test_the_command_in_process_mode_says_the_same_and_what_was_closed_stays_closed(
    records: list[bytes], tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", records)
    (tmp_path / "headroom.toml").write_text(SETTINGS_TOML)
    options = ["--job", "usage", "--config", "headroom.toml", "--out", "out"]
    command: list[str | Path] = [HEADROOM, "replay", path, *options]
    finished = subprocess.run(
        [*command, "--parallelism", "2", "--execution-mode", "process"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (finished.returncode, "Traceback" in finished.stdout + finished.stderr) == (0, False), finished.stderr
    assert "duplicates within 1d, each counted once" in finished.stdout
    location = tmp_path / "out" / "ledger"
    judged = usage_oracle.judge({str(path): records}, settings())
    assert usage_oracle.read_ledger(location) == judged.rows
    ledger = Ledger(str(location))
    month = month_of(min(group[3] for group in judged.rows))
    closed = ClosedPeriod(month, month_end_ms(month), *MeterSession(ledger).total(month))
    ledger.close_period(closed)
    summary = run([path], tmp_path / "out", settings())
    assert summary["closed_period_corrections"] == 0
    assert usage_oracle.read_ledger(location) == judged.rows
    assert Ledger(str(location)).closed_periods == [closed]
    inserted = next(each for each in records if each.startswith(b'{"awsRegion"') and b'"eventName":"INSERT"' in each)
    more = write(tmp_path / "b.jsonl", [changed(inserted, eventID="found later")])
    summary = run([path, more], tmp_path / "out", settings())
    again = MeterSession(Ledger(str(location)))
    assert summary["closed_period_corrections"] == 1
    assert again.total(month) == MeterSession(ledger).total(month)
    assert again.total(month_of(month_end_ms(month)))[1] == 1
