import json
from dataclasses import replace

import pytest

from connectors.dynamodb.change import Change, EventName, Ignored, Malformed
from jobs.inspect import inspect_line

NAMES = [
    "outcome",
    "table",
    "partition_key",
    "partition_key_type",
    "at_ms",
    "event_id",
    "event_name",
    "keys_bytes",
    "old_bytes",
    "new_bytes",
    "size_bytes",
    "size_matches",
    "wcu",
]

CHANGE = Change(
    table="notes",
    partition_key="a1",
    partition_key_type="S",
    at_ms=1_763_769_600_000,
    event_id="e-1",
    event_name=EventName.INSERT,
    keys_bytes=4,
    old_bytes=None,
    new_bytes=1500,
    size_bytes=1505,
    size_matches=False,
    wcu=2,
)


def test_a_change_is_a_line_of_its_fields_in_order() -> None:
    line = inspect_line(CHANGE)
    assert list(line) == NAMES
    assert json.dumps(line) == (
        '{"outcome": "change", "table": "notes", "partition_key": "a1", "partition_key_type": "S", '
        '"at_ms": 1763769600000, "event_id": "e-1", "event_name": "INSERT", "keys_bytes": 4, '
        '"old_bytes": null, "new_bytes": 1500, "size_bytes": 1505, "size_matches": false, "wcu": 2}'
    )
    assert type(line["event_name"]) is str


def test_what_a_change_does_not_say_is_null() -> None:
    line = inspect_line(replace(CHANGE, event_id=None, size_bytes=None, size_matches=None))
    assert (line["event_id"], line["size_bytes"], line["size_matches"]) == (None, None, None)


@pytest.mark.parametrize(("kind", "outcome"), [(Malformed, "malformed"), (Ignored, "ignored")])
def test_what_is_no_change_says_why_and_what_could_be_read(kind: type[Malformed] | type[Ignored], outcome: str) -> None:
    line = inspect_line(kind("because", table="notes", at_ms=5, event_name="ARCHIVE"))
    assert list(line) == [*NAMES, "reason"]
    known = {name: value for name, value in line.items() if value is not None}
    assert known == {
        "outcome": outcome,
        "table": "notes",
        "at_ms": 5,
        "event_name": "ARCHIVE",
        "reason": "because",
    }
