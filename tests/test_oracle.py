import base64
import hashlib
import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.actions import encode
from connectors.dynamodb.change import Change, Ignored, TableSchema
from connectors.dynamodb.parse import parse_change
from jobs.capacity.limits import Limits
from jobs.capacity.policy import LeaseState, WindowTotal, decide
from jobs.settings import (
    DecodeSettings,
    LeaseSettings,
    LimitRule,
    LimitsSettings,
    Settings,
    TableSettings,
    WindowKind,
    WindowSettings,
)
from tests import oracle
from tests.oracle import judge, matches, weigh_number

WINDOW = WindowSettings(size_ms=20_000, step_ms=5_000, out_of_orderness_ms=2_000)
HOP = WindowSettings(size_ms=20_000, step_ms=5_000, out_of_orderness_ms=2_000, kind=WindowKind.HOP)
LIMITS = LimitsSettings(default_wcu=10, warn_ratio=Decimal("0.8"))
LEASE = LeaseSettings(steps_ms=(20_000, 50_000), decay_ms=100_000)


def settings(**fields: Any) -> Settings:
    return Settings(**{"window": WINDOW, "limits": LIMITS, "lease": LEASE} | fields)


def item(key: str, size_bytes: int) -> dict[str, Any]:
    """An item of this size: 'id' and its value, 'v' and the rest."""
    return {"id": {"S": key}, "v": {"S": "x" * (size_bytes - 2 - len(key) - 1)}}


def record(at_ms: int, key: str = "a", wcu: int = 1, *, table: str = "invoices", **fields: Any) -> bytes:
    """An INSERT of `wcu` full KiB, with `fields` in place of its own, inner ones by their capital letter."""
    written = {
        "ApproximateCreationDateTime": at_ms,
        "Keys": {"id": {"S": key}},
        "NewImage": item(key, wcu * 1024),
        "SizeBytes": 2 + len(key) + wcu * 1024,
    }
    whole = {"eventID": "e1", "eventName": "INSERT", "tableName": table, "eventSource": "aws:dynamodb"}
    inner = {name: value for name, value in fields.items() if name[0].isupper()}
    outer = {name: value for name, value in fields.items() if name[0].islower()}
    return json.dumps({**whole, "dynamodb": written | inner} | outer).encode()


def steps(*records: bytes, **fields: Any) -> list[tuple[str, int, int, int, str]]:
    """Key, step end in seconds, capacity, writes and level of each line."""
    return [
        (
            line["partition_key"],
            line["step_end_ms"] // 1000,
            line["consumed_wcu"],
            line["writes"],
            line["level"],
        )
        for line in judge([records], settings(**fields)).windows
    ]


