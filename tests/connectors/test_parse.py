"""Reading a change record: what it says, what it cost, and that nothing makes the reader raise."""

import copy
import json
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connectors.dynamodb.change import Change, EventName, Ignored, Malformed, TableSchema
from connectors.dynamodb.parse import parse_change
from connectors.dynamodb.record_json import MAX_RECORD_BYTES
from tests.connectors.dynamodb_items import Weighed, items, keys

EVENTS = Path(__file__).parents[1] / "events" / "dynamodb"
SCHEMAS = {
    "billing-documents": TableSchema("kind"),
    "sensor-readings": TableSchema("device"),
    "conversations": TableSchema("pk"),
}

Outcome = Change | Malformed | Ignored


def read(name: str) -> bytes:
    return (EVENTS / f"{name}.json").read_bytes()


def record(**changes: Any) -> dict[str, Any]:
    """A sound record of one key attribute; fields of its ``dynamodb`` replaced, or removed by ``...``."""
    body = {
        "ApproximateCreationDateTime": 1_763_769_600_000,
        "Keys": {"id": {"S": "a1"}},
        "NewImage": {"id": {"S": "a1"}, "n": {"N": "7"}},
        "SizeBytes": 4 + 4 + 3,
    }
    body = {name: value for name, value in {**body, **changes}.items() if value is not ...}
    return {
        "eventID": "e-1",
        "eventName": "INSERT",
        "userIdentity": None,
        "tableName": "notes",
        "dynamodb": body,
        "eventSource": "aws:dynamodb",
    }


def outer(**changes: Any) -> dict[str, Any]:
    """The same, with fields outside of ``dynamodb`` replaced or removed."""
    return {name: value for name, value in {**record(), **changes}.items() if value is not ...}


def parse(value: Any, schemas: Mapping[str, TableSchema] = SCHEMAS, **default: Any) -> Outcome:
    encoded = json.dumps(value).encode()
    return parse_change(encoded, schemas, **default)


def change_of(value: Any, schemas: Mapping[str, TableSchema] = SCHEMAS, **default: Any) -> Change:
    change = parse(value, schemas, **default)
    assert isinstance(change, Change), change
    return change


def reason_of(value: Any, schemas: Mapping[str, TableSchema] = SCHEMAS, **default: Any) -> str:
    malformed = parse(value, schemas, **default)
    assert isinstance(malformed, Malformed), malformed
    return malformed.reason


