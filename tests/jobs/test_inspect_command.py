import gzip
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from connectors.dynamodb.change import Change, Ignored, Malformed, TableSchema
from connectors.dynamodb.fast_path import FastPath
from connectors.dynamodb.parse import parse_change
from connectors.recordings import files as recording_files
from connectors.recordings.files import find_recordings
from connectors.recordings.segments import Segment
from jobs import inspect_command
from jobs.capacity.lane import Lane, LaneSettings
from jobs.generate import Profile, records
from jobs.generate.malformed import MalformedKind
from jobs.inspect_command import inspect, outcomes
from jobs.recorded.reports import Counts, read_report
from jobs.settings import DecodeSettings, Settings, TableSettings, WindowSettings
from tests.connectors.recorded import FORMS, change, lambda_event, pretty, record, store, written

AT_MS = 1_763_000_000_000
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS
SOUND = [record(AT_MS + 10 * number, f"k{number}") for number in range(30)]


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(inspect, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def told(*arguments: object) -> list[dict[str, Any]]:
    """The lines of a run in which nothing is wrong with the command."""
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


def outcomes_of(*arguments: object) -> list[str]:
    return [line["outcome"] for line in told(*arguments)]


def refusal(*arguments: object) -> tuple[int, str]:
    result = run(*arguments)
    assert result.stdout == ""
    return result.exit_code, result.stderr


@pytest.mark.parametrize("form", FORMS)
def test_each_record_is_a_line_in_any_form(form: str, tmp_path: Path) -> None:
    given_records = SOUND[:4]
    lines = told(store(tmp_path / "file", FORMS[form](given_records)))
    assert [line["partition_key"] for line in lines] == ["k0", "k1", "k2", "k3"]
    assert {line["outcome"] for line in lines} == {"change"}
    assert lines == told(store(tmp_path / "packed", FORMS[form](given_records), compress=True))


def test_images_are_always_weighed(tmp_path: Path) -> None:
    wrong_sum = record(AT_MS, "a", 3_000, SizeBytes=40)
    [line] = told(store(tmp_path / "file", wrong_sum))
    assert (line["size_bytes"], line["size_matches"], line["wcu"]) == (40, False, 3)


def test_files_are_told_one_after_another_by_their_paths(tmp_path: Path) -> None:
    second, first = store(tmp_path / "b", SOUND[1]), store(tmp_path / "a", SOUND[0])
    for arguments in ([second, first], [tmp_path], [tmp_path, second]):
        assert [line["partition_key"] for line in told(*arguments)] == ["k0", "k1"]


def test_text_is_utf8_whatever_it_holds(tmp_path: Path) -> None:
    key = "caf\u00e9 \u2028 \U0001f600 \x00 \u202e"
    [line] = told(store(tmp_path / "file", record(AT_MS, key)))
    assert line["partition_key"] == key


def test_the_partition_key_comes_from_the_settings(tmp_path: Path) -> None:
    two = record(AT_MS, Keys={"tenant": {"S": "t1"}, "at": {"N": "7"}}, tableName="events")
    path = store(tmp_path / "file", two + record(AT_MS))
    unknown, other = told(path)
    assert (unknown["outcome"], other["outcome"]) == ("malformed", "change")
    assert "[tables.events] partition_key" in unknown["reason"]
    config = store(tmp_path / "headroom.toml", b'[tables.events]\npartition_key = "tenant"\n')
    assert [line["partition_key"] for line in told(path, "--config", config)] == ["t1", "k"]


# Bad input


BROKEN = {
    "truncated": SOUND[0][:80],
    "invalid UTF-8": SOUND[0].replace(b"visits", b"vis\xff\xc0ts"),
    "deep nesting": written({**change(AT_MS), "deep": "<deep>"}).replace(b'"<deep>"', b"[" * 50_000 + b"]" * 50_000),
    "a deep item": record(AT_MS, NewImage="<deep>").replace(b'"<deep>"', b'{"a":{"M":' * 2_000 + b"{}" + b"}}" * 2_000),
    "NaN": record(AT_MS, SizeBytes=float("nan")),
    "39 digits": record(AT_MS, Keys={"id": {"N": "1" * 39}}),
    "a number beyond all": record(AT_MS, Keys={"id": {"N": "1e126"}}),
    "a size of 5,000 digits": record(AT_MS, SizeBytes=7).replace(b":7}", b":" + b"7" * 5_000 + b"}"),
    "a time of 1,000 digits": record(10**1_000),
    "a wrong type of the key": record(AT_MS, Keys={"id": {"S": 7}}),
    "a wrong type of the record": b"[1, 2]",
    "a wrong type of the change": record(AT_MS, dynamodb=7),
    "a wrong type of the time": record("yesterday"),  # type: ignore[arg-type]  # that is what is wrong
    "an unknown key schema": record(AT_MS, Keys={"a": {"S": "a"}, "b": {"S": "b"}}),
    "54,000 years ahead": record((AT_MS + 54_000 * YEAR_MS) * 1_000),
    "one year ahead": record(AT_MS + YEAR_MS),
    "no base64": record(AT_MS, Keys={"id": {"B": "###"}}),
    "half a character": SOUND[0].replace(b'"k0"', b'"\\ud800"'),
    "too large": record(AT_MS, size=10 << 20),
    "NUL bytes": b"\0" * 100,
    "no JSON": b"<html><body>503</body></html>",
    "an empty array": b"[]",
    "an entry that is no base64": lambda_event([b""]).replace(b'"data":""', b'"data":"\xc3\xa9"'),
}


@pytest.mark.parametrize("what", BROKEN)
def test_bad_input_is_one_malformed_line_and_costs_no_other(what: str, tmp_path: Path) -> None:
    content = [*SOUND[:5], BROKEN[what], *SOUND[5:]]
    path = store(tmp_path / "file", FORMS["lines"](content))
    lines = told(path)
    assert [line["outcome"] for line in lines] == ["change"] * 5 + ["malformed"] + ["change"] * 25
    assert lines[5]["reason"]
    assert [line["partition_key"] for line in lines if line["outcome"] == "change"] == [f"k{n}" for n in range(30)]
    counts = counts_by_lane(path)
    assert (counts.changes, counts.malformed, counts.late) == (30, 1, 0)


@pytest.mark.parametrize("what", [what for what in BROKEN if BROKEN[what].startswith(b"{") and "entry" not in what])
@pytest.mark.parametrize("form", ["concatenated", "an array", "an array over lines", "a Lambda event"])
def test_bad_input_costs_no_other_without_lines_too(what: str, form: str, tmp_path: Path) -> None:
    content = [*SOUND[:5], BROKEN[what], *SOUND[5:]]
    path = store(tmp_path / "file", FORMS[form](content))
    lines = told(path)
    assert [line["partition_key"] for line in lines if line["outcome"] == "change"] == [f"k{n}" for n in range(30)]
    assert len([line for line in lines if line["outcome"] == "malformed"]) == 1
    counts = counts_by_lane(path)
    assert (counts.changes, counts.malformed, counts.late) == (30, 1, 0)


def test_what_is_something_else_is_ignored_with_the_reason(tmp_path: Path) -> None:
    other = record(AT_MS, eventSource="aws:s3", eventName="ObjectCreated:Put")
    [line] = told(store(tmp_path / "file", other))
    assert (line["outcome"], "aws:s3" in line["reason"]) == ("ignored", True)


def test_a_gzip_file_cut_short_says_so_after_what_it_held(tmp_path: Path) -> None:
    packed = gzip.compress(FORMS["lines"](SOUND))
    lines = told(store(tmp_path / "file", packed[: len(packed) // 2]))
    assert {line["outcome"] for line in lines[:-1]} == {"change"}
    assert lines[-1]["outcome"] == "malformed"
    assert lines[-1]["reason"].startswith("the gzip stream ends early")


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"", mtime=0), b'{"Records":[]}'])
def test_a_file_without_records_has_a_message_and_is_no_failure(content: bytes, tmp_path: Path) -> None:
    path = store(tmp_path / "empty", content)
    assert refusal(path) == (0, f"headroom: {path}: holds no record\n")
    result = run(path, store(tmp_path / "full", SOUND[0]))
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)


