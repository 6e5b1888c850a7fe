"""The quick ways to a change's cost: that they say what the strict reader says, and when they need not ask it."""

import copy
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from connectors.dynamodb import fast_path
from connectors.dynamodb.change import Change, Ignored, Malformed, TableSchema
from connectors.dynamodb.fast_path import FastPath, WriteCost, peek_time_ms
from connectors.dynamodb.item_size import item_bytes
from connectors.dynamodb.parse import parse_change
from connectors.dynamodb.record_json import MAX_RECORD_BYTES
from tests.connectors.dynamodb_items import Weighed, items, keys
from tests.connectors.test_parse import JSON, SOUND

SCHEMAS = {
    "billing-documents": TableSchema("kind"),
    "sensor-readings": TableSchema("device"),
    "conversations": TableSchema("pk"),
    "ledger": TableSchema("pk", transactional=True),
}
AT_MS = 1_763_769_600_000
EXPIRY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}

Outcome = WriteCost | Malformed | Ignored


def strict(text: bytes, schemas: Mapping[str, TableSchema] = SCHEMAS) -> Outcome:
    """What the strict reader says, as a cost."""
    change = parse_change(text, schemas)
    if not isinstance(change, Change):
        return change
    return WriteCost(
        change.table,
        change.partition_key,
        change.partition_key_type,
        change.at_ms,
        change.wcu,
        change.size_matches is False,
        0,
    )


def weighed(text: bytes, schemas: Mapping[str, TableSchema] = SCHEMAS) -> Outcome:
    return FastPath(schemas, weigh_always=True).decode(text)


def by_sum(text: bytes, schemas: Mapping[str, TableSchema] = SCHEMAS) -> Outcome:
    return FastPath(schemas).decode(text)


def image(size: int, **attributes: Any) -> dict[str, Any]:
    """An item of this many bytes, of nothing but short attributes and one long text."""
    item = {"pk": {"S": "tenant-7"}, **attributes}
    return {**item, "text": {"S": "x" * (size - item_bytes(item) - 4)}}


def record(event_name: str = "MODIFY", /, outer: Any = None, **changes: Any) -> dict[str, Any]:
    """A record of a change whose sizes add up; fields replaced, or removed by ``...``."""
    body: dict[str, Any] = {
        "ApproximateCreationDateTime": AT_MS,
        "Keys": {"pk": {"S": "tenant-7"}},
        "NewImage": image(200),
        "OldImage": image(100),
        **changes,
    }
    images = [body[name] for name in ("NewImage", "OldImage") if isinstance(body[name], dict)]
    if isinstance(body["Keys"], dict):
        body.setdefault("SizeBytes", sum(map(sound_bytes, [body["Keys"], *images])))
    whole = {
        "awsRegion": "eu-central-1",
        "eventID": "e-1",
        "eventName": event_name,
        "userIdentity": None,
        "recordFormat": "application/json",
        "tableName": "conversations",
        "dynamodb": {name: value for name, value in body.items() if value is not ...},
        "eventSource": "aws:dynamodb",
        **(outer or {}),
    }
    return {name: value for name, value in whole.items() if value is not ...}


def sound_bytes(attributes: dict[str, Any]) -> int:
    try:
        return item_bytes(attributes)
    except ValueError:
        return 100