# Sizes are worked out by hand: names and values of the keys, the old and the new image.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "insert_millisecond",
            Change(
                table="billing-documents",
                partition_key="invoice",
                partition_key_type="S",
                at_ms=1_763_769_601_205,
                event_id="0b54b3f2-6c0e-4d0a-9f3d-51a3d8c1e7aa",
                event_name=EventName.INSERT,
                keys_bytes=(4 + 7) + (3 + 10),
                old_bytes=None,
                new_bytes=(5 + 9) + (4 + 7) + (3 + 10),
                size_bytes=62,
                size_matches=True,
                wcu=1,
            ),
        ),
        (
            "insert_all_types_microsecond",
            Change(
                table="tickets",
                partition_key="ticket-000981",
                partition_key_type="S",
                at_ms=1_763_769_602_417,
                event_id="7d1f0c5e-2b6a-4c39-8f54-0e9b6a7c1d22",
                event_name=EventName.INSERT,
                keys_bytes=2 + 13,
                old_bytes=None,
                new_bytes=15 + 13 + 12 + 11 + 10 + 9 + 9 + (7 + 15) + (4 + 32) + (5 + 14) + 15,
                size_bytes=186,
                size_matches=True,
                wcu=1,
            ),
        ),
        (
            "insert_binary_key_microsecond",
            Change(
                table="sensor-readings",
                partition_key="3q2+7w==",
                partition_key_type="B",
                at_ms=1_763_769_603_500,
                event_id="c2b8e6a4-95f1-4f0e-b3a7-6d20c4f8e913",
                event_name=EventName.INSERT,
                keys_bytes=(6 + 4) + (2 + 6),
                old_bytes=None,
                new_bytes=18 + (3 + 5) + (3 + 6) + (7 + 2) + (8 + 5),
                size_bytes=75,
                size_matches=True,
                wcu=1,
            ),
        ),
        (
            "modify_millisecond",
            Change(
                table="conversations",
                partition_key="tenant-000221",
                partition_key_type="S",
                at_ms=1_763_769_604_011,
                event_id="e90d7a13-0c4b-4f7d-a6de-3f1b2a9c8d70",
                event_name=EventName.MODIFY,
                keys_bytes=(2 + 13) + (2 + 12),
                old_bytes=29 + (6 + 4) + (6 + 2) + (4 + 5),
                new_bytes=29 + (6 + 6) + (6 + 1) + (4 + 5) + (9 + 7),
                size_bytes=158,
                size_matches=True,
                wcu=1,
            ),
        ),
        (
            "remove_millisecond",
            Change(
                table="orders",
                partition_key="900017",
                partition_key_type="N",
                at_ms=1_763_769_605_777,
                event_id="41c7f5d8-7e02-4b5c-8a19-bd6e3c0f5a64",
                event_name=EventName.REMOVE,
                keys_bytes=8 + 4,
                old_bytes=12 + (8 + 13) + (5 + 3 + (3 + (3 + 3 + 1) + (3 + 2 + 1)) + 1),
                new_bytes=None,
                size_bytes=70,
                size_matches=True,
                wcu=1,
            ),
        ),
        (
            "remove_expired_microsecond",
            Change(
                table="sessions",
                partition_key="s-77f0",
                partition_key_type="S",
                at_ms=1_763_769_606_000,
                event_id="9a6e2d41-f3b7-4d8c-9c05-72e8b1a0d3f6",
                event_name=EventName.REMOVE,
                keys_bytes=7 + 6,
                old_bytes=13 + (10 + 5) + (7 + 1500),
                new_bytes=None,
                size_bytes=1548,
                size_matches=True,
                wcu=0,
            ),
        ),
    ],
)
def test_a_record_is_read_in_full(name: str, expected: Change) -> None:
    assert parse_change(read(name), SCHEMAS) == expected
    assert parse_change(memoryview(read(name)), SCHEMAS) == expected


def test_records_of_an_envelope_are_changes_once_taken_out() -> None:
    envelope = json.loads(read("kinesis_lambda_envelope"))
    records = [b64decode(entry["kinesis"]["data"]) for entry in envelope["Records"]]
    changes = [change_of(json.loads(record)) for record in records]
    assert [change.partition_key for change in changes] == ["order-5a1", "order-5a2"]
    assert [change.size_matches for change in changes] == [True, True]
    assert isinstance(parse(envelope["Records"][0]), Ignored)


@settings(deadline=None)
@given(keys(), st.none() | items(), st.none() | items(), st.integers(-1, 1))
def test_sizes_add_up_to_size_bytes_and_to_nothing_else(
    key: Weighed, old: Weighed | None, new: Weighed | None, error: int
) -> None:
    total = key[1] + (old[1] if old else 0) + (new[1] if new else 0)
    value = record(
        Keys=key[0],
        OldImage=old[0] if old else ...,
        NewImage=new[0] if new else ...,
        SizeBytes=total + error,
    )
    outcome = parse({**value, "eventName": "MODIFY"}, {}, default=TableSchema(next(iter(key[0]))))
    if old is None and new is None:
        assert isinstance(outcome, Malformed)
    else:
        assert isinstance(outcome, Change), outcome
        assert (outcome.keys_bytes, outcome.old_bytes, outcome.new_bytes) == (
            key[1],
            old and old[1],
            new and new[1],
        )
        assert outcome.size_matches is (error == 0)


# Cost


def image(size: int) -> dict[str, Any]:
    return {"id": {"S": "a1"}, "text": {"S": "x" * (size - 4 - 4)}}


@pytest.mark.parametrize(("size", "wcu"), [(1023, 1), (1024, 1), (1025, 2), (400 * 1024, 400)])
def test_a_write_costs_a_unit_for_every_started_kib_of_the_item(size: int, wcu: int) -> None:
    change = change_of(record(NewImage=image(size)))
    assert change.new_bytes == size
    assert change.wcu == wcu


