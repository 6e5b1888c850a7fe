"""The same events give the same timeline, in whatever order, form and number they were recorded."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from connectors.recordings.files import find_recordings
from jobs.spot.tally import Counts
from jobs.spot.timeline import Timeline, TimelineRow, read_timeline
from tests.spot_stream import Fleet, lines

SMALL = Fleet(seed=3, hours=3).day()
SAMPLES = Path(__file__).parents[1] / "events" / "ec2"


def timeline(*paths: Path, at: Path) -> tuple[list[TimelineRow], Counts, list[dict[str, Any]]]:
    at.unlink(missing_ok=True)
    with Timeline(at) as made:
        malformed = [line for file in find_recordings(paths) for some in made.read(file) for line in some]
        count = made.complete()
    rows = list(read_timeline(at))
    assert len(rows) == count
    return rows, made.counts, malformed


@pytest.fixture
def expected(tmp_path: Path) -> list[TimelineRow]:
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"".join(lines(SMALL)))
    rows, counts, malformed = timeline(path, at=tmp_path / "expected.sqlite")
    assert counts.events == len(SMALL)
    assert malformed == []
    return rows


def test_a_timeline_is_in_the_order_of_time(expected: list[TimelineRow]) -> None:
    times = [at_ms for _, _, at_ms, _ in expected]
    assert times == sorted(times)
    assert len(expected) > len(SMALL)


def _pretty(messages: list[bytes]) -> bytes:
    return b"\n".join(json.dumps(json.loads(message), indent=2).encode() for message in messages)


def _envelope(messages: list[bytes]) -> bytes:
    records = [{"kinesis": {"data": base64.b64encode(message).decode()}} for message in messages]
    return json.dumps({"Records": records}).encode()


FORMS: dict[str, Callable[[list[bytes]], bytes]] = {
    "concatenated": b"".join,
    "over several lines": _pretty,
    "an array": lambda messages: b"[" + b",\n".join(messages) + b"]",
    "gzip": lambda messages: gzip.compress(b"".join(lines(messages))),
    "an envelope of Lambda": _envelope,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_a_recording_changes_nothing(form: str, expected: list[TimelineRow], tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_bytes(FORMS[form](SMALL))
    rows, counts, malformed = timeline(tmp_path / "a.rec", at=tmp_path / "t.sqlite")
    assert (rows, malformed, counts.events) == (expected, [], len(SMALL))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_a_recording_and_its_division_into_files_change_nothing(
    seed: int, expected: list[TimelineRow], tmp_path: Path
) -> None:
    random = Random(seed)
    shuffled = random.sample(SMALL, len(SMALL))
    cut = random.randrange(len(shuffled))
    for name, part in (("a", shuffled[:cut]), ("b", shuffled[cut:])):
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(lines(part)))
    rows, _, _ = timeline(tmp_path / "b.jsonl", tmp_path / "a.jsonl", at=tmp_path / "t.sqlite")
    assert rows == expected


def test_what_is_told_again_is_counted(tmp_path: Path) -> None:
    once = list(dict.fromkeys(SMALL))
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines([*once, *once[:10]])))
    _, counts, _ = timeline(tmp_path / "a.jsonl", at=tmp_path / "t.sqlite")
    assert counts.duplicates == 10


def test_every_record_has_one_outcome_and_what_is_broken_is_kept_with_its_place(tmp_path: Path) -> None:
    foreign = b'{"version":"0","id":"1","source":"aws.s3","detail-type":"Object Created","detail":{}}'
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(lines([SMALL[0], b'{"source": 5', foreign, b"\xff\xfe", b"[]", b"", SMALL[1]])))
    _, counts, malformed = timeline(path, at=tmp_path / "t.sqlite")
    assert (sum(counts.kinds.values()), counts.ignored, counts.malformed) == (2, 1, len(malformed))
    assert malformed[0]["position"] == {"file": str(path), "byte": len(SMALL[0]) + 1}
    assert malformed[0]["record"] == '{"source": 5'


def test_the_samples_of_aws_are_read_as_the_files_they_come_in(tmp_path: Path) -> None:
    _, counts, malformed = timeline(SAMPLES, at=tmp_path / "t.sqlite")
    assert counts.events == len(list(SAMPLES.iterdir()))
    assert [Path(line["position"]["file"]).name for line in malformed] == ["state_change_instance_id_misspelt.json"]
    assert counts.without_facts == 1