def text_of(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.fixture
def no_strict_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(record: bytes, *_arguments: Any) -> Change:
        pytest.fail(f"the strict reader was asked about {record!r}")

    monkeypatch.setattr(fast_path, "parse_change", refuse)


# The same as the strict reader


@st.composite
def grown(draw: st.DrawFn) -> Weighed:
    """An item of up to some KiB, and its size."""
    attributes, size = draw(items())
    length = draw(st.integers(0, 40) | st.integers(900, 1_100) | st.integers(0, 3_000))
    letter = draw(st.sampled_from(["x", "{", '"', "\\", "\n", "ü", "🙂"]))
    replaced = attributes.pop("text", None)
    body = letter * (length // len(letter.encode()))
    size -= 0 if replaced is None else item_bytes({"text": replaced})
    return {**attributes, "text": {"S": body}}, size + len("text") + len(body.encode())


@st.composite
def sound_records(draw: st.DrawFn, size_errors: st.SearchStrategy[int]) -> tuple[bytes, dict[str, TableSchema], int]:
    """A record that DynamoDB could have written, what settings say of its table, and the size of its larger image."""
    key, key_bytes = draw(keys())
    new, old = draw(st.none() | grown()), draw(st.none() | grown())
    event_names = [
        name for name, image in (("INSERT", new), ("REMOVE", old), ("MODIFY", new or old)) if image is not None
    ]
    assume(event_names)
    microseconds = draw(st.booleans())
    size_bytes = key_bytes + sum(size for _, size in filter(None, (new, old))) + draw(size_errors)
    value = record(
        draw(st.sampled_from(event_names)),
        {
            "userIdentity": draw(st.sampled_from([None, EXPIRY, {}, {"type": "User"}])),
            "tableName": draw(st.text(min_size=1, max_size=12) | st.just("größe")),
        },
        Keys=key,
        NewImage=new[0] if new else draw(st.sampled_from([None, ...])),
        OldImage=old[0] if old else draw(st.sampled_from([None, ...])),
        ApproximateCreationDateTime=AT_MS * 1_000 + 999 if microseconds else AT_MS,
        ApproximateCreationDateTimePrecision=draw(
            st.sampled_from([..., "MICROSECOND" if microseconds else "MILLISECOND"])
        ),
        SizeBytes=draw(st.sampled_from([size_bytes, size_bytes, size_bytes, None, ...])),
    )
    text = json.dumps(
        value,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, None, 1])),
        separators=draw(st.sampled_from([(",", ":"), None])),
    )
    partition_key = draw(st.sampled_from([*key, *key, None]))
    schema = TableSchema(partition_key, transactional=draw(st.booleans()))
    largest = max(size for _, size in filter(None, (new, old)))
    return text.encode(), {value["tableName"]: schema}, largest


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sound_records(st.sampled_from([0, 0, 1, -1, 1_024])))
def test_weighing_always_gives_what_the_strict_reader_gives(
    case: tuple[bytes, dict[str, TableSchema], int],
) -> None:
    text, schemas, _ = case
    assert weighed(text, schemas) == strict(text, schemas)
    assert FastPath({}, next(iter(schemas.values())), weigh_always=True).decode(text) == weighed(text, schemas)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sound_records(st.just(0)))
def test_the_sum_gives_what_the_strict_reader_gives_where_images_are_sound(
    case: tuple[bytes, dict[str, TableSchema], int],
) -> None:
    text, schemas, largest = case
    outcome = by_sum(text, schemas)
    assert outcome == strict(text, schemas)
    if isinstance(outcome, WriteCost) and outcome.wcu:
        factor = 2 if schemas[outcome.table].transactional else 1
        assert outcome.wcu == max(1, -(-largest // 1024)) * factor


def _places(value: Any, *, images: bool) -> list[tuple[Any, Any]]:
    """Every place in a JSON value, with or without those inside of images: what holds it, and its name or index."""
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return []
    return [
        place
        for name, child in inner
        for place in [
            (value, name),
            *([] if not images and name in ("NewImage", "OldImage") else _places(child, images=images)),
        ]
    ]


@st.composite
def broken_records(draw: st.DrawFn, *, images: bool) -> bytes:
    """A sound record with one value replaced by any JSON, or removed, or one field added."""
    value: dict[str, Any] = copy.deepcopy(draw(st.sampled_from([*SOUND, record(), record("INSERT")])))
    holder, place = draw(st.sampled_from(_places(value, images=images)))
    whole_image = place in ("NewImage", "OldImage")
    action = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if action == "remove":
        del holder[place]
    elif action == "add" and isinstance(holder, dict):
        holder[draw(st.text(max_size=4))] = draw(JSON)
    else:
        holder[place] = draw(st.none() | items().map(lambda item: item[0]) if whole_image and not images else JSON)
    return json.dumps(value, ensure_ascii=draw(st.booleans())).encode()


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(broken_records(images=True))
def test_weighing_always_gives_what_the_strict_reader_gives_of_a_record_with_a_broken_part(text: bytes) -> None:
    assert weighed(text) == strict(text)


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(broken_records(images=False))
def test_the_sum_gives_what_the_strict_reader_gives_of_a_record_broken_outside_its_images(text: bytes) -> None:
    _agree_but_for_a_wrong_sum(text)


def _agree_but_for_a_wrong_sum(text: bytes) -> None:
    expected, outcome = strict(text), by_sum(text)
    if isinstance(expected, WriteCost) and expected.size_mismatch:
        assert isinstance(outcome, WriteCost)
        expected = expected._replace(wcu=outcome.wcu, size_mismatch=outcome.size_mismatch)
    assert outcome == expected


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SOUND), st.data())
def test_weighing_always_gives_what_the_strict_reader_gives_of_a_record_with_a_broken_byte(
    value: dict[str, Any], data: st.DataObject
) -> None:
    text = bytearray(text_of(value))
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    assert weighed(bytes(text)) == strict(bytes(text))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(SOUND), st.data())
def test_the_sum_gives_what_the_strict_reader_gives_of_a_record_with_a_broken_byte_outside_its_images(
    value: dict[str, Any], data: st.DataObject
) -> None:
    text = bytearray(text_of(value))
    at = data.draw(st.integers(0, len(text) - 1))
    spans = [
        (start, start + len(inside))
        for name in ("NewImage", "OldImage")
        if name in value["dynamodb"]
        for inside in [text_of(value["dynamodb"][name])]
        for start in [text.index(text_of(name) + b":") + len(name) + 3]
    ]
    assume(not any(start <= at < end for start, end in spans))
    text[at] = data.draw(st.integers(0, 255))
    _agree_but_for_a_wrong_sum(bytes(text))