@pytest.mark.parametrize(("old", "new", "wcu"), [(1024, 3000, 3), (3000, 1024, 3), (1024, 1024, 1), (1025, 9, 2)])
def test_a_write_costs_what_the_larger_image_costs(old: int, new: int, wcu: int) -> None:
    value = record(OldImage=image(old), NewImage=image(new))
    assert change_of({**value, "eventName": "MODIFY"}).wcu == wcu


def test_a_transactional_write_costs_twice() -> None:
    value = record(NewImage=image(1025))
    assert change_of(value, {"notes": TableSchema(None, transactional=True)}).wcu == 4
    assert change_of(value, {}, default=TableSchema(None, transactional=True)).wcu == 4
    assert change_of(value, {"notes": TableSchema(None)}, default=TableSchema(None, transactional=True)).wcu == 2


EXPIRY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


@pytest.mark.parametrize(
    ("event_name", "user", "wcu"),
    [
        ("REMOVE", EXPIRY, 0),
        ("REMOVE", {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}, 0),
        ("REMOVE", None, 1),
        ("REMOVE", {}, 1),
        ("REMOVE", {**EXPIRY, "type": "User"}, 1),
        ("REMOVE", {**EXPIRY, "principalId": "dynamodb.amazonaws.com.example.org"}, 1),
        ("MODIFY", EXPIRY, 1),
    ],
)
def test_only_a_delete_by_expiry_costs_nothing(event_name: str, user: Any, wcu: int) -> None:
    value = record(OldImage=image(100), NewImage=...)
    assert change_of({**value, "eventName": event_name, "userIdentity": user}).wcu == wcu


def test_a_delete_by_expiry_costs_nothing_in_a_transactional_table_too() -> None:
    value = {**record(OldImage=image(100), NewImage=...), "eventName": "REMOVE", "userIdentity": EXPIRY}
    assert change_of(value, {"notes": TableSchema(None, transactional=True)}).wcu == 0


# Time


@pytest.mark.parametrize(
    ("value", "precision", "at_ms"),
    [
        (1_763_769_600_123, ..., 1_763_769_600_123),
        (1_763_769_600_123, None, 1_763_769_600_123),
        (1_763_769_600_123, "MILLISECOND", 1_763_769_600_123),
        (1_763_769_600_123_999, "MICROSECOND", 1_763_769_600_123),
        (1_763_769_600_123_999, ..., 1_763_769_600_123),
        (1_763_769_600_123_999, "MILLISECOND", 1_763_769_600_123),
        (99_999_999_999_999, ..., 99_999_999_999_999),
        (100_000_000_000_000, ..., 100_000_000_000_000),
        (100_000_000_000_001, ..., 100_000_000_000),
        (99_999_999_999_999, "MICROSECOND", 99_999_999_999),
        (1, ..., 1),
        (999, "MICROSECOND", 0),
        (253_402_300_799_999_999, "MICROSECOND", 253_402_300_799_999),
    ],
)
def test_a_time_is_read_by_its_precision_and_its_size(value: int, precision: Any, at_ms: int) -> None:
    fields = {"ApproximateCreationDateTime": value, "ApproximateCreationDateTimePrecision": precision}
    assert change_of(record(**fields)).at_ms == at_ms


@pytest.mark.parametrize(
    ("value", "years"),
    [
        (253_402_300_800_000_000, "8,029 years ahead"),
        (1_763_769_600_123_999_000, "55,891 years ahead"),
        (10**30, "years ahead"),
    ],
)
@pytest.mark.parametrize("precision", ["MICROSECOND", "MILLISECOND", ...])
def test_a_time_beyond_the_year_9999_is_malformed(value: int, years: str, precision: Any) -> None:
    fields = {"ApproximateCreationDateTime": value, "ApproximateCreationDateTimePrecision": precision}
    assert years in reason_of(record(**fields))


# Partition key


@pytest.mark.parametrize(
    ("value", "text", "tag"),
    [
        ({"S": "tenant-7"}, "tenant-7", "S"),
        ({"N": "-7.5"}, "-7.5", "N"),
        ({"B": "YUdWaFpBPT0="}, "aGVhZA==", "B"),
    ],
)
def test_a_single_key_attribute_is_the_partition_key(value: Any, text: str, tag: str) -> None:
    change = change_of(record(Keys={"id": value}), {})
    assert (change.partition_key, change.partition_key_type) == (text, tag)