def test_what_is_missing_is_told_by_its_name(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing") == (2, f"headroom: {tmp_path / 'missing'}: no such file or directory\n")
    path = store(tmp_path / "here", SOUND[0])
    assert refusal(path, tmp_path / "missing")[0] == 2


def test_a_directory_without_files_is_told_by_its_name(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (2, f"headroom: {tmp_path}: the directory holds no recording\n")


def test_no_path_at_all_is_a_mistake_in_the_command() -> None:
    code, message = refusal()
    assert code == 2
    assert "PATH..." in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told_by_its_name(tmp_path: Path) -> None:
    path = store(tmp_path / "closed", SOUND[0])
    path.chmod(0)
    assert refusal(path) == (2, f"headroom: {path}: Permission denied\n")


def test_settings_with_mistakes_are_told_together(tmp_path: Path) -> None:
    config = store(tmp_path / "bad.toml", b'[window]\nsize = "2 weeks"\nstepp = "5s"\n[limits]\nwarn_ratio = 3\n')
    code, message = refusal(store(tmp_path / "file", SOUND[0]), "--config", config)
    assert code == 2
    assert len(message.splitlines()) == 3
    assert all(line.startswith("headroom: ") for line in message.splitlines())


def test_a_file_that_fails_while_it_is_read_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "file", FORMS["lines"](SOUND * 100))
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 300_000)
    read_at = recording_files._read_at

    def failing(path: str, at: int, size: int) -> bytes:
        if at >= 300_000:
            raise OSError(5, "Input/output error", path)
        return read_at(path, at, size)

    monkeypatch.setattr(recording_files, "_read_at", failing)
    result = run(path)
    assert (result.exit_code, result.stderr) == (1, f"headroom: {path}: Input/output error\n")
    assert len(result.stdout.splitlines()) > 1_000


