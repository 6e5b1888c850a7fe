"""Evidence behind decisions: that of the recording, found by whatever a person gives."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from connectors.recordings.files import find_recordings
from jobs.cli import cli
from jobs.explain.changes import by_sort_key, find_changes
from jobs.explain.text import sparkline
from jobs.settings.render import to_toml
from jobs.settings.toml_text import printable
from tests.connectors.recorded import AT_MS, FORMS, lambda_event, record
from tests.flink.streams import changed_settings, settings, stream, write
from tests.kept_results import keep_result
from tests.tune_oracle import changes_of


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    return stream()


@pytest.fixture(scope="module")
def kept(content: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("explain")
    before = os.environ.get("HEADROOM_CACHE_DIR")
    os.environ["HEADROOM_CACHE_DIR"] = str(directory / "cache")
    yield keep_result([write(directory / "a.jsonl", content)], [content], settings(), directory / "out")
    os.environ.pop("HEADROOM_CACHE_DIR") if before is None else os.environ.update(HEADROOM_CACHE_DIR=before)


@pytest.fixture(scope="module")
def actions(kept: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (kept / "actions.jsonl").read_text().splitlines()]


def explain(kept: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["explain", *map(str, arguments), "--result", str(kept)])


def told(kept: Path, *arguments: str | Path) -> dict[str, Any]:
    finished = explain(kept, *arguments, "--format", "json")
    assert finished.exit_code == 0, finished.output
    answer: dict[str, Any] = json.loads(finished.stdout)
    return answer


def test_every_decision_is_explained_by_the_writes_that_it_counted(
    kept: Path, actions: list[dict[str, Any]], content: list[bytes]
) -> None:
    [changes] = changes_of([content], settings())
    for action in actions:
        answer = told(kept, action["action_id"])
        evidence, window = action["evidence"], answer["window"]
        assert (window["start_ms"], window["step_end_ms"]) == (evidence["window_start_ms"], action["issued_at_ms"])
        assert (window["consumed_wcu"], window["rule"]) == (evidence["consumed_wcu"], evidence["rule"])
        assert answer["curve"][-1]["consumed_wcu"] == evidence["consumed_wcu"]
        assert sum(step["wcu"] for step in answer["curve"]) == evidence["consumed_wcu"]
        key = (action["table"], action["partition_key"], action["partition_key_type"])
        counted = [
            change
            for change in changes
            if change[:3] == key and window["start_ms"] <= change.at_ms < window["step_end_ms"]
        ]
        assert sum(answer["changes"].values()) + answer["late_not_counted"] == len(counted)
        history = [each["action_id"] for each in answer["lease_history"]]
        assert history == [
            each["action_id"] for each in actions if each["partition_key"] == key[1] and each["table"] == key[0]
        ]
        assert window["limit_reached_ms"] < action["issued_at_ms"]
        assert answer["others_near"]


def test_sort_keys_add_up_to_the_window_where_all_are_told(kept: Path, actions: list[dict[str, Any]]) -> None:
    few = [
        answer for answer in (told(kept, each["action_id"]) for each in actions) if answer["distinct_sort_keys"] <= 10
    ]
    for answer in few:
        assert sum(each["wcu"] for each in answer["sort_keys"]) == answer["window"]["consumed_wcu"]
    for action in actions:
        answer = told(kept, action["action_id"])
        sizes = answer["item_bytes"]
        assert sizes["smallest"] <= sizes["median"] <= sizes["largest"]
        consumed = [each["wcu"] for each in answer["sort_keys"]]
        assert consumed == sorted(consumed, reverse=True)


def test_the_beginning_of_an_identifier_and_a_time_within_a_lease_mean_the_same(
    kept: Path, actions: list[dict[str, Any]]
) -> None:
    action = actions[-1]
    by_id = told(kept, action["action_id"][:8])
    at = f"{(action['issued_at_ms'] + action['not_after_ms']) // 2_000 * 1_000}"
    seconds = int(at) // 1_000
    clock = f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    by_time = told(kept, action["partition_key"], "--table", action["table"], "--at", clock)
    assert by_id["decision"] == by_time["decision"]
    assert by_id["decision"]["action_id"] == action["action_id"]


def test_a_key_that_came_near_is_explained_by_its_fullest_window(kept: Path, actions: list[dict[str, Any]]) -> None:
    suspended = {(each["table"], each["partition_key"]) for each in actions}
    lines = [json.loads(line) for line in (kept / "windows.jsonl").read_text().splitlines()]
    near = [line for line in lines if (line["table"], line["partition_key"]) not in suspended]
    highest = max(near, key=lambda line: line["consumed_wcu"])
    answer = told(kept, highest["partition_key"], "--table", highest["table"])
    assert answer["decision"] is None
    assert answer["lease_history"] == []
    assert answer["window"]["consumed_wcu"] == highest["consumed_wcu"]


def test_words_say_what_figures_say(kept: Path, actions: list[dict[str, Any]]) -> None:
    for action in actions:
        finished = explain(kept, action["action_id"])
        assert finished.exit_code == 0
        assert f"{printable(action['partition_key'])} " in finished.stdout
        assert f"{action['evidence']['consumed_wcu']:,} WCU" in finished.stdout
        assert f"rule: {action['evidence']['rule']}" in finished.stdout
        assert "<- this" in finished.stdout
    assert (
        "was not suspended"
        in explain(kept, actions[0]["partition_key"], "--at", "10:00:01", "--table", actions[0]["table"]).stdout
    )


def test_nothing_or_several_things_meant_is_told_with_what_to_do(
    kept: Path, content: list[bytes], tmp_path: Path
) -> None:
    mistakes: list[tuple[list[str | Path], str]] = [
        (["nobody"], "no decision has this identifier, and no change in the recording has this partition key"),
        (["tenant-00022"], "; there are tenant-00002"),
        (["TENANT-000039"], "; there are tenant-000039"),
        (["ffffffffffff"], "no decision has this identifier"),
        (["tenant-000002"], "name one with --table"),
        (
            ["tenant-000001", "--table", "nowhere"],
            "not a partition key of table 'nowhere'; it is one of conversations, sessions",
        ),
        (["tenant-000022", "--at", "noon"], "'noon' is not a time"),
        (["tenant-000022", "--recording", tmp_path / "gone.jsonl"], "no such file"),
        (["tenant-000022", "--recording", write(tmp_path / "short.jsonl", content[:9])], "has changed since"),
    ]
    for arguments, said in mistakes:
        finished = explain(kept, *arguments)
        assert (finished.exit_code, said in finished.output) == (2, True), finished.output


def test_of_an_identifier_with_a_slip_the_one_that_was_meant_is_told(kept: Path, actions: list[dict[str, Any]]) -> None:
    identifier = actions[0]["action_id"]
    slipped = identifier[:7] + ("0" if identifier[7] != "0" else "1") + identifier[8:12]
    assert f"; there are {identifier}" in explain(kept, slipped).output


@pytest.fixture
def live(kept: Path, tmp_path: Path) -> Path:
    """What a live run keeps of the same, with lines that came twice after a failure."""
    lines = (kept / "actions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "actions.jsonl").write_text("".join([*lines[2:], *lines]))
    (tmp_path / "live" / "late.jsonl").write_text((kept / "late.jsonl").read_text())
    (tmp_path / "live" / "status.json").write_text("{}")
    return tmp_path / "live"


def test_a_decision_of_a_live_run_is_explained_by_itself(live: Path, kept: Path, actions: list[dict[str, Any]]) -> None:
    for action in actions:
        answer, full = told(live, action["action_id"]), told(kept, action["action_id"])
        assert list(answer) == list(full)
        assert (answer["evidence_from"], answer["curve"], full["evidence_from"]) == ("decision", [], "recording")
        assert {name: answer["window"][name] for name in answer["window"] if name != "limit_reached_ms"} == {
            name: full["window"][name] for name in full["window"] if name != "limit_reached_ms"
        }
        assert answer["lease_history"] == full["lease_history"]
    printed = explain(live, actions[0]["action_id"]).stdout
    assert "A live run keeps no writes: name a recording" in printed
    assert "Consumption in the window" not in printed
    asked = explain(live, "tenant-000039")
    assert (asked.exit_code, "without a recording of the time" in asked.output) == (2, True), asked.output
    before = explain(live, actions[0]["partition_key"], "--table", actions[0]["table"], "--at", "00:00:01")
    assert (before.exit_code, "no lease of it ran at that time" in before.output) == (2, True), before.output


def test_with_a_recording_and_its_settings_a_live_run_is_explained_as_a_replay_is(
    live: Path, kept: Path, actions: list[dict[str, Any]]
) -> None:
    given = ["--config", str(kept / "settings.toml"), "--recording", str(kept.parent / "a.jsonl")]
    for asked in ([actions[0]["action_id"]], ["tenant-000039", "--table", "sessions"]):
        assert told(live, *asked, *given) == told(kept, *asked)


RULES = """
[[rules]]
version = 3
valid_from = "2026-11-20T10:04:00+00:00"
[rules.limits]
default_wcu = 1000000
"""


def test_without_a_decision_the_limit_is_that_of_the_rules_which_were_in_force(
    content: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    given = changed_settings(rules={"file": str(tmp_path / "rules.toml")})
    recording = write(tmp_path / "a.jsonl", content)
    kept = keep_result([recording], [content], settings(), tmp_path / "out")
    (kept / "settings.toml").write_text(to_toml(given))
    asked = ["tenant-000001", "--table", "sessions", "--at"]
    for at, limit_wcu, rule in (("10:03:30", 400, "default@0"), ("10:05:30", 1_000_000, "default@3")):
        window = told(kept, *asked, at)["window"]
        assert (window["limit_wcu"], window["rule"]) == (limit_wcu, rule)
    (tmp_path / "rules.toml").unlink()
    assert told(kept, *asked, "10:05:30")["window"]["limit_wcu"] == 400
    assert "for the rules are gone" in explain(kept, *asked, "10:05:30").stdout


def test_a_recording_of_the_same_size_with_other_writes_is_refused(
    kept: Path, content: list[bytes], tmp_path: Path
) -> None:
    others = [record.replace(b'"tenant-000022"', b'"tenant-900022"') for record in content]
    path = write(tmp_path / "changed.jsonl", others)
    id_of_22 = next(
        action["action_id"]
        for action in map(json.loads, (kept / "actions.jsonl").read_text().splitlines())
        if action["partition_key"] == "tenant-000022"
    )
    finished = explain(kept, id_of_22, "--recording", path, "--no-cache")
    assert finished.exit_code == 2
    assert "no such partition key" in finished.output


def test_identifiers_that_begin_alike_are_told(kept: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (kept / "actions.jsonl").read_text().splitlines()]
    other = tmp_path / "out"
    other.mkdir()
    for file in kept.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    for number, line in enumerate(lines):
        line["action_id"] = f"abcdef{number:026}"
    (other / "actions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    finished = explain(other, "abcdef")
    assert (finished.exit_code, f"{len(lines)} decisions begin so" in finished.output) == (2, True)
    (other / "actions.jsonl").write_text("{broken\n")
    assert "line 1 is not JSON" in explain(other, "abcdef").output


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["k", 'q"uo\\te/é\n', "</script>"])
def test_changes_of_a_key_are_found_in_every_form(form: str, key: str, tmp_path: Path) -> None:
    wanted = [record(AT_MS + number, key, 100 + number) for number in range(3)]
    others = [record(AT_MS, "other", 50), record(AT_MS + 9_999, key), record(AT_MS, key, tableName="elsewhere")]
    (tmp_path / "a").write_bytes(FORMS[form]([*wanted, *others]))
    found = find_changes(
        find_recordings([tmp_path / "a"]), ("visits", key, "S"), (AT_MS, AT_MS + 5_000), settings(), []
    )
    assert [each.change.at_ms for each in found] == [AT_MS, AT_MS + 1, AT_MS + 2]
    assert [each.sort_key for each in found] == [None] * 3


def escaped(records: Sequence[bytes]) -> bytes:
    return b"".join(json.dumps(json.loads(each)).encode().replace(b"/", b"\\/") + b"\n" for each in records)


def numbered(records: Sequence[bytes]) -> bytes:
    return b"".join(each.replace(b'"tenant"', b'"\\u0074enant"') + b"\n" for each in records)


@pytest.mark.parametrize("write_as", [escaped, numbered, lambda records: lambda_event(records) * 2])
@pytest.mark.parametrize("key", ["tenant", "t/é"])
def test_changes_are_found_however_their_json_is_written(
    write_as: Callable[[Sequence[bytes]], bytes], key: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(write_as([record(AT_MS, key), record(AT_MS, "x")]))
    found = find_changes(find_recordings([tmp_path / "a"]), ("visits", key, "S"), (AT_MS, AT_MS + 1), settings(), [])
    assert len(found) == (2 if write_as(()) else 1)


def test_late_changes_are_told_apart_and_keys_of_other_types_and_sort_keys_are_found(tmp_path: Path) -> None:
    given = changed_settings(tables={"visits": {"partition_key": "id"}})
    keys = {"id": {"N": "42"}, "at": {"S": "page#1"}}
    records = [record(AT_MS + number, Keys=keys, NewImage=keys, SizeBytes=None) for number in (0, 1, 1)]
    (tmp_path / "a").write_bytes(b"\n".join(records))
    late = [{"table": "visits", "partition_key": "42", "partition_key_type": "N", "at_ms": AT_MS + 1, "wcu": 1}]
    found = find_changes(find_recordings([tmp_path / "a"]), ("visits", "42", "N"), (AT_MS, AT_MS + 9), given, late)
    assert [each.is_late for each in found] == [False, True, False]
    assert [(sort_key, len(changes)) for sort_key, changes in by_sort_key(found)] == [("page#1", 3)]


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([], ""),
        ([0, 0], "▁▁"),
        ([1, 8], "▁█"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 8], "▁▁▂▃▄▅▆▇█"),
        ([5], "█"),
        ([1] * 121, "█" * 41),
    ],
)
def test_a_sparkline_is_as_high_as_its_values(values: list[int], drawn: str) -> None:
    assert sparkline(values) == drawn
