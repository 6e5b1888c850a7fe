"""Rules that change in the middle of a stream: recorded, against the oracle; live, on the embedded cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import pytest

from jobs.execution import ExecutionMode
from jobs.settings import Settings
from jobs.settings.load import parse_settings
from tests.flink.streams import judge, settings, stream, told, write
from tests.flink.test_replay import run

pytestmark = pytest.mark.flink

LOWER = "default_wcu = 200"
VERSION_3 = '[[rules]]\nversion = 3\nvalid_from = "{at}"\n[rules.limits]\n{limit}\n'


@pytest.fixture(scope="module")
def content() -> list[bytes]:
    return stream()


def test_a_replay_follows_rules_in_event_time(content: list[bytes], tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    plain = judge([content], settings())
    lower = judge([content], parse_settings(f"[limits]\n{LOWER}\n{TABLES}".encode(), "lower"))
    first_ms, last_ms = plain.counts["first_event_ms"], plain.counts["last_event_ms"]
    assert first_ms is not None
    assert last_ms is not None
    middle_ms = (first_ms + last_ms) // 2
    middle_ms -= middle_ms % 1000
    rules.write_text(VERSION_3.format(at=_iso(middle_ms), limit=LOWER))
    given = settings(f'[rules]\nfile = "{rules}"\nlowest_warn_wcu = 100\n')
    run([write(tmp_path / "a.jsonl", content)], tmp_path / "out", given)
    expected = [line | {"rules_version": 0} for line in plain.windows if line["step_end_ms"] < middle_ms]
    expected += [line | {"rules_version": 3} for line in lower.windows if line["step_end_ms"] >= middle_ms]
    found = told(tmp_path / "out", "windows.jsonl")
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, expected))
    assert {line["rules_version"] for line in found} == {0, 3}
    actions = told(tmp_path / "out", "actions.jsonl")
    for action in actions:
        since = 3 if action["issued_at_ms"] >= middle_ms else 0
        assert action["evidence"]["rule"].endswith(f"@{since}")
    # What was decided before the change is what would have been decided without it.
    before = [action for action in actions if action["issued_at_ms"] < middle_ms]
    assert [_without_rule(action) for action in before] == [
        _without_rule(action) for action in plain.actions if action["issued_at_ms"] < middle_ms
    ]
    assert len(actions) > len(before)


LIVE = """
[window]
size = "4s"
step = "1s"
out_of_orderness = "0s"
[limits]
default_wcu = 1000000
[lease]
steps = ["1s"]
decay = "1s"
[rules]
file = "{file}"
check = "1s"
lowest_warn_wcu = 10
"""


def test_rules_change_while_a_job_runs_and_those_with_mistakes_change_nothing(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rules]]\nversion = 1\n")
    given = parse_settings(LIVE.format(file=rules).encode(), "live")
    lower = "[rules.limits]\ndefault_wcu = 20\n"
    wrong = "[[rules]]\nversion = 3\n[rules.limits]\ndefault_wcu = -1\n"
    seen: list[tuple[str, str]] = []
    wanted = iter(
        [
            # What is written, and what has to follow: a decision by its kind and version, or what became of the rules.
            ("[[rules]]\nversion = 2\n" + lower, "suspended", "default@2"),
            (wrong, "rules", "refused"),
            (wrong, "suspended", "default@2"),
            ("[[rules]]\nversion = 4\nshadow = true\n" + lower, "shadow_suspended", "default@4"),
        ]
    )
    content, kind, rule = next(wanted)
    rules.write_text(content)
    deadline_s = monotonic() + 120
    for line_kind, line in _live_lines(given):
        assert monotonic() < deadline_s, f"no {kind} by {rule}; seen {seen[-5:]}"
        if line_kind == "window":
            continue
        told = json.loads(line)
        if line_kind == "rules":
            decided = (line_kind, told["outcome"])
        else:
            decided = (line_kind.replace("extended", "suspended"), told["evidence"]["rule"])
            seen.append(decided)
        if decided != (kind, rule):
            continue
        step = next(wanted, None)
        if step is None:
            break
        content, kind, rule = step
        rules.write_text(content)
    assert [each for at, each in enumerate(seen) if at == 0 or each != seen[at - 1]] == [
        ("suspended", "default@2"),
        ("shadow_suspended", "default@4"),
    ]


def _live_lines(given: Settings) -> Iterator[tuple[str, str]]:
    """What the job tells of a key that writes all the time."""
    from pyflink.common import Row, Types
    from pyflink.table import Schema, TableDescriptor
    from pyflink.table.expressions import col, concat

    from jobs.capacity.decoded_stream import DECODED_COLUMNS, decoded_stream
    from jobs.capacity.job import build
    from jobs.capacity.live import rules_config
    from jobs.capacity.live_rules import arriving_rules
    from jobs.runtime import collect_lines, local_environment

    environment = local_environment(parallelism=1, execution_mode=ExecutionMode.THREAD)
    ticks = TableDescriptor.for_connector("datagen").schema(Schema.new_builder().column("tick", "INT").build())
    ticks = ticks.option("rows-per-second", "10")
    columns = [Types.STRING()] * 3 + [Types.LONG()] * 4 + [Types.STRING()]

    def costs(_: Any) -> Row:
        now_ms = time_ns() // 1_000_000
        return Row("t", "k", "S", now_ms, 10, 1, now_ms, None)

    rows = environment.tables.to_data_stream(environment.tables.from_descriptor(ticks.build())).map(
        costs, output_type=Types.ROW_NAMED(list(DECODED_COLUMNS), columns)
    )
    schema = Schema.new_builder()
    for name, kind in DECODED_COLUMNS.items():
        schema.column(name, kind)
    decoded = decoded_stream(environment, environment.tables.from_data_stream(rows, schema.build()))
    outcomes = build(environment, decoded, given, arriving_rules(environment, given, rules_config(given)))
    lines = outcomes.select(concat(col("kind"), " ", col("line")))
    for batch in collect_lines(environment, lines, "rules"):
        for line in batch:
            kind, _, text = line.partition(" ")
            yield kind, text


def _without_rule(action: dict[str, Any]) -> dict[str, Any]:
    evidence = {name: value for name, value in action["evidence"].items() if name != "rule"}
    return action | {"evidence": evidence}


def _iso(at_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


TABLES = """
[lease]
steps = ["30s", "1m", "2m"]
decay = "5m"
[tables.conversations]
partition_key = "pk"
[tables.sessions]
transactional = true
"""