@settings(deadline=None)
@given(st.binary(max_size=200) | JSON.map(text_of))
@example(b"")
@example(b"\xff")
@example(b"null")
def test_what_is_no_record_has_the_strict_reader_s_outcome(text: bytes) -> None:
    assert weighed(text) == strict(text)
    assert by_sum(text) == strict(text)


@settings(deadline=None)
@given(JSON)
def test_any_json_in_an_image_has_the_strict_reader_s_outcome_when_weighed(value: Any) -> None:
    text = text_of(record(NewImage={"a": value}, SizeBytes=2_000))
    assert weighed(text) == strict(text)


KEY_VALUES = [
    {"S": "a"},
    {"S": ""},
    {"S": "ü" * 512},
    {"S": "x" * 512},
    {"S": "x" * 513},
    {"S": "x" * 2_048},
    {"S": "x" * 2_049},
    {"S": "ü" * 1_025},
    {"N": "7"},
    {"N": "-7.50"},
    {"N": "0"},
    {"N": ""},
    {"N": "seven"},
    {"B": "YUdWaFpBPT0="},
    {"B": ""},
    {"B": "aGVsbG8="},
    {"S": "a", "N": "7"},
    {"S": "a", "N": None},
    {"S": None},
    {"N": "5", "B": "5"},
    {"S": "5", "N": "5", "B": "5"},
    {"BOOL": True},
    {},
]


@pytest.mark.parametrize("outcome_of", [weighed, by_sum])
@pytest.mark.parametrize("value", KEY_VALUES)
def test_keys_are_read_as_the_strict_reader_reads_them(outcome_of: Callable[[bytes], Outcome], value: Any) -> None:
    for size in (100, 1_500):
        changes = {"NewImage": image(size), "OldImage": image(size)}
        for table_keys in ({"pk": value}, {"pk": value, "sk": {"N": "7"}}, {"pk": {"S": "a"}, "sk": value}):
            text = text_of(record(Keys=table_keys, **changes))
            assert outcome_of(text) == strict(text)