def suspensions(*records: bytes, **fields: Any) -> list[tuple[int, int]]:
    """Second and length in seconds of each action."""
    actions = judge([records], settings(**fields)).actions
    return [(action["issued_at_ms"] // 1000, action["lease_ms"] // 1000) for action in actions]


def counts(*files: list[bytes], **fields: Any) -> dict[str, int | None]:
    return judge(files, settings(**fields)).counts


def wcu_of(whole: bytes, **fields: Any) -> int:
    return oracle.parse(whole, settings(**fields)).wcu


def test_a_key_near_its_limit_is_reported_at_every_step_to_the_end_of_the_window() -> None:
    assert steps(record(1_000, wcu=7), record(6_000), record(11_000, wcu=2)) == [
        # 7 of 10 at 5 s is below the warn level
        ("a", 10, 8, 2, "warn"),
        ("a", 15, 10, 3, "over"),
        ("a", 20, 10, 3, "over"),
    ]


def test_step_ends_and_window_ends_are_exclusive() -> None:
    assert steps(record(4_999, "a", 8), record(5_000, "b", 8)) == [
        ("a", 5, 8, 1, "warn"),
        ("a", 10, 8, 1, "warn"),
        ("b", 10, 8, 1, "warn"),
        ("a", 15, 8, 1, "warn"),
        ("b", 15, 8, 1, "warn"),
        ("a", 20, 8, 1, "warn"),
        ("b", 20, 8, 1, "warn"),
    ]
    assert steps(record(19_999, wcu=8)) == [("a", 20, 8, 1, "warn")]
    assert steps(record(20_000, wcu=8))[0] == ("a", 25, 8, 1, "warn")


def test_a_window_begins_with_nothing() -> None:
    assert steps(record(19_999, wcu=5), record(20_000, wcu=5)) == []


def test_a_hop_is_a_whole_window_at_every_step() -> None:
    # 5 counts to 25 s, 6 from 15 s to 30 s
    records = record(5_000, wcu=5), record(10_000, wcu=6)
    assert steps(*records, window=HOP) == [
        ("a", 15, 11, 2, "over"),
        ("a", 20, 11, 2, "over"),
        ("a", 25, 11, 2, "over"),
    ]
    found = judge([records], settings(window=HOP)).windows
    assert [line["window_start_ms"] for line in found] == [-5_000, 0, 5_000]


def test_a_line_has_the_fields_of_the_file() -> None:
    assert judge([[record(21_000, "a", 9)]], settings()).windows[0] == {
        "table": "invoices",
        "partition_key": "a",
        "window_start_ms": 20_000,
        "step_end_ms": 25_000,
        "consumed_wcu": 9,
        "writes": 1,
        "limit_wcu": 10,
        "level": "warn",
    }


def test_lines_are_in_order_of_step_table_key_and_key_type() -> None:
    binary = base64.b64encode(base64.b64encode(b"0")).decode()
    records = [
        record(16_000, "b", 8),
        record(16_000, "a", 8),
        record(16_000, "z", 8, table="accounts"),
        record(16_000, "MA==", 8),
        record(16_000, "0", 9, Keys={"id": {"B": binary}}),
    ]
    found = judge([records], settings()).windows
    assert [(line["table"], line["partition_key"], line["consumed_wcu"]) for line in found] == [
        ("accounts", "z", 8),
        ("invoices", "MA==", 9),  # of type B, by its base64 text
        ("invoices", "MA==", 8),  # of type S
        ("invoices", "a", 8),
        ("invoices", "b", 8),
    ]


def test_an_action_is_the_whole_message() -> None:
    decided = b'["suspend", "invoices", "a", "S", 20000, 30000, 20000]'
    [action] = judge([[record(21_000, "a", 4), record(26_000, "a", 6)]], settings()).actions
    assert action == {
        "version": 1,
        "type": "suspend",
        "action_id": hashlib.sha256(decided).hexdigest()[:32],
        "decision_seq": 1,
        "issued_at_ms": 30_000,
        "not_after_ms": 50_000,
        "table": "invoices",
        "partition_key": "a",
        "partition_key_type": "S",
        "lease_ms": 20_000,
        "evidence": {
            "window_start_ms": 20_000,
            "window_end_ms": 40_000,
            "consumed_wcu": 10,
            "writes": 2,
            "limit_wcu": 10,
            "rule": "default",
        },
    }


def test_leases_lapse_are_extended_escalate_and_decay() -> None:
    assert suspensions(
        record(1_000, wcu=10),  # over at 5, 10, 15 and 20 s: leased to 25 s, which 20 s extends to 40 s
        record(41_000, wcu=10),  # over from 45 to 60 s: the second lease, to 95 s
        record(86_000, wcu=10),  # over from 90 to 100 s: 90 s extends it to 140 s
        record(146_000, wcu=10),  # over from 150 to 160 s: the last lease again, to 200 s
        record(296_000, wcu=10),  # 300 s is 100 s after that: forgotten
    ) == [(5, 20), (20, 20), (45, 50), (90, 50), (150, 50), (300, 20)]


@pytest.mark.parametrize(
    ("at_ms", "late"),
    [(7_999, 1), (8_000, 0), (8_001, 0)],
)
def test_a_change_behind_the_newest_by_more_than_the_bound_is_late(at_ms: int, late: int) -> None:
    records = [record(10_000), record(at_ms, wcu=8)]
    assert counts(records)["late"] == late
    assert bool(steps(*records)) is not bool(late)


def test_late_malformed_and_ignored_records_make_no_other_late() -> None:
    records = [
        record(10_000),
        record(100_000, tableName=""),
        record(100_000, eventName="ARCHIVE"),
        record(7_000),  # late
        record(8_000),
    ]
    assert counts(records) == {
        "events": 5,
        "changes": 3,
        "malformed": 1,
        "ignored": 1,
        "late": 1,
        "size_mismatch": 0,
        "partition_keys": 1,
        "first_event_ms": 7_000,
        "last_event_ms": 10_000,
    }


def test_files_do_not_make_each_other_late() -> None:
    found = judge([[record(60_000), record(61_000)], [record(1_000, wcu=4), record(3_000, wcu=4)]], settings())
    assert found.counts["late"] == 0
    assert [line["consumed_wcu"] for line in found.windows] == [8, 8, 8, 8]


def test_nothing_gives_nothing() -> None:
    found = judge([], settings())
    assert (found.actions, found.windows) == ([], [])
    assert (found.counts["events"], found.counts["first_event_ms"]) == (0, None)


HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("times_ms", "malformed"),
    [
        ([1_000, 2_000 + HOUR_MS, 2_000], 0),
        ([1_000, 2_001 + HOUR_MS, 2_000], 1),
        ([2_001 + HOUR_MS, 2_000], 1),  # the first of the file too
        ([1_000, 9 * HOUR_MS], 0),  # nothing follows that it could close
        ([1_000, 9 * HOUR_MS, 9 * HOUR_MS], 0),  # a gap in the stream
        ([1_000, 9 * HOUR_MS, 1_000, 9 * HOUR_MS], 0),  # the higher middle of two
        ([1_000, 9 * HOUR_MS, 1_000, 1_000, 9 * HOUR_MS], 1),
        ([9 * HOUR_MS] + [1_000] * 8 + [9 * HOUR_MS] * 7, 1),
        ([9 * HOUR_MS] + [1_000] * 7 + [9 * HOUR_MS] * 8, 0),
        ([9 * HOUR_MS] + [1_000] * 8 + [9 * HOUR_MS] * 99, 1),  # the 15 that follow are asked, not more
    ],
)
def test_a_time_far_ahead_of_what_comes_before_and_after_is_malformed(times_ms: list[int], malformed: int) -> None:
    assert counts([record(at_ms) for at_ms in times_ms])["malformed"] == malformed


def test_how_far_ahead_is_a_setting() -> None:
    records = [record(1_000), record(3_001), record(2_000)]
    assert counts(records, decode=DecodeSettings(future_tolerance_ms=1_000))["malformed"] == 1
    assert counts(records, decode=DecodeSettings(future_tolerance_ms=1_001))["malformed"] == 0


def test_the_most_specific_rule_is_the_limit() -> None:
    rules = (
        LimitRule(table="invoices", wcu=20),
        LimitRule(table="invoices", partition_key="*1", wcu=30),
        LimitRule(table="invoices", partition_key="a*", wcu=40),
        LimitRule(table="invoices", partition_key="a??1", wcu=50),
        LimitRule(table="invoices", partition_key="root", exempt=True),
    )
    limits = LimitsSettings(default_wcu=10, rules=rules)
    asked = [("x", "a1"), ("invoices", "b"), ("invoices", "a1"), ("invoices", "a"), ("invoices", "axx1")]
    assert [oracle.limit_of(table, key, limits) for table, key in asked] == [
        (10, "default"),
        (20, "invoices"),
        (30, "invoices/*1"),
        (40, "invoices/a*"),
        (50, "invoices/a??1"),
    ]
    assert oracle.limit_of("invoices", "root", limits) == (None, "invoices/root")
    assert steps(record(1_000, "root", 100), limits=limits) == []


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("*", "", True),
        ("?", "", False),
        ("a*b?", "aXXbbc", True),
        ("a*b?", "ab", False),
        ("[a]", "a", False),
        ("A", "a", False),
        ("a", "?", False),
    ],
)
def test_patterns_know_star_and_question_mark(pattern: str, text: str, expected: bool) -> None:
    assert matches(pattern, text) is expected


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 1),
        ("-0.00", 1),
        ("5", 2),
        ("-5", 3),
        ("12", 2),
        ("123", 3),
        ("1200", 2),
        ("120", 3),
        ("0.5", 2),
        ("0.05", 2),
        ("0.005", 2),
        ("1.5", 3),
        ("-19.5", 4),
        ("1E2", 2),
        ("9" * 38, 20),
        ("1e-130", 2),
    ],
)
def test_number_sizes(text: str, size_bytes: int) -> None:
    assert weigh_number(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "+1", "1_0", " 1", ".5", "NaN", "1" * 39, "1e126", "1e-131", "1e9999999999999999999"]
)
def test_what_is_no_number_is_malformed(text: str) -> None:
    assert counts([record(1_000, NewImage={"id": {"S": "a"}, "n": {"N": text}})])["malformed"] == 1


