"""The size rules of DynamoDB. Expected sizes are worked out by hand, or defined anew in `dynamodb_items`."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connectors.dynamodb.errors import MalformedRecordError
from connectors.dynamodb.item_size import (
    MAX_NESTING,
    attribute_value_bytes,
    binary_text,
    item_bytes,
    number_bytes,
    write_capacity_units,
)
from tests.connectors.dynamodb_items import EXACT, Weighed, base100_bytes, items, numbers, plain_number


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 1),
        ("-0", 1),
        ("0.00", 1),
        ("0E+999", 1),
        ("7", 2),
        ("10", 2),  # 10
        ("100", 2),  # 01 | 00
        ("99", 2),
        ("101", 3),  # 01 01
        ("1230", 3),  # 12 30
        ("12300", 3),  # 01 23 | 00
        ("1763769600000", 6),  # 01 76 37 69 60 | 00 00
        ("0.5", 2),  # .50
        ("0.05", 2),  # .05
        ("0.005", 2),  # .00 50
        ("12.5", 3),  # 12 . 50
        ("1.25", 3),  # 01 . 25
        ("100.001", 5),  # 01 00 . 00 10
        ("-7", 3),
        ("-12.5", 4),
        ("007", 2),
        ("12.50", 3),
        ("1E+5", 2),  # 10 | 00 00
        ("1e5", 2),
        ("1.5e-3", 2),  # .00 15
        ("-1.5E-3", 3),
        ("1" * 38, 20),  # 19 pairs
        ("1." + "1" * 37, 21),  # 01 and 19 pairs
    ],
)
def test_a_number_weighs_its_pairs_of_digits_plus_one(text: str, size: int) -> None:
    assert number_bytes(text) == size


@given(numbers())
def test_a_number_weighs_the_same_however_it_is_written(number: Decimal) -> None:
    plain = plain_number(number)
    size = base100_bytes(number)
    assert number_bytes(plain) == size
    assert number_bytes(f"{number:e}") == size
    assert number_bytes(plain + ("0" if "." in plain else ".0")) == size


@given(numbers(), st.integers(-20, 20))
def test_a_hundredfold_of_a_number_weighs_the_same(number: Decimal, power: int) -> None:
    shifted = EXACT.scaleb(number, 2 * power)
    assume(number == 0 or -130 <= shifted.adjusted() <= 125)
    assert number_bytes(plain_number(shifted)) == number_bytes(plain_number(number))


@pytest.mark.parametrize("text", ["1" * 37, "1" * 38, "1" * 38 + "0" * 80, "0." + "0" * 80 + "1" * 38])
def test_up_to_38_significant_digits_are_a_number(text: str) -> None:
    assert number_bytes(text) == base100_bytes(Decimal(text))


@pytest.mark.parametrize("text", ["1" * 39, "1" + "0" * 37 + "1", "0.1" + "0" * 37 + "1"])
def test_39_significant_digits_are_not_a_number(text: str) -> None:
    with pytest.raises(MalformedRecordError, match="39 significant digits"):
        number_bytes(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("9E+124", 2),  # 09 | 62 pairs of zeros
        ("9.9E+125", 2),  # 99 | 62 pairs of zeros
        ("1E-130", 2),
        ("1E-129", 2),
        ("-9E+125", 3),
        ("9" * 38 + "0" * 88, 20),
        ("0." + "0" * 129 + "1", 2),
        ("-0." + "0" * 129 + "1" * 38, 22),  # sign, 01 and 19 pairs, one
    ],
)
def test_numbers_reach_from_1e_minus_130_to_below_1e126(text: str, size: int) -> None:
    assert number_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "1E+126",
        "10E+125",
        "-1E+126",
        "1" + "0" * 126,
        "9E-131",
        "9.99E-131",
        "0." + "0" * 130 + "9",
        "1e999999999",
        "1e-999999999",
        "1e" + "9" * 100,
    ],
)
def test_a_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(MalformedRecordError, match="beyond the range"):
        number_bytes(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".",
        "+1",
        ".5",
        "5.",
        "--1",
        "1.2.3",
        "1e",
        "1e1.5",
        "NaN",
        "Infinity",
        "-Infinity",
        "0x1",
        "1_000",
        "1,000",
        " 1",
        "1 ",
        "1\n",
        "\u0661",  # an Arabic digit one
        "\uff11",  # a full-width digit one
        "\u00b2",  # a superscript two
        "many",
        "1e" + "9" * 1_000_000,
        "0" * 1_000_000,
    ],
)
def test_what_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(MalformedRecordError, match="not a number") as refused:
        number_bytes(text)
    assert len(str(refused.value)) < 100


@given(st.text(alphabet="0123456789+-.eE _", max_size=60))
def test_any_text_has_a_number_s_size_or_is_refused(text: str) -> None:
    try:
        size = number_bytes(text)
    except MalformedRecordError:
        return
    assert size == base100_bytes(Decimal(text))


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "open"}, 4),
        ({"S": "Zürich"}, 7),
        ({"S": "🙂"}, 4),
        ({"N": "-7"}, 3),
        ({"B": ""}, 0),
        ({"B": "YUdWaFpBPT0="}, 4),  # "head", in base64 twice
        ({"BOOL": True}, 1),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["red", "blue"]}, 7),
        ({"NS": ["0", "42", "-1"]}, 1 + 2 + 3),
        ({"BS": ["YUdWaFpBPT0=", "Y205dmJRPT0="]}, 8),
        ({"L": []}, 3),
        ({"M": {}}, 3),
        ({"L": [{"S": "red"}, {"N": "42"}]}, 3 + (3 + 1) + (2 + 1)),
        ({"M": {"retries": {"N": "0"}, "ok": {"BOOL": True}}}, 3 + (7 + 1 + 1) + (2 + 1 + 1)),
        ({"L": [{"L": [{"M": {}}]}]}, 3 + (3 + (3 + 1) + 1)),
    ],
)
def test_each_type_weighs_what_the_guide_says(value: dict[str, Any], size: int) -> None:
    assert attribute_value_bytes(value) == size


def test_an_item_weighs_its_names_in_utf8_and_its_values() -> None:
    assert item_bytes({}) == 0
    assert item_bytes({"pk": {"S": "tenant-7"}, "größe": {"N": "12"}}) == (2 + 8) + (7 + 2)


@settings(deadline=None)
@given(items())
def test_an_item_weighs_the_sum_of_its_parts(weighed: Weighed) -> None:
    item, size = weighed
    assert item_bytes(item) == size


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, "not an attribute value of exactly one type: None"),
        ("open", "not an attribute value of exactly one type: 'open'"),
        ({}, "not an attribute value of exactly one type: {}"),
        ({"S": "a", "N": "1"}, "not an attribute value of exactly one type: {'N': '1', 'S': 'a'}"),
        ({"s": "a"}, "unknown attribute type 's'"),
        ({"S": 5}, "not a string: 5"),
        ({"S": None}, "not a string: None"),
        ({"N": 5}, "a number has to be written as a string: 5"),
        ({"N": "five"}, "not a number: 'five'"),
        ({"BOOL": 1}, "neither true nor false: 1"),
        ({"NULL": None}, "neither true nor false: None"),
        ({"M": []}, "not an object: []"),
        ({"L": {}}, "not an array: {}"),
        ({"SS": []}, "not an array of at least one member: []"),
        ({"SS": "red"}, "not an array of at least one member: 'red'"),
        ({"SS": ["red", 5]}, "SS[1]: not a string: 5"),
        ({"NS": ["x"]}, "NS[0]: not a number: 'x'"),
        ({"BS": ["YUdWaFpBPT0=", "head"]}, "BS[1]: not base64 of base64: b'\\x85\\xe6\\x9d'"),
        ({"M": {"a": {"L": [{"S": "x"}, {"N": "x"}]}}}, "M.a.L[1]: not a number: 'x'"),
        ({"S": "\ud83d"}, "half of a surrogate pair in the string '\\ud83d'"),
    ],
)
def test_a_value_that_dynamodb_cannot_have_written_is_refused_with_its_path(value: Any, error: str) -> None:
    with pytest.raises(MalformedRecordError) as refused:
        attribute_value_bytes(value)
    assert str(refused.value) == error


def test_the_path_begins_with_the_attribute_and_stays_readable() -> None:
    with pytest.raises(MalformedRecordError) as refused:
        item_bytes({"fine": {"S": "x"}, "me\x1bta" + "a" * 500: {"M": {"retries": {"N": "many"}}}})
    assert str(refused.value) == f"me\\x1bta{'a' * 72}....M.retries: not a number: 'many'"


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        "YUdWaFpBPT0",  # padding missing
        "aGVsbG8=",  # "hello" in base64 once
        "YUdWaFpBPT0=\n",
        "YUdW YaFpBPT0=",
        "é",
        5,
        None,
        ["YUdWaFpBPT0="],
    ],
)
def test_a_binary_not_in_base64_twice_is_refused(text: object) -> None:
    with pytest.raises(MalformedRecordError, match="not base64 of base64"):
        attribute_value_bytes({"B": text})
    with pytest.raises(MalformedRecordError, match="not base64 of base64"):
        binary_text(text)


def test_a_binary_is_shown_in_base64_once() -> None:
    assert binary_text("YUdWaFpBPT0=") == "aGVhZA=="


def _nested(levels: int, tag: str) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "x"}
    for _ in range(levels):
        value = {"L": [value]} if tag == "L" else {"M": {"a": value}}
    return value


@pytest.mark.parametrize("tag", ["L", "M"])
def test_an_item_nests_at_most_32_levels(tag: str) -> None:
    element = 4 if tag == "L" else 5
    assert attribute_value_bytes(_nested(MAX_NESTING - 1, tag)) == 31 * element + 1
    assert attribute_value_bytes(_nested(MAX_NESTING, tag)) == 32 * element + 1
    with pytest.raises(MalformedRecordError, match="nested deeper than 32 levels"):
        attribute_value_bytes(_nested(MAX_NESTING + 1, tag))


@pytest.mark.parametrize(
    ("size", "units"),
    [(0, 1), (1, 1), (1023, 1), (1024, 1), (1025, 2), (2048, 2), (2049, 3), (409_600, 400)],
)
def test_every_started_kib_is_a_unit_and_one_is_the_least(size: int, units: int) -> None:
    assert write_capacity_units(size) == units


@given(st.integers(1, 10**9))
def test_units_are_the_fewest_kib_that_hold_the_item(size: int) -> None:
    units = write_capacity_units(size)
    assert 1024 * (units - 1) < size <= 1024 * units


def test_a_negative_size_has_no_units() -> None:
    with pytest.raises(ValueError, match="-1 bytes"):
        write_capacity_units(-1)