@pytest.mark.parametrize(
    ("schemas", "default", "key"),
    [
        ({"notes": TableSchema("pk")}, TableSchema(None), "p"),
        ({"notes": TableSchema("sk")}, TableSchema("pk"), "s"),
        ({"notes": TableSchema(None)}, TableSchema("sk"), "s"),
        ({"other": TableSchema("pk")}, TableSchema("sk"), "s"),
    ],
)
def test_of_two_key_attributes_settings_name_the_partition_key(
    schemas: dict[str, TableSchema], default: TableSchema, key: str
) -> None:
    value = record(Keys={"sk": {"S": "s"}, "pk": {"S": "p"}})
    assert change_of(value, schemas, default=default).partition_key == key


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ("conversations", "set [tables.conversations] partition_key"),
        ("Conversations_2-eu", "set [tables.Conversations_2-eu] partition_key"),
        ("a.b", 'set [tables."a.b"] partition_key'),
        ('quote"d', 'set [tables."quote\\"d"] partition_key'),
        ("größe", 'set [tables."größe"] partition_key'),
    ],
)
def test_an_unknown_partition_key_names_the_setting_that_is_missing(table: str, named: str) -> None:
    value = {**record(Keys={"sk": {"S": "s"}, "pk": {"S": "p"}}), "tableName": table}
    reason = reason_of(value, {})
    assert reason == f'table {json.dumps(table, ensure_ascii=False)} has the key attributes "pk" and "sk": {named}'


def test_a_partition_key_that_the_table_does_not_have_names_the_setting_that_is_wrong() -> None:
    value = record(Keys={"sk": {"S": "s"}, "pk": {"S": "p"}})
    assert reason_of(value, {"notes": TableSchema("tenant")}) == (
        'table "notes" has the key attributes "pk" and "sk": [tables.notes] partition_key is "tenant"'
    )


@pytest.mark.parametrize(("length", "fits"), [(0, False), (1, True), (2047, True), (2048, True), (2049, False)])
def test_a_partition_key_has_1_to_2048_bytes(length: int, fits: bool) -> None:
    outcome = parse(record(Keys={"id": {"S": "x" * length}}))
    assert isinstance(outcome, Change) is fits


# Malformed


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (outer(eventSource=5), "eventSource is not a string: 5"),
        (outer(tableName=...), "tableName is missing"),
        (outer(tableName=""), "tableName is not the name of a table: ''"),
        (outer(tableName=5), "tableName is not the name of a table: 5"),
        (outer(eventName=...), "eventName is missing"),
        (outer(eventName=5), "eventName is not a string: 5"),
        (outer(eventID=5), "eventID is not a string: 5"),
        (outer(userIdentity="me"), "userIdentity is not an object: 'me'"),
        (outer(dynamodb=...), "dynamodb is missing"),
        (outer(dynamodb=[]), "dynamodb is not an object: []"),
        (record(ApproximateCreationDateTime=...), "ApproximateCreationDateTime is missing"),
        (record(Keys=...), "Keys is missing"),
        (record(Keys=[]), "Keys is not an object: []"),
        (record(Keys={}), "Keys has 0 attributes, a primary key has 1 or 2"),
        (
            record(Keys={name: {"S": "x"} for name in "abc"}),
            "Keys has 3 attributes, a primary key has 1 or 2",
        ),
        (record(Keys={"id": "x"}), "Keys.id: not an attribute value of exactly one type: 'x'"),
        (record(Keys={"id": {"S": 5}}), "Keys.id: not a string: 5"),
        (record(Keys={"id": {"B": "aGVsbG8="}}), "Keys.id: not base64 of base64: b'hello'"),
        (
            record(Keys={"pk": {"S": "x"}, "sk": {"BOOL": True}}),
            "Keys.sk: not of a type that a key can have (S, N, B): {'BOOL': True}",
        ),
        (record(Keys={"id": {"S": ""}}), "Keys.id: a partition key of 0 bytes: DynamoDB allows 1 to 2,048"),
        (
            record(NewImage=...),
            "NewImage and OldImage are both missing: a write is weighed by its images",
        ),
        (
            record(NewImage=None, OldImage=None),
            "NewImage and OldImage are both missing: a write is weighed by its images",
        ),
        (record(NewImage=..., OldImage={}), "NewImage is missing from an INSERT"),
        ({**record(), "eventName": "REMOVE"}, "OldImage is missing from a REMOVE"),
        (record(NewImage=[]), "NewImage is not an object: []"),
        (record(OldImage="x"), "OldImage is not an object: 'x'"),
        (record(NewImage={"n": {"N": "many"}}), "NewImage.n: not a number: 'many'"),
        (
            record(NewImage={"meta": {"M": {"retries": {"N": "NaN"}}}}),
            "NewImage.meta.M.retries: not a number: 'NaN'",
        ),
        (record(OldImage={"parts": {"L": [{"X": 1}]}}), "OldImage.parts.L[0]: unknown attribute type 'X'"),
    ],
)
def test_a_broken_record_is_malformed_with_its_reason(value: Any, reason: str) -> None:
    assert reason_of(value) == reason