def test_item_sizes() -> None:
    twice = base64.b64encode(base64.b64encode(b"123")).decode()
    sizes = {
        "S": ("é", 2),
        "N": ("123", 3),
        "B": (twice, 3),
        "BOOL": (False, 1),
        "NULL": (True, 1),
        "SS": (["a", "bc"], 3),
        "NS": (["1", "123"], 5),
        "BS": ([twice, twice], 6),
        "L": ([{"S": "ab"}, {"N": "1"}], 3 + 2 + 2 + 2),
        "M": ({"k": {"S": "ab"}, "n": {"M": {}}}, 3 + 2 + 3 + (1 + 3)),
    }
    assert {kind: oracle.weigh({kind: body}, 1) for kind, (body, _) in sizes.items()} == {
        kind: size_bytes for kind, (_, size_bytes) in sizes.items()
    }
    assert oracle.weigh_named({"é": {"S": "a"}, "b": {"NULL": True}}, 1) == 5


@pytest.mark.parametrize(("size_bytes", "wcu"), [(10, 1), (1023, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3)])
def test_every_started_kib_is_a_unit(size_bytes: int, wcu: int) -> None:
    assert wcu_of(record(1_000, NewImage=item("a", size_bytes))) == wcu


def test_the_larger_image_is_charged() -> None:
    large, small = item("a", 3_000), item("a", 100)
    assert wcu_of(record(1_000, eventName="MODIFY", OldImage=large, NewImage=small)) == 3
    assert wcu_of(record(1_000, eventName="MODIFY", OldImage=small, NewImage=large)) == 3
    assert wcu_of(record(1_000, eventName="REMOVE", OldImage=large, NewImage=None)) == 3