@pytest.mark.parametrize("outcome_of", [weighed, by_sum])
@pytest.mark.parametrize(
    "value",
    [
        record(outer={"eventID": 5}),
        record(outer={"eventID": ...}),
        record(outer={"awsRegion": 5}),
        record(outer={"awsRegion": ...}),
        record(outer={"recordFormat": "text"}),
        record(outer={"eventSource": ...}),
        record(outer={"eventSource": None}),
        record(outer={"eventSource": "aws:kinesis"}),
        record(outer={"eventName": "ARCHIVE"}),
        record(outer={"somethingNew": {"deep": [1, 2.5, None]}}),
        record(outer={"userIdentity": {"type": None}}),
        record(outer={"userIdentity": "me"}),
        record(outer={"tableName": "x" * 255}),
        record(outer={"tableName": "x" * 256}),
        record(outer={"tableName": ""}),
        record(Keys={"a": {"S": "x"}, "b": {"S": "x"}}),
        record(Keys={name: {"S": "x"} for name in ("pk", "b", "c")}),
        record(Keys={}),
        record(SizeBytes=-1),
        record(SizeBytes=0),
        record(SizeBytes=300.0),
        record(SizeBytes=10**30),
        record(SizeBytes=None),
        record(SizeBytes=...),
        record("INSERT"),
        record("INSERT", OldImage=...),
        record("INSERT", OldImage=None),
        record("INSERT", NewImage=...),
        record("INSERT", NewImage=None),
        record("INSERT", NewImage={}, OldImage=...),
        record("REMOVE"),
        record("REMOVE", NewImage=...),
        record("REMOVE", NewImage=None),
        record("REMOVE", OldImage=...),
        record("REMOVE", OldImage=None),
        record(NewImage=...),
        record(OldImage=...),
        record(NewImage=..., OldImage=...),
        record(NewImage=None, OldImage=None),
        record(NewImage={}, OldImage={}),
        record(NewImage=[], OldImage=...),
        record(NewImage="x", OldImage=...),
    ],
)
def test_the_unusual_is_read_as_the_strict_reader_reads_it(outcome_of: Callable[[bytes], Outcome], value: Any) -> None:
    text = text_of(value)
    assert outcome_of(text) == strict(text)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        "open",
        [],
        {},
        {"S": "a", "N": "1"},
        {"S": "a", "S2": "b"},
        {"s": "a"},
        {"X": ["a"]},
        {"X": True},
        {"S": 5},
        {"S": True},
        {"S": None},
        {"S": ["a"]},
        {"S": {"S": "a"}},
        {"N": 5},
        {"N": ""},
        {"N": True},
        {"N": ["5"]},
        {"N": "five"},
        {"N": "\u0661"},
        {"B": "aGVsbG8="},
        {"B": ["YUdWaFpBPT0="]},
        {"BOOL": 1},
        {"BOOL": "true"},
        {"BOOL": ["true"]},
        {"NULL": None},
        {"NULL": False},
        {"NULL": "x"},
        {"M": "x"},
        {"M": True},
        {"M": ["a"]},
        {"M": {"a": "x"}},
        {"M": {"a": {}}},
        {"L": "x"},
        {"L": ""},
        {"L": {}},
        {"L": ["x"]},
        {"L": [5]},
        {"L": [{}]},
        {"SS": []},
        {"SS": "red"},
        {"SS": ["red", 5]},
        {"SS": ["red", {"S": "x"}]},
        {"SS": {"red": {"S": "x"}}},
        {"NS": []},
        {"NS": ["7", "x"]},
        {"NS": [{"N": "7"}]},
        {"BS": []},
        {"BS": ["YUdWaFpBPT0=", "head"]},
        {"BS": [{"B": "YUdWaFpBPT0="}]},
    ],
)
def test_broken_values_are_weighed_as_the_strict_reader_weighs_them(value: Any) -> None:
    for holder in (value, {"M": {"in": value}}, {"L": [value]}):
        text = text_of(record(NewImage={"a": holder}, SizeBytes=2_000))
        assert weighed(text) == strict(text)


@pytest.mark.parametrize("outcome_of", [weighed, by_sum])
@pytest.mark.parametrize("precision", [..., None, "MILLISECOND", "MICROSECOND", "NANOSECOND", "", 5])
@pytest.mark.parametrize(
    "value",
    [
        -1_500,
        -1,
        0,
        1,
        999,
        1_000,
        AT_MS,
        10**14 - 1,
        10**14,
        10**14 + 1,
        AT_MS * 1_000 + 999,
        253_402_300_799_999,
        253_402_300_799_999_999,
        253_402_300_800_000_000,
        10**30,
        1.5,
        True,
        "1",
        None,
    ],
)
def test_times_are_read_as_the_strict_reader_reads_them(
    outcome_of: Callable[[bytes], Outcome], value: Any, precision: Any
) -> None:
    text = text_of(record(ApproximateCreationDateTime=value, ApproximateCreationDateTimePrecision=precision))
    assert outcome_of(text) == strict(text)
    expected = strict(text)
    assert peek_time_ms(text) == (None if isinstance(expected, Ignored) else expected.at_ms)