@pytest.mark.parametrize("value", [0, -1, True, 1_763_769_600_000.0, "1763769600000", []])
def test_a_time_that_is_no_positive_integer_is_malformed(value: Any) -> None:
    reason = reason_of(record(ApproximateCreationDateTime=value))
    assert reason == f"ApproximateCreationDateTime is not a positive integer: {value!r}"


@pytest.mark.parametrize("value", ["NANOSECOND", "microsecond", "", 5, []])
def test_an_unknown_precision_is_malformed(value: Any) -> None:
    reason = reason_of(record(ApproximateCreationDateTimePrecision=value))
    assert reason == f"ApproximateCreationDateTimePrecision is not one that is known: {value!r}"


@pytest.mark.parametrize("value", [-1, True, 11.0, "11", [], {}])
def test_a_size_that_is_none_is_malformed(value: Any) -> None:
    assert reason_of(record(SizeBytes=value)) == f"SizeBytes is not a size: {value!r}"


def test_a_malformed_record_shows_what_could_be_read() -> None:
    value = record(NewImage={"n": {"N": "many"}})
    assert parse(value) == Malformed(
        reason="NewImage.n: not a number: 'many'",
        table="notes",
        partition_key="a1",
        partition_key_type="S",
        at_ms=1_763_769_600_000,
        event_id="e-1",
        event_name="INSERT",
    )
    assert parse({"tableName": "notes", "eventName": 5, "eventID": []}) == Malformed(
        reason="eventName is not a string: 5", table="notes"
    )
    unknown_key = parse(record(Keys={"pk": {"S": "p"}, "sk": {"S": "s"}}))
    assert isinstance(unknown_key, Malformed)
    assert (unknown_key.table, unknown_key.partition_key, unknown_key.at_ms) == (
        "notes",
        None,
        1_763_769_600_000,
    )


@pytest.mark.parametrize(
    ("changed", "field", "expected"),
    [
        (record(SizeBytes=...), "size_bytes", None),
        (record(SizeBytes=...), "size_matches", None),
        (record(SizeBytes=12), "size_matches", False),
        (outer(eventID=...), "event_id", None),
        (outer(eventID=None), "event_id", None),
        (outer(eventSource=...), "table", "notes"),
        (outer(userIdentity=...), "wcu", 1),
        ({**record(), "eventName": "MODIFY"}, "old_bytes", None),
        (record(OldImage={"id": {"S": "a1"}}), "old_bytes", 4),
        (outer(**{"detail-type": "x", "source": "y"}), "table", "notes"),
        (outer(somethingNew={"deep": [1, 2.5, None]}), "table", "notes"),
    ],
)
def test_what_a_record_may_lack_or_add_does_not_break_it(changed: Any, field: str, expected: Any) -> None:
    assert getattr(change_of(changed), field) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not valid JSON"),
        (b"\n", "not valid JSON"),
        (b"not json", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b'{"SizeBytes": NaN}', "not valid JSON"),
        (b'{"SizeBytes": Infinity}', "not valid JSON"),
        (b'{"SizeBytes": -Infinity}', "not valid JSON"),
        (b'{"SizeBytes": 1e999}', "not valid JSON"),
        (b'{"SizeBytes": ' + b"9" * 100_000 + b"}", "not valid JSON"),
        (b'{"tableName": "\\ud83d"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"tableName": "n\xffotes"}', "not valid UTF-8 at byte 16"),
        (b'{"tableName": "\xed\xa0\xbd"}', "not valid UTF-8 at byte 15"),
        (b"\x1f\x8b\x08\x00", "not valid UTF-8 at byte 1"),
        (b"[]", "not a JSON object: []"),
        (b'"text"', "not a JSON object: 'text'"),
        (b"5", "not a JSON object: 5"),
        (b"null", "not a JSON object: None"),
    ],
)
def test_what_is_not_a_json_object_is_malformed(text: bytes, reason: str) -> None:
    outcome = parse_change(text, SCHEMAS)
    assert isinstance(outcome, Malformed)
    assert outcome.reason.startswith(reason)
    assert outcome == Malformed(outcome.reason)