def test_transactional_tables_cost_twice() -> None:
    tables = {"invoices": TableSettings(transactional=True)}
    assert wcu_of(record(1_000, wcu=3), tables=tables) == 6
    assert wcu_of(record(1_000, wcu=3, table="sessions"), tables=tables) == 3


def test_deletes_by_ttl_are_free_and_no_writes() -> None:
    ttl = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    removal: dict[str, Any] = {"eventName": "REMOVE", "OldImage": item("a", 1024), "NewImage": None}
    assert steps(record(1_000, wcu=9), record(1_000, **removal), record(1_000, userIdentity=ttl, **removal))[0] == (
        ("a", 5, 10, 2, "over")
    )


@pytest.mark.parametrize(
    ("time", "precision", "at_ms"),
    [
        (1_700_000_000_000, None, 1_700_000_000_000),
        (1_700_000_000_000_999, None, 1_700_000_000_000),
        (1_700_000_000_000_999, "MICROSECOND", 1_700_000_000_000),
        (1_700_000_000_000_999, "MILLISECOND", 1_700_000_000_000),
        (5_000_999, "MICROSECOND", 5_000),
        (10**14, None, 10**14),
        (10**14 + 1, None, 10**11),
    ],
)
def test_a_time_is_in_the_unit_its_record_shows(time: int, precision: str | None, at_ms: int) -> None:
    whole = record(time, ApproximateCreationDateTimePrecision=precision)
    assert oracle.parse(whole, settings()).at_ms == at_ms


def test_the_partition_key_of_two_comes_from_settings() -> None:
    whole = record(1_000, Keys={"id": {"S": "a"}, "v": {"N": "7"}})
    assert counts([whole])["malformed"] == 1
    for name, expected in (("id", ("a", "S")), ("v", ("7", "N"))):
        found = oracle.parse(whole, settings(tables={"invoices": TableSettings(partition_key=name)}))
        assert (found.partition_key, found.partition_key_type) == expected


def test_a_size_that_does_not_add_up_is_counted() -> None:
    assert counts([record(1_000), record(1_000, SizeBytes=1_026), record(1_000, SizeBytes=None)])["size_mismatch"] == 1