@pytest.mark.parametrize("outcome_of", [weighed, by_sum])
@pytest.mark.parametrize(
    ("sound", "broken"),
    [
        (b'"eu-central-1"', b"1e999"),
        (b'"eu-central-1"', b'"\\ud83d"'),
        (b'"eu-central-1"', b'"\xff"'),
        (b'"awsRegion":"eu-central-1"', b'"somethingNew":1e999'),
        (b'"awsRegion":"eu-central-1"', b'"\xed\xa0\xbd":1'),
        (b'"e-1"', b'"\xff"'),
        (b'"tenant-7"}}', b'"tenant-\xff"}}'),
        (b'{"awsRegion"', b'[{"awsRegion"'),
        (b'"Keys":', b'"Keys":5,"Keys":'),
        (b'"eventName":', b'"eventName":"REMOVE","eventName":'),
        (b'"userIdentity":null', b'"userIdentity":{"type":"\\ud83d"}'),
    ],
)
def test_broken_json_outside_the_images_is_seen(
    outcome_of: Callable[[bytes], Outcome], sound: bytes, broken: bytes
) -> None:
    text = text_of(record())
    assert sound in text
    assert outcome_of(text.replace(sound, broken, 1)) == strict(text.replace(sound, broken, 1))


@pytest.mark.parametrize("outcome_of", [weighed, by_sum])
def test_a_record_has_at_most_10_mib(outcome_of: Callable[[bytes], Outcome]) -> None:
    text = text_of(record())
    outcomes = [outcome_of(text.ljust(MAX_RECORD_BYTES + more)) for more in (-1, 0, 1)]
    assert [type(outcome) for outcome in outcomes] == [WriteCost, WriteCost, Malformed]


# The sum, and when it decides


@pytest.mark.parametrize(
    ("new", "old", "wcu"),
    [
        (1023, 1024, 1),
        (1024, 1024, 1),
        (1025, 1024, 2),
        (1024, 1025, 2),
        (2048, 2048, 2),
        (2049, 2048, 3),
        (100, 2048, 2),
        (100, 2049, 3),
        (400 * 1024, 400 * 1024, 400),
    ],
)
@pytest.mark.parametrize("outcome_of", [weighed, by_sum])
@pytest.mark.usefixtures("no_strict_reader")
def test_the_larger_of_two_images_decides_to_the_byte(
    outcome_of: Callable[[bytes], Outcome], new: int, old: int, wcu: int
) -> None:
    outcome = outcome_of(text_of(record(NewImage=image(new), OldImage=image(old))))
    assert outcome == WriteCost("conversations", "tenant-7", "S", AT_MS, wcu, False, 0)


@pytest.mark.parametrize(("size", "wcu"), [(1023, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3)])
@pytest.mark.parametrize(
    ("event_name", "present", "missing"),
    [("INSERT", "NewImage", "OldImage"), ("REMOVE", "OldImage", "NewImage"), ("MODIFY", "NewImage", "OldImage")],
)
@pytest.mark.usefixtures("no_strict_reader")
def test_one_image_alone_is_what_the_keys_leave_of_the_sum(
    event_name: str, present: str, missing: str, size: int, wcu: int
) -> None:
    value = record(event_name, **{present: image(size), missing: ...})
    broken = {**value["dynamodb"], present: {"a": {"N": "many"}, "b": {"S": "x" * size}}}
    outcomes = [by_sum(text_of(value)), by_sum(text_of({**value, "dynamodb": broken})), weighed(text_of(value))]
    assert outcomes == [WriteCost("conversations", "tenant-7", "S", AT_MS, wcu, False, 0)] * 3