# Clocks


def test_clocks_far_ahead_are_malformed_wherever_they_stand_but_at_the_end(tmp_path: Path) -> None:
    content = list(SOUND)
    for place in (30, 20, 19, 7, 0):
        content.insert(place, record(AT_MS + YEAR_MS, "wrong"))
    lines = told(store(tmp_path / "file", FORMS["lines"](content)))
    wrong = [line for line in lines if line["partition_key"] == "wrong"]
    assert [line["outcome"] for line in wrong] == ["malformed"] * 4 + ["change"]
    assert {line["at_ms"] for line in wrong} == {AT_MS + YEAR_MS}
    assert [line["outcome"] for line in lines if line["partition_key"] != "wrong"] == ["change"] * 30


def test_a_gap_in_the_stream_makes_nothing_malformed(tmp_path: Path) -> None:
    after = [record(AT_MS + 9 * HOUR_MS + number) for number in range(20)]
    assert outcomes_of(store(tmp_path / "file", FORMS["lines"]([*SOUND, *after]))) == ["change"] * 50


def test_lines_come_as_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 1_000)
    [file] = find_recordings([store(tmp_path / "file", FORMS["lines"](SOUND))])
    reads: list[int] = []
    read_at = recording_files._read_at

    def counting(path: str, at: int, size: int) -> bytes:
        reads.append(at)
        return read_at(path, at, size)

    monkeypatch.setattr(recording_files, "_read_at", counting)
    found = outcomes(file, Settings())
    # Whether the first is believed depends on those that follow, but no more than fifteen of them.
    next(found)
    assert len(reads) < 8
    before = len(reads)
    assert len(list(found)) == 29
    assert len(reads) > before


def test_junk_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_command, "_MOST_AHEAD", 50)
    content = [record(AT_MS, "alone"), *[b"junk"] * 500, *SOUND]
    path = store(tmp_path / "file", FORMS["lines"](content))
    assert outcomes_of(path) == ["change"] + ["malformed"] * 500 + ["change"] * 30


# The same as the job, record by record


def counts_by_lane(path: Path, settings: Settings | None = None, **fields: Any) -> Counts:
    return by_lane(path, settings or Settings(), **fields)[0]


def by_lane(path: Path, settings: Settings, *, weigh_always: bool = False) -> tuple[Counts, list[str]]:
    """The counts and the reasons of what is malformed, as a lane tells them."""
    schemas = {name: TableSchema(table.partition_key, table.transactional) for name, table in settings.tables.items()}
    [file] = find_recordings([path])
    lane_settings = LaneSettings(
        settings.window.step_ms, settings.window.out_of_orderness_ms, settings.decode.future_tolerance_ms
    )
    counts = Counts()
    reasons = []
    for row in Lane([Segment(file)], FastPath(schemas, weigh_always=weigh_always), lane_settings).rows():
        if row.report is not None:
            report = read_report(row.report)
            counts.add(report.counts)
            reasons += [line["reason"] for line in report.malformed]
    return counts, sorted(reasons)