BROKEN = {
    "no JSON": b"{",
    "UTF-16": "{}".encode("utf-16"),
    "array": b"[]",
    "empty": b"",
    "NaN": record(1_000).replace(b"1000", b"NaN"),
    "no table": record(1_000, tableName=None),
    "no name": record(1_000, eventName=None),
    "number as name": record(1_000, eventName=1),
    "id of a wrong type": record(1_000, eventID=1),
    "source of a wrong type": record(1_000, eventSource=1),
    "no inner record": record(1_000, dynamodb=None),
    "no keys": record(1_000, Keys=None),
    "empty keys": record(1_000, Keys={}),
    "three keys": record(1_000, Keys={name: {"S": "a"} for name in "abc"}),
    "boolean key": record(1_000, Keys={"id": {"BOOL": True}}),
    "empty key": record(1_000, Keys={"id": {"S": ""}}),
    "long key": record(1_000, Keys={"id": {"S": "a" * 2_049}}),
    "no images": record(1_000, NewImage=None),
    "insert without new image": record(1_000, OldImage={"id": {"S": "a"}}, NewImage=None),
    "remove without old image": record(1_000, eventName="REMOVE"),
    "two types": record(1_000, NewImage={"id": {"S": "a", "N": "1"}}),
    "no type": record(1_000, NewImage={"id": {}}),
    "unknown type": record(1_000, NewImage={"id": {"X": "a"}}),
    "list as string": record(1_000, NewImage={"id": {"S": ["a"]}}),
    "string as number": record(1_000, NewImage={"id": {"N": "seven"}}),
    "JSON number as number": record(1_000, NewImage={"id": {"N": 7}}),
    "base64 once": record(1_000, NewImage={"id": {"B": base64.b64encode(b"\xff\xfe").decode()}}),
    "empty set": record(1_000, NewImage={"id": {"SS": []}}),
    "half a surrogate pair": record(1_000, NewImage={"id": {"S": "\ud800"}}),
    "negative size": record(1_000, SizeBytes=-1),
    "size of a wrong type": record(1_000, SizeBytes=True),
    "user of a wrong type": record(1_000, eventName="REMOVE", OldImage={}, userIdentity="root"),
    "time zero": record(0),
    "fractional time": record(1_000, ApproximateCreationDateTime=1e3),
    "far time": record(1_763_769_725_000_000_000),
    "unknown precision": record(1_000, ApproximateCreationDateTimePrecision="SECOND"),
}
OTHERS = {
    "another source": record(1_000, eventSource="aws:s3"),
    "another kind": record(1_000, eventName="ARCHIVE"),
    "EventBridge": b'{"detail-type": "EC2 Fleet Instance Change", "source": "aws.ec2fleet", "detail": {}}',
}


def nested(levels: int) -> bytes:
    value: dict[str, Any] = {"S": "a"}
    for _ in range(levels):
        value = {"L": [value]}
    return record(1_000, NewImage={"id": value}, SizeBytes=None)


@pytest.mark.parametrize("whole", [*BROKEN.values(), nested(33)], ids=[*BROKEN, "deep"])
def test_what_dynamodb_cannot_have_written_is_malformed(whole: bytes) -> None:
    assert counts([whole])["malformed"] == 1


@pytest.mark.parametrize("whole", OTHERS.values(), ids=OTHERS)
def test_what_says_that_it_is_something_else_is_ignored(whole: bytes) -> None:
    assert counts([whole])["ignored"] == 1


# What follows holds the oracle and the product's pure parts against each other.

TABLES = {"invoices": TableSettings(partition_key="id", transactional=True)}
SCHEMAS = {"invoices": TableSchema(partition_key="id", transactional=True)}


def read_by_product(whole: bytes) -> object:
    parsed = parse_change(whole, SCHEMAS)
    if not isinstance(parsed, Change):
        return "ignored" if isinstance(parsed, Ignored) else "malformed"
    return oracle.Change(
        parsed.table,
        parsed.partition_key,
        parsed.partition_key_type,
        parsed.at_ms,
        parsed.wcu,
        parsed.size_matches,
    )


def read_by_oracle(whole: bytes) -> object:
    found: Counter[str] = Counter()
    changes = oracle.read([whole], settings(tables=TABLES), found)
    return changes[0] if changes else next(name for name in ("ignored", "malformed") if found[name])