@pytest.mark.parametrize(("size", "wcu"), [(1023, 1), (1024, 1), (1025, 2)])
@pytest.mark.usefixtures("no_strict_reader")
def test_short_keys_are_taken_off_the_sum_to_the_byte(size: int, wcu: int) -> None:
    outcome = by_sum(text_of(record("INSERT", Keys={"": {"S": "a"}}, NewImage=image(size), OldImage=...)))
    assert outcome == WriteCost("conversations", "a", "S", AT_MS, wcu, False, 0)


@pytest.mark.parametrize("total", [1_022, 1_023, 1_024])
@pytest.mark.usefixtures("no_strict_reader")
def test_a_sum_of_up_to_a_unit_is_one_unit_whatever_the_images_hold(total: int) -> None:
    value = record(NewImage={"a": {"N": "many"}}, OldImage={"b": 5}, SizeBytes=total)
    outcome = by_sum(text_of(value))
    assert outcome == WriteCost("conversations", "tenant-7", "S", AT_MS, 1, False, 0)


def test_what_needs_no_weighing_is_weighed_when_it_always_is() -> None:
    text = text_of(record(NewImage={"a": {"N": "many"}}))
    assert isinstance(by_sum(text), WriteCost)
    outcome = weighed(text)
    assert isinstance(outcome, Malformed)
    assert outcome.reason == "NewImage.a: not a number: 'many'"


@pytest.mark.parametrize(("error", "mismatch"), [(-1, True), (0, False), (1, True)])
def test_a_wrong_sum_is_told_when_images_are_weighed(error: int, mismatch: bool) -> None:
    value = record(NewImage=image(1025), OldImage=image(1025))
    value["dynamodb"]["SizeBytes"] += error
    outcome = weighed(text_of(value))
    assert outcome == WriteCost("conversations", "tenant-7", "S", AT_MS, 2, mismatch, 0)


@pytest.mark.parametrize("size_bytes", [100_000, 10**30])
@pytest.mark.parametrize("event_name", ["INSERT", "MODIFY"])
def test_a_sum_that_the_images_cannot_weigh_is_not_believed(event_name: str, size_bytes: int) -> None:
    text = text_of(record(event_name, SizeBytes=size_bytes, OldImage=... if event_name == "INSERT" else image(100)))
    assert by_sum(text) == WriteCost("conversations", "tenant-7", "S", AT_MS, 1, True, 0)


@pytest.mark.parametrize(("more", "believed"), [(-1, True), (0, True), (1, False)])
def test_an_image_is_believed_to_weigh_as_much_as_its_json_has_bytes(more: int, believed: bool) -> None:
    new = image(1_010)
    total = len(text_of(new)) + len("pktenant-7") + more
    outcome = by_sum(text_of(record("INSERT", NewImage=new, OldImage=..., SizeBytes=total)))
    assert outcome == WriteCost("conversations", "tenant-7", "S", AT_MS, 2 if believed else 1, not believed, 0)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(grown(), items(), items(), st.integers(-4, 4))
def test_what_differs_between_the_images_gives_what_the_strict_reader_gives(
    kept: Weighed, added: Weighed, dropped: Weighed, near: int
) -> None:
    """Images that share attributes, of which the larger is near a step of 1,024 bytes."""
    shared = {f"kept {name}": value for name, value in kept[0].items()}
    new = {**shared, **added[0], "both": {"S": "new"}}
    old = {**shared, **dropped[0], "both": {"S": "o"}}
    short = -max(item_bytes(new), item_bytes(old)) - len("fill") + near
    fill = {"fill": {"S": "x" * (short % 1_024)}}
    text = text_of(record(NewImage=new | fill, OldImage=old | fill))
    assert by_sum(text) == weighed(text) == strict(text)


@pytest.mark.parametrize(("size", "wcu"), [(1_023, 1), (1_024, 1), (1_025, 2)])
@pytest.mark.parametrize("grows", [True, False])
def test_of_images_alike_only_what_differs_is_looked_into(
    size: int, wcu: int, grows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_path, "image_bytes", lambda image: pytest.fail("an image was weighed"))
    monkeypatch.setattr(fast_path, "parse_change", lambda *_: pytest.fail("the strict reader was asked"))
    larger, smaller = (image(size, version={"N": number}) for number in ("101", "7"))
    smaller["text"] = {"S": larger["text"]["S"][:700]}
    images = {"NewImage": larger, "OldImage": smaller} if grows else {"NewImage": smaller, "OldImage": larger}
    outcome = by_sum(text_of(record(**images)))
    assert outcome == WriteCost("conversations", "tenant-7", "S", AT_MS, wcu, False, 0)