def test_a_record_cut_short_anywhere_is_malformed() -> None:
    whole = json.dumps(json.loads(read("insert_all_types_microsecond")), ensure_ascii=False).encode()
    assert isinstance(parse_change(whole, SCHEMAS), Change)
    outcomes = {type(parse_change(whole[:end], SCHEMAS)) for end in range(len(whole))}
    assert outcomes == {Malformed}


def test_a_record_has_at_most_10_mib() -> None:
    text = json.dumps(record()).encode()
    assert isinstance(parse_change(text.ljust(MAX_RECORD_BYTES - 1), SCHEMAS), Change)
    assert isinstance(parse_change(text.ljust(MAX_RECORD_BYTES), SCHEMAS), Change)
    assert parse_change(text.ljust(MAX_RECORD_BYTES + 1), SCHEMAS) == Malformed(
        "a record of 10,485,761 bytes: Kinesis carries at most 10,485,760"
    )


# Nesting


def nested(levels: int, opening: bytes, closing: bytes, inner: bytes) -> bytes:
    head, tail = json.dumps(record(NewImage={"deep": "?"})).encode().split(b'"?"')
    return head + opening * levels + inner + closing * levels + tail


LIST = (b'{"L":[', b"]}", b'{"SS":["x"]}')
MAP = (b'{"M":{"a":', b"}}", b'{"SS":["x"]}')


@pytest.mark.parametrize("shape", [LIST, MAP])
def test_images_nest_at_most_32_levels(shape: tuple[bytes, bytes, bytes]) -> None:
    outcomes = {levels: parse_change(nested(levels, *shape), SCHEMAS) for levels in (31, 32, 33)}
    assert isinstance(outcomes[31], Change)
    assert isinstance(outcomes[32], Change)
    assert isinstance(outcomes[33], Malformed)
    assert "nested deeper than 32 levels" in outcomes[33].reason


@pytest.mark.parametrize("levels", [100, 399, 400, 401, 1_000, 5_000, 1_000_000])
@pytest.mark.parametrize(
    "shape",
    [LIST, MAP, (b"[", b"]", b""), (b'{"a":', b"}", b"1"), (b'[{},{"a":', b"}]", b"1"), (b"[", b"", b"")],
)
def test_no_nesting_is_too_deep_for_the_reader(levels: int, shape: tuple[bytes, bytes, bytes]) -> None:
    levels = min(levels, MAX_RECORD_BYTES // (len(shape[0]) + len(shape[1])) - 100)
    text = nested(levels, *shape)
    started = time.process_time()
    outcome = parse_change(text, SCHEMAS)
    assert time.process_time() - started < 5
    assert isinstance(outcome, Malformed)
    assert len(outcome.reason) < 3_000
    if levels >= 1_000:
        assert outcome.reason == "nested deeper than the 32 levels of an item"


@pytest.mark.parametrize("shape", [LIST, MAP])
def test_a_large_item_may_nest_32_levels_too(shape: tuple[bytes, bytes, bytes]) -> None:
    wide = b'"wide":{"L":[' + b",".join([b'{"M":{}}'] * 1_000) + b"]},"
    text = nested(32, *shape).replace(b'"deep"', wide + b'"deep"')
    assert isinstance(parse_change(text, SCHEMAS), Change)


def test_many_brackets_are_not_deep() -> None:
    wide: dict[str, Any] = {"L": [{"M": {"a": {"L": []}}}] * 1_000}
    brackets = {"S": '[{"\\' * 1_000}
    change = change_of(record(NewImage={"wide": wide, "{[": brackets}))
    assert change.new_bytes == (4 + 3 + 1_000 * (3 + (1 + 3 + 1) + 1)) + (2 + 4_000)


# Ignored


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (outer(eventSource="aws:kinesis"), "not from DynamoDB: eventSource is 'aws:kinesis'"),
        ({"eventSource": "aws:s3"}, "not from DynamoDB: eventSource is 'aws:s3'"),
        (
            {"detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "detail": {}},
            "not from DynamoDB: an EventBridge event of source 'aws.ec2'",
        ),
        (outer(eventName="ARCHIVE"), "not a known kind of change: eventName is 'ARCHIVE'"),
        (outer(eventName="insert"), "not a known kind of change: eventName is 'insert'"),
    ],
)
def test_only_what_says_plainly_that_it_is_something_else_is_ignored(value: Any, reason: str) -> None:
    outcome = parse(value)
    assert isinstance(outcome, Ignored)
    assert outcome.reason == reason