SETTINGS = Settings(
    window=WindowSettings(),
    tables={"conversations": TableSettings(partition_key="pk", transactional=True)},
    decode=DecodeSettings(future_tolerance_ms=HOUR_MS),
)


def assert_same(path: Path, settings: Settings) -> list[Any]:
    [file] = find_recordings([path])
    found = list(outcomes(file, settings))
    for weigh_always in (False, True):
        counts, reasons = by_lane(path, settings, weigh_always=weigh_always)
        assert counts.changes == sum(isinstance(each, Change) for each in found)
        assert counts.ignored == sum(isinstance(each, Ignored) for each in found)
        assert reasons == sorted(each.reason for each in found if isinstance(each, Malformed))
    return found


@pytest.mark.parametrize("form", ["lines", "concatenated", "an array", "a Lambda event"])
@pytest.mark.parametrize("kind", MalformedKind)
def test_inspect_and_lane_agree_on_every_kind_of_malformed_record(
    kind: MalformedKind, form: str, tmp_path: Path
) -> None:
    profile = Profile(records=60, malformed=0.3, malformed_kinds=(kind,), seed=5)
    content = list(records(profile))
    found = assert_same(store(tmp_path / "file", FORMS[form](content)), SETTINGS)
    if form in ("lines", "a Lambda event"):
        assert len(found) == 60


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where things stand in a record outside its images."""
    if path[-1:] not in (("NewImage",), ("OldImage",)):
        yield path
        pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for name, inner in pairs:
            yield from leaves(inner, (*path, name))


WHOLE = {
    **change(AT_MS, "a", 1_500, OldImage={"id": {"S": "a"}}),
    "eventName": "MODIFY",
    "userIdentity": {"type": "Service", "principalId": "somebody"},
    "recordFormat": "application/json",
}
WRONG: list[Any] = [None, True, 0, -1, 7, 1.5, 10**30, "", "x", "MODIFY", "\x00", [], [1], {}, {"S": "a"}, {"N": "7"}]
WRONG += [{"N": "1e400"}, {"B": "YQ=="}, {"S": "a", "N": "1"}, {"S": None}, {"id": {"S": "b"}}, "aws:dynamodb"]


AHEAD = "far ahead of the records around it"


def with_wrong(place: Sequence[Any], wrong: Any, *, missing: bool) -> bytes:
    whole = json.loads(json.dumps(WHOLE))
    if not place:
        return written(wrong)
    holder = whole
    for name in place[:-1]:
        holder = holder[name]
    if missing:
        del holder[place[-1]]
    else:
        holder[place[-1]] = wrong
    return written(whole)


@examples(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(list(leaves(WHOLE))), st.sampled_from(WRONG), st.booleans()), max_size=25))
@example([(("eventID",), None, False), *[(("dynamodb", "ApproximateCreationDateTime"), 7, False)] * 2])
def test_inspect_and_lane_agree_on_records_broken_anywhere_outside_their_images(
    tmp_path: Path, broken: list[tuple[tuple[Any, ...], Any, bool]]
) -> None:
    content = [with_wrong(place, wrong, missing=missing) for place, wrong, missing in broken]
    found = assert_same(store(tmp_path / "file", FORMS["lines"]([SOUND[0], *content])), SETTINGS)
    assert len(found) == 1 + len(content)
    expected = [parse_change(each, {"conversations": TableSchema("pk")}) for each in content]
    # Whose clock is wrong the records around it tell, and another test: alone, each of these is a change.
    alone = [Change if isinstance(each, Malformed) and AHEAD in each.reason else type(each) for each in found[1:]]
    assert alone == [type(each) for each in expected]


def test_inspect_and_lane_agree_on_clocks(tmp_path: Path) -> None:
    random = Random(4)
    content = []
    for number in range(300):
        ahead_ms = random.choice([0, 0, 0, 0, 0, YEAR_MS, HOUR_MS + 1, 2 * HOUR_MS])
        content.append(record(AT_MS + 40 * number + ahead_ms, size=900))
        if random.random() < 0.1:
            content.append(b"junk")
    found = assert_same(store(tmp_path / "file", FORMS["lines"](content)), SETTINGS)
    assert 50 < sum(isinstance(each, Malformed) for each in found) < 200
    assert_same(store(tmp_path / "file", b"".join(map(pretty, content[:1]))), SETTINGS)