def test_a_sum_and_a_difference_that_disagree_have_the_images_weighed() -> None:
    value = record(NewImage=image(1_025), OldImage=image(1_001))
    value["dynamodb"]["SizeBytes"] += 1
    assert by_sum(text_of(value)) == WriteCost("conversations", "tenant-7", "S", AT_MS, 2, True, 0)


def test_a_sum_that_keys_alone_outweigh_is_not_believed() -> None:
    table_keys = {"pk": {"S": "a"}, "sk": {"S": "x" * 1_022}}
    for total in (1_026, 1_027, 1_028):  # keys weigh 1,027
        outcome = by_sum(text_of(record(Keys=table_keys, SizeBytes=total)))
        assert isinstance(outcome, WriteCost)
        assert outcome.size_mismatch is (total < 1_028)


def test_bytes_that_are_not_utf_8_are_seen_in_images_too() -> None:
    text = text_of(record()).replace(b"xxx", b"x\xffx", 1)
    assert by_sum(text) == weighed(text) == strict(text)
    assert isinstance(by_sum(text), Malformed)


@settings(deadline=None)
@given(grown(), st.booleans(), st.sampled_from([None, (",", ":")]))
@example(({"": {"NS": ["7"]}}, 2), False, (",", ":"))
@example(({"": {"L": [{"N": "7"}, {"NS": ["-7", "7"]}]}}, 3 + 2 + 5 + 2), False, (",", ":"))
@example(({"": {"M": {"": {"M": {"": {"N": "-7"}}}}}}, 3 + 1 + 3 + 1 + 3), False, (",", ":"))
def test_no_image_weighs_more_than_its_json_without_quotes(
    weighed_item: Weighed, ensure_ascii: bool, separators: tuple[str, str] | None
) -> None:
    item, size = weighed_item
    text = json.dumps(item, ensure_ascii=ensure_ascii, separators=separators).encode()
    assert size == item_bytes(item)
    assert size < len(text) - text.count(b'"')


# What is usual, and so quick


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (record(Keys={"pk": {"N": "-7.50"}}), WriteCost("conversations", "-7.50", "N", AT_MS, 1, False, 0)),
        (record(Keys={"pk": {"B": "YUdWaFpBPT0="}}), WriteCost("conversations", "aGVhZA==", "B", AT_MS, 1, False, 0)),
        (
            record(Keys={"sk": {"N": "12.5"}, "pk": {"S": "a"}}),
            WriteCost("conversations", "a", "S", AT_MS, 1, False, 0),
        ),
        (
            record(Keys={"sk": {"S": "b"}, "pk": {"N": "7"}}),
            WriteCost("conversations", "7", "N", AT_MS, 1, False, 0),
        ),
        (
            record("REMOVE", {"userIdentity": EXPIRY}, OldImage=image(3_000), NewImage=...),
            WriteCost("conversations", "tenant-7", "S", AT_MS, 0, False, 0),
        ),
        (
            record(outer={"tableName": "ledger"}, NewImage=image(3_000)),
            WriteCost("ledger", "tenant-7", "S", AT_MS, 6, False, 0),
        ),
        (
            record(ApproximateCreationDateTime=7_000_999, ApproximateCreationDateTimePrecision="MICROSECOND"),
            WriteCost("conversations", "tenant-7", "S", 7_000, 1, False, 0),
        ),
        (
            record(ApproximateCreationDateTime=AT_MS * 1_000 + 999),
            WriteCost("conversations", "tenant-7", "S", AT_MS, 1, False, 0),
        ),
        (
            record(NewImage=image(2_048, größe={"S": "Zürich"}), OldImage=...),
            WriteCost("conversations", "tenant-7", "S", AT_MS, 2, False, 0),
        ),
        (
            record(
                NewImage=image(
                    1_025,
                    amount={"N": "-12.50"},
                    data={"B": "YUdWaFpBPT0="},
                    done={"BOOL": False},
                    gone={"NULL": True},
                    tags={"SS": ["red", "größer"]},
                    scores={"NS": ["0", "42", "-1"]},
                    parts={"BS": ["YUdWaFpBPT0="]},
                    deep={"L": [{"M": {"a": {"L": [{"S": "x"}, {"M": {}}]}}}, {"N": "7"}]},
                ),
                OldImage=image(1_024),
            ),
            WriteCost("conversations", "tenant-7", "S", AT_MS, 2, False, 0),
        ),
        (
            record(NewImage={"deep": {"L": [{"L": [{"L": [{"M": {"a": {"L": []}}}]}]}]}}),
            WriteCost("conversations", "tenant-7", "S", AT_MS, 1, False, 0),
        ),
    ],
)
@pytest.mark.parametrize("outcome_of", [weighed, by_sum])
@pytest.mark.usefixtures("no_strict_reader")
def test_the_usual_does_not_need_the_strict_reader(
    outcome_of: Callable[[bytes], Outcome], value: Any, expected: WriteCost
) -> None:
    assert outcome_of(text_of(value)) == expected