@pytest.mark.parametrize(
    "whole",
    [*BROKEN.values(), *OTHERS.values(), nested(32), nested(33)],
    ids=[*BROKEN, *OTHERS, "32 deep", "33 deep"],
)
def test_oracle_and_product_tell_the_same_records_apart(whole: bytes) -> None:
    assert read_by_oracle(whole) == read_by_product(whole)


numbers = st.from_regex(r"-?[0-9]{1,20}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
binaries = st.binary(max_size=20).map(lambda data: base64.b64encode(base64.b64encode(data)).decode())
names = st.text(max_size=5)
scalars = st.one_of(
    st.text(max_size=1_500).map(lambda text: {"S": text}),
    numbers.map(lambda text: {"N": text}),
    binaries.map(lambda text: {"B": text}),
    st.booleans().map(lambda truth: {"BOOL": truth}),
    st.just({"NULL": True}),
    st.lists(names, min_size=1, max_size=3).map(lambda members: {"SS": members}),
    st.lists(numbers, min_size=1, max_size=3).map(lambda members: {"NS": members}),
    st.lists(binaries, min_size=1, max_size=3).map(lambda members: {"BS": members}),
)
key_values = st.sampled_from([{"S": "a"}, {"N": "-7.5"}, {"B": "TVRJPQ=="}])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda elements: {"L": elements})
        | st.dictionaries(names, inner, max_size=3).map(lambda elements: {"M": elements})
    ),
    max_leaves=6,
)
images = st.dictionaries(names, values, max_size=4)


@given(
    st.sampled_from(["INSERT", "MODIFY", "REMOVE"]),
    images,
    st.none() | images,
    st.dictionaries(st.sampled_from(["id", "v"]), key_values, min_size=1, max_size=2),
    st.sampled_from(["invoices", "invoices", "sessions"]),
    st.none() | st.just({"type": "Service", "principalId": "dynamodb.amazonaws.com"}),
)
def test_oracle_and_product_read_and_weigh_alike(
    name: str, one: object, other: object, keys: object, table: str, user: object
) -> None:
    old, new = (other, one) if name == "INSERT" else (one, other)
    whole = record(1_000, table=table, eventName=name, OldImage=old, NewImage=new, Keys=keys, userIdentity=user)
    assert read_by_oracle(whole) == read_by_product(whole)


limits_settings = st.builds(
    LimitsSettings,
    default_wcu=st.integers(2, 12),
    warn_ratio=st.sampled_from([Decimal("0.5"), Decimal("0.8"), Decimal("1")]),
    rules=st.lists(
        st.tuples(st.none() | st.text("ab*?", min_size=1, max_size=3), st.none() | st.integers(1, 20)),
        unique_by=lambda rule: rule[0],
        max_size=4,
    ).map(
        lambda rules: tuple(
            LimitRule(table="invoices", partition_key=pattern, wcu=wcu, exempt=wcu is None) for pattern, wcu in rules
        )
    ),
)
writes = st.lists(st.tuples(st.integers(1, 400_000), st.sampled_from(["a", "ab", "b"]), st.integers(1, 8)), max_size=60)


@given(limits_settings, writes, st.sampled_from([WINDOW, HOP]))
def test_oracle_and_product_decide_alike(
    limits: LimitsSettings, written: list[tuple[int, str, int]], window: WindowSettings
) -> None:
    chosen = settings(limits=limits, window=window)
    found = judge([[record(at_ms, key, wcu) for at_ms, key, wcu in sorted(written)]], chosen)
    limit_of, states, messages, levels = Limits(limits).limit_for, dict[str, LeaseState](), [], []
    for line in found.windows:
        total = WindowTotal(
            line["table"],
            line["partition_key"],
            "S",
            line["window_start_ms"],
            line["step_end_ms"],
            line["consumed_wcu"],
            line["writes"],
        )
        state = states.get(total.partition_key, LeaseState.calm())
        limit = limit_of(total.table, total.partition_key)
        states[total.partition_key], decision = decide(state, total, limit, chosen.lease, window)
        levels.append(decision.level)
        messages += [encode(decision.action)] if decision.action is not None else []
    assert levels == [line["level"] for line in found.windows]
    assert messages == [json.dumps(action, ensure_ascii=False).encode() for action in found.actions]
