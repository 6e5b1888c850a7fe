import json
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connectors.actions import (
    MAX_MESSAGE_BYTES,
    Evidence,
    MalformedActionError,
    SuspendAction,
    UnknownActionError,
    decode,
    encode,
    suspend_action_id,
)

ACTION = SuspendAction(
    action_id="0123456789abcdef0123456789abcdef",
    decision_seq=2,
    issued_at_ms=1_700_000_045_000,
    not_after_ms=1_700_000_345_000,
    table="invoices",
    partition_key="account-17",
    partition_key_type="S",
    lease_ms=300_000,
    evidence=Evidence(
        window_start_ms=1_700_000_040_000,
        window_end_ms=1_700_000_160_000,
        consumed_wcu=6_200,
        writes=410,
        limit_wcu=6_000,
        rule="invoices/account-*",
    ),
)
MESSAGE = (
    b'{"version": 1, "type": "suspend", "action_id": "0123456789abcdef0123456789abcdef", "decision_seq": 2, '
    b'"issued_at_ms": 1700000045000, "not_after_ms": 1700000345000, '
    b'"table": "invoices", "partition_key": "account-17", "partition_key_type": "S", "lease_ms": 300000, '
    b'"evidence": {"window_start_ms": 1700000040000, "window_end_ms": 1700000160000, "consumed_wcu": 6200, '
    b'"writes": 410, "limit_wcu": 6000, "rule": "invoices/account-*"}}'
)
DECIDED: dict[str, Any] = {
    "table": "invoices",
    "partition_key": "account-17",
    "partition_key_type": "S",
    "window_start_ms": 1_700_000_040_000,
    "issued_at_ms": 1_700_000_045_000,
    "lease_ms": 300_000,
}
REMOVED = object()

# Lone surrogates too: Python's JSON reader lets them through.
words = st.text(st.characters(exclude_categories=()), min_size=1, max_size=40)
times = st.integers(0, 2**50)


def message_with(name: str, value: object) -> bytes:
    """The good message with one field changed, in `evidence` where the name begins with it."""
    fields = json.loads(MESSAGE)
    *parents, last = name.split(".")
    target = fields
    for parent in parents:
        target = target[parent]
    if value is REMOVED:
        del target[last]
    else:
        target[last] = value
    return json.dumps(fields).encode()


def action_id_of(table: str, partition_key: str) -> str:
    return suspend_action_id(**DECIDED | {"table": table, "partition_key": partition_key})


@st.composite
def actions(draw: st.DrawFn) -> SuspendAction:
    issued_at_ms, window_start_ms = draw(times), draw(times)
    return SuspendAction(
        action_id=draw(st.text("0123456789abcdef", min_size=32, max_size=32)),
        decision_seq=draw(st.integers(1, 2**40)),
        issued_at_ms=issued_at_ms,
        not_after_ms=issued_at_ms + draw(times),
        table=draw(words),
        partition_key=draw(words),
        partition_key_type=draw(st.sampled_from("SNB")),
        lease_ms=draw(st.integers(1, 2**40)),
        evidence=Evidence(
            window_start_ms=window_start_ms,
            window_end_ms=window_start_ms + draw(st.integers(1, 2**40)),
            consumed_wcu=draw(times),
            writes=draw(times),
            limit_wcu=draw(times),
            rule=draw(words),
        ),
    )


def test_encode_gives_the_documented_bytes() -> None:
    assert encode(ACTION) == MESSAGE


def test_decode_gives_the_action_back() -> None:
    assert decode(MESSAGE) == ACTION


@given(actions())
def test_encode_and_decode_are_inverse(action: SuspendAction) -> None:
    # Two surrogates side by side are one character to every JSON reader; no reader hands them out as two.
    assume(json.loads(json.dumps(action.partition_key)) == action.partition_key)
    assume(json.loads(json.dumps(action.table)) == action.table)
    assume(json.loads(json.dumps(action.evidence.rule)) == action.evidence.rule)
    message = encode(action)
    assert decode(message) == action
    assert encode(decode(message)) == message


@given(actions())
def test_a_message_is_one_line_that_any_json_reader_takes(action: SuspendAction) -> None:
    message = encode(action)
    assert b"\n" not in message
    assert json.loads(message)["version"] == 1