@pytest.mark.usefixtures("no_strict_reader")
def test_the_partition_key_of_the_default_needs_no_strict_reader() -> None:
    text = text_of(record(Keys={"sk": {"S": "b"}, "pk": {"S": "a"}}))
    expected = WriteCost("conversations", "a", "S", AT_MS, 1, False, 0)
    for schemas in ({}, {"conversations": TableSchema(None)}):
        assert FastPath(schemas, TableSchema("pk")).decode(text) == expected


# Nesting


def nested(levels: int, opening: bytes, closing: bytes, inner: bytes = b'{"S":"x"}') -> bytes:
    head, tail = text_of(record(NewImage={"deep": "?"}, SizeBytes=3_000)).split(b'"?"')
    return head + opening * levels + inner + closing * levels + tail


SHAPES = [(b'{"L":[', b"]}"), (b'{"M":{"a":', b"}}"), (b'{"M":{"a":{"L":[', b"]}}}")]


@pytest.mark.parametrize("levels", [1, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 400])
@pytest.mark.parametrize("shape", SHAPES)
def test_deep_images_are_read_as_the_strict_reader_reads_them(levels: int, shape: tuple[bytes, bytes]) -> None:
    text = nested(levels, *shape)
    assert weighed(text) == strict(text)


@pytest.mark.parametrize("levels", [300, 990, 100_000])
@pytest.mark.parametrize("shape", [*SHAPES, (b"[", b"]"), (b'{"a":', b"}")])
def test_no_nesting_is_too_deep_for_a_small_stack(levels: int, shape: tuple[bytes, bytes]) -> None:
    text = nested(levels, *shape)
    outcomes: list[Outcome] = []
    usual_bytes = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: outcomes.extend([weighed(text), by_sum(text)]))
        thread.start()
    finally:
        threading.stack_size(usual_bytes)
    thread.join()
    assert len(outcomes) == 2
    assert isinstance(outcomes[0], Malformed)


# Many records


def test_costs_and_other_outcomes_keep_their_places() -> None:
    texts = [text_of(record()), b"no record", text_of(record("INSERT")), text_of({"eventSource": "aws:s3"})]
    for path in (FastPath(SCHEMAS), FastPath(SCHEMAS, weigh_always=True)):
        costs, others = path.decode_all(texts)
        assert costs == [path.weigh(texts[0], 0), path.weigh(texts[2], 2)]
        assert others == [(1, parse_change(texts[1], SCHEMAS)), (3, parse_change(texts[3], SCHEMAS))]
        assert [type(outcome) for _, outcome in others] == [Malformed, Ignored]
        assert all(type(cost) is WriteCost for cost in costs)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        (text_of(record()), AT_MS),
        (text_of(record(outer={"somethingNew": 1})), AT_MS),
        (text_of(record(Keys={"a": {"S": "x"}, "b": {"S": "y"}})), AT_MS),
        (text_of(record(outer={"eventName": "ARCHIVE"})), None),
        (text_of(record()) * 2, None),
        (text_of({"Records": [record()]}), None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_a_time_can_be_told_of_what_looks_like_a_change(text: bytes, at_ms: int | None) -> None:
    assert peek_time_ms(text) == at_ms