def test_an_ignored_record_shows_what_could_be_read() -> None:
    assert parse(outer(eventName="ARCHIVE")) == Ignored(
        reason="not a known kind of change: eventName is 'ARCHIVE'",
        table="notes",
        partition_key="a1",
        partition_key_type="S",
        at_ms=1_763_769_600_000,
        event_id="e-1",
        event_name="ARCHIVE",
    )


# Anything


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["INSERT", "REMOVE", "aws:dynamodb", "MICROSECOND", "S", "N", "B", "M", "1e5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
SOUND = [json.loads(path.read_bytes()) for path in sorted(EVENTS.glob("*.json")) if "envelope" not in path.name]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a JSON value: what holds it, and its name or index there."""
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return []
    return [place for name, child in inner for place in [(value, name), *_places(child)]]


@st.composite
def broken_records(draw: st.DrawFn) -> dict[str, Any]:
    """A sound record with any one value in it replaced by any JSON, or removed."""
    value: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(SOUND)))
    holder, place = draw(st.sampled_from(_places(value)))
    if draw(st.booleans()):
        holder[place] = draw(JSON)
    else:
        del holder[place]
    return value


def _holds_its_promises(text: bytes) -> None:
    outcome = parse_change(text, SCHEMAS)
    if isinstance(outcome, Change):
        assert outcome.wcu >= 0
        assert outcome.partition_key
        assert 0 <= outcome.at_ms <= 253_402_300_799_999
        outcome.partition_key.encode()
    else:
        assert outcome.reason


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"\xff")
def test_any_bytes_have_an_outcome(text: bytes) -> None:
    _holds_its_promises(text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON)
def test_any_json_has_an_outcome(value: Any) -> None:
    _holds_its_promises(json.dumps(value).encode())


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(broken_records())
def test_any_record_with_a_broken_part_has_an_outcome(value: dict[str, Any]) -> None:
    _holds_its_promises(json.dumps(value).encode())


@settings(deadline=None)
@given(st.sampled_from(SOUND), st.data())
def test_any_record_with_a_broken_byte_has_an_outcome(value: dict[str, Any], data: st.DataObject) -> None:
    text = bytearray(json.dumps(value, ensure_ascii=False).encode())
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    _holds_its_promises(bytes(text))


@settings(deadline=None)
@given(JSON)
@pytest.mark.parametrize("place", ["record", "dynamodb", "Keys", "NewImage"])
def test_any_json_in_a_place_of_its_own_has_an_outcome(place: str, value: Any) -> None:
    wrap: dict[str, Callable[[Any], Any]] = {
        "record": lambda any_json: {**record(), "extra": any_json},
        "dynamodb": lambda any_json: outer(dynamodb=any_json),
        "Keys": lambda any_json: record(Keys=any_json),
        "NewImage": lambda any_json: record(NewImage={"a": any_json}),
    }
    _holds_its_promises(json.dumps(wrap[place](value)).encode())