@pytest.mark.parametrize(
    ("key", "escaped"),
    [
        ("\ud800", rb'"\ud800"'),
        ("a\udfffb", rb'"a\udfffb"'),
        ("\ufffe\uffff", rb'"\ufffe\uffff"'),
        ("\x00\x1f\n", rb'"\u0000\u001f\n"'),
    ],
    ids=["lone high surrogate", "lone low surrogate", "noncharacters SQS refuses", "control characters"],
)
def test_what_cannot_be_sent_is_escaped(key: str, escaped: bytes) -> None:
    message = encode(replace(ACTION, partition_key=key))
    assert escaped in message
    assert decode(message).partition_key == key


def test_other_text_is_sent_as_it_is() -> None:
    assert "Zürich-\ufffd-😀".encode() in encode(replace(ACTION, partition_key="Zürich-\ufffd-😀"))


@pytest.mark.parametrize("character", ["\x01", '"', "\uffff", "é", "😀"], ids=ascii)
def test_the_longest_keys_dynamodb_allows_fit(character: str) -> None:
    key = character * (2048 // len(character.encode()))
    action = replace(
        ACTION,
        table="t" * 255,
        partition_key=key,
        evidence=replace(ACTION.evidence, rule=f"{'t' * 255}/{key}"),
    )
    assert decode(encode(action)) == action


def test_the_size_limit_is_64_kib_and_included() -> None:
    room = MAX_MESSAGE_BYTES - len(encode(ACTION)) + len(ACTION.partition_key)
    largest = replace(ACTION, partition_key="k" * room)
    assert len(encode(largest)) == 65_536
    assert decode(encode(largest)) == largest
    with pytest.raises(MalformedActionError, match="65537 bytes"):
        encode(replace(ACTION, partition_key="k" * (room + 1)))
    with pytest.raises(MalformedActionError, match="65537 bytes"):
        decode(encode(largest) + b" ")


def test_whitespace_and_order_are_free() -> None:
    fields = json.loads(MESSAGE)
    assert decode(json.dumps(dict(reversed(fields.items())), indent=1).encode()) == ACTION


@pytest.mark.parametrize("version", [0, 2, -1])
def test_another_version_is_unknown(version: int) -> None:
    with pytest.raises(UnknownActionError, match=f"version {version}"):
        decode(message_with("version", version))


@pytest.mark.parametrize("action_type", ["release", "SUSPEND", ""])
def test_another_type_is_unknown(action_type: str) -> None:
    with pytest.raises(UnknownActionError, match=repr(action_type)):
        decode(message_with("type", action_type))


def test_another_version_is_unknown_whatever_else_it_carries() -> None:
    with pytest.raises(UnknownActionError):
        decode(b'{"version": 2, "type": "suspend", "reason": "a field of the future"}')


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"[]",
        b'"suspend"',
        b"{}",
        MESSAGE[:-1],
        MESSAGE + MESSAGE,
        MESSAGE.replace(b"account-17", b"account-\xff"),
        MESSAGE.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + MESSAGE,
        MESSAGE.replace(b'"writes": 410', b'"writes": NaN'),
        MESSAGE.replace(b'"writes": 410', b'"writes": ' + b"9" * 5000),
        MESSAGE.replace(b'"lease_ms": 300000', b'"lease_ms": 300000, "lease_ms": 300000'),
        MESSAGE.replace(b'"writes": 410', b'"writes": 410, "writes": 411'),
        b"[" * 60_000,
        b'{"a":' * 10_000,
    ],
    ids=[
        "empty",
        "null",
        "array",
        "string",
        "empty object",
        "cut",
        "two messages",
        "invalid UTF-8",
        "UTF-16",
        "byte order mark",
        "NaN",
        "5000 digits",
        "repeated field",
        "repeated field in evidence",
        "deep arrays",
        "deep objects",
    ],
)
def test_what_is_no_action_is_malformed(message: bytes) -> None:
    with pytest.raises(MalformedActionError):
        decode(message)


@pytest.mark.parametrize("name", [*json.loads(MESSAGE), *(f"evidence.{n}" for n in json.loads(MESSAGE)["evidence"])])
@pytest.mark.parametrize("value", [REMOVED, None, True, [], {}], ids=["removed", "null", "true", "array", "object"])
def test_no_field_may_be_missing_or_of_another_type(name: str, value: object) -> None:
    with pytest.raises(MalformedActionError):
        decode(message_with(name, value))


@pytest.mark.parametrize("name", ["reason", "evidence.reason"])
def test_unknown_fields_are_refused_by_name(name: str) -> None:
    with pytest.raises(MalformedActionError, match="'reason'"):
        decode(message_with(name, 1))


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("decision_seq", 1),
        ("not_after_ms", ACTION.issued_at_ms),
        ("lease_ms", 1),
        ("evidence.window_end_ms", ACTION.evidence.window_start_ms + 1),
        ("evidence.consumed_wcu", 0),
        ("evidence.writes", 0),
        ("evidence.limit_wcu", 0),
    ],
)
def test_numbers_have_a_smallest_value(name: str, least: int) -> None:
    with pytest.raises(MalformedActionError, match=name.removeprefix("evidence.")):
        decode(message_with(name, least - 1))
    for allowed in (least, least + 1):
        assert json.loads(encode(decode(message_with(name, allowed)))) == json.loads(message_with(name, allowed))


INTEGERS = [name for name, value in json.loads(MESSAGE).items() if isinstance(value, int) and name != "version"]


@pytest.mark.parametrize("name", [*INTEGERS, "evidence.window_start_ms", "evidence.consumed_wcu"])
@pytest.mark.parametrize("value", [1.0, 1e3, "1", 2**53, -(2**53), 10**400], ids=str)
def test_an_integer_is_whole_and_exact_in_every_json_reader(name: str, value: object) -> None:
    with pytest.raises(MalformedActionError, match=name.removeprefix("evidence.")):
        decode(message_with(name, value))


@pytest.mark.parametrize("value", ["", "s", "SS", "X"])
def test_a_key_type_is_one_letter_that_dynamodb_allows_for_keys(value: str) -> None:
    with pytest.raises(MalformedActionError, match="partition_key_type"):
        decode(message_with("partition_key_type", value))


@pytest.mark.parametrize("key_type", ["S", "N", "B"])
def test_every_key_type_is_taken(key_type: str) -> None:
    assert decode(message_with("partition_key_type", key_type)).partition_key_type == key_type


@pytest.mark.parametrize("name", ["table", "partition_key", "evidence.rule"])
def test_names_are_not_empty(name: str) -> None:
    with pytest.raises(MalformedActionError, match=name.removeprefix("evidence.")):
        decode(message_with(name, ""))


@pytest.mark.parametrize("value", ["0" * 31, "0" * 33, "0" * 31 + "G", "A" * 32, "0" * 32 + "\n"])
def test_an_action_id_is_32_hexadecimal_characters(value: str) -> None:
    with pytest.raises(MalformedActionError, match="action_id"):
        decode(message_with("action_id", value))


@given(st.binary(max_size=200))
def test_no_bytes_are_more_than_refused(message: bytes) -> None:
    with pytest.raises((MalformedActionError, UnknownActionError)):
        decode(message)


@given(st.integers(0, len(MESSAGE) - 1), st.binary(min_size=1, max_size=3))
def test_a_damaged_message_is_refused_or_still_a_valid_action(position: int, damage: bytes) -> None:
    message = MESSAGE[:position] + damage + MESSAGE[position + len(damage) :]
    try:
        action = decode(message)
    except (MalformedActionError, UnknownActionError):
        return
    assert decode(encode(action)) == action


def test_an_action_id_is_the_same_in_every_process() -> None:
    assert suspend_action_id(**DECIDED) == "ac639d9fb1b5125a718a2326e111e063"


def test_an_action_id_is_hexadecimal_for_any_key() -> None:
    action_id = suspend_action_id(**DECIDED | {"partition_key": "\ud800\x00é"})
    assert set(action_id) <= set(string.hexdigits.lower())
    assert len(action_id) == 32


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("table", "invoice"),
        ("partition_key", "account-18"),
        ("partition_key_type", "B"),
        ("window_start_ms", 1_700_000_040_001),
        ("issued_at_ms", 1_700_000_045_001),
        ("lease_ms", 300_001),
    ],
)
def test_an_action_id_changes_with_each_thing_decided(name: str, value: object) -> None:
    assert suspend_action_id(**DECIDED | {name: value}) != suspend_action_id(**DECIDED)


@given(words, words, words, words)
def test_an_action_id_keeps_table_and_key_apart(table: str, key: str, other_table: str, other_key: str) -> None:
    assume((table, key) != (other_table, other_key))
    assert action_id_of(table, key) != action_id_of(other_table, other_key)
