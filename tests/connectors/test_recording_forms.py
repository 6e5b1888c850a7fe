import json
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.recordings.documents import Part, first_value_end, is_document, split_documents
from connectors.recordings.envelopes import expand, open_envelope
from connectors.recordings.forms import Form, form_of
from tests.connectors.recorded import FORMS, change, firehose_event, lambda_event, pretty, record, written

# What a reader that goes by braces and quotes alone stumbles over.
traps = st.text(alphabet='{}[]":,\\a \n\u00e9', max_size=8)
values = st.recursive(
    traps.map(lambda text: {"S": text}),
    lambda inner: st.one_of(
        st.dictionaries(traps, inner, max_size=2).map(lambda held: {"M": held}),
        st.lists(inner, max_size=2).map(lambda held: {"L": held}),
    ),
    max_leaves=3,
)


@st.composite
def tricky_records(draw: st.DrawFn) -> bytes:
    item: dict[str, Any] = draw(st.dictionaries(traps, values, max_size=2))
    document = written({"eventID": draw(traps), "dynamodb": {"NewImage": item}, "tableName": draw(traps)})
    return pretty(document) if draw(st.booleans()) else document


def data_of(parts: Sequence[Part]) -> list[bytes]:
    return [part.data for part in parts]


def split(text: bytes) -> list[bytes]:
    return data_of(split_documents(text)[0])


@given(st.lists(tricky_records(), max_size=6), st.sampled_from([b"", b"\n", b" \r\n\t", b",", b",\n", b"\xef\xbb\xbf"]))
def test_sound_documents_are_told_apart_whatever_their_strings_hold(records: list[bytes], between: bytes) -> None:
    text = between.join(records)
    parts, end = split_documents(text)
    assert data_of(parts) == records
    assert [text[part.offset :].startswith(part.data) for part in parts] == [True] * len(records)
    assert end == len(text)


@given(st.lists(tricky_records(), max_size=4), st.data())
def test_text_that_comes_in_two_pieces_gives_the_documents_it_gives_in_one(
    records: list[bytes], data: st.DataObject
) -> None:
    text = b"".join(records)
    cut = data.draw(st.integers(0, len(text)))
    first, end = split_documents(text[:cut], whole=False)
    second, _ = split_documents(text[end:])
    assert data_of(first) + data_of(second) == records


@st.composite
def partly_truncated(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """Documents without a delimiter, some of them cut short, and the others."""
    text, sound = b"", []
    for document in draw(st.lists(tricky_records(), min_size=1, max_size=5)):
        if draw(st.booleans()):
            sound.append(document)
            text += document
        else:
            text += document[: draw(st.integers(1, len(document) - 1))]
    return text, sound


@given(partly_truncated())
def test_truncated_documents_lose_nothing_but_themselves(given_text: tuple[bytes, list[bytes]]) -> None:
    text, sound = given_text
    assert [part for part in split(text) if part in sound] == sound


@given(partly_truncated(), st.data())
def test_truncated_documents_lose_nothing_but_themselves_in_pieces(
    given_text: tuple[bytes, list[bytes]], data: st.DataObject
) -> None:
    text, sound = given_text
    parts: list[Part] = []
    at = 0
    for cut in sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5))):
        found, end = split_documents(text[at : max(at, cut)], whole=False)
        parts += found
        at += end
    parts += split_documents(text[at:])[0]
    assert [part for part in data_of(parts) if part in sound] == sound


@given(st.text(alphabet='{}[]",:\\ae1 \n').map(str.encode), st.booleans(), st.data())
def test_nothing_but_separators_of_any_text_is_lost(text: bytes, in_array: bool, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    first, end = split_documents(text[:cut], whole=False, in_array=in_array)
    rest, rest_end = split_documents(text[end:], in_array=in_array)
    assert end + rest_end == len(text)
    between = bytearray(text)
    for part in [*first, *(Part(part.data, end + part.offset) for part in rest)]:
        assert text[part.offset :].startswith(part.data)
        between[part.offset : part.offset + len(part.data)] = b" " * len(part.data)
    assert between.translate(None, b", \n[]" if in_array else b", \n") == b""


@pytest.mark.parametrize(
    "junk",
    [
        b"hello",
        b"42",
        b"null",
        b'"text"',
        b"[]",
        b"{}",
        b'{"a":{"b":1}}',
        b"\x00\x00",
        b'{"eventID":',
        b'{"eventID":"e',
        b'{"eventID":"e\\',
        b'{"dynamodb":{"Keys":{"id":{"S":"x"}},"NewIm',
        b'{"dynamodb":{"Keys":{"id":{"S":"x"}',
        b'{"dynamodb":{"L":[{"S":"x"},',
        b'{"eventID":"}{',
        b'{"SizeBytes":NaN}',
        b'"x"}},"SizeBytes":5}',
        b"{" * 5_000,
        b"[" * 20_000 + b"]" * 20_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    ],
)
def test_junk_between_documents_is_a_part_of_its_own(junk: bytes) -> None:
    first, second, third = record(key="}{"), record(key='{"eventID":"'), record(key="last")
    assert split(first + junk + second + third) == [first, junk, second, third]
    assert split(junk + b"\n" + first + b"\n" + junk) == [junk, first, junk]
    assert split(first + b"," + junk + b",\n" + second) in ([first, junk, second], [first, junk + b",", second])


def test_extra_braces_cost_no_document() -> None:
    assert split(b'{"eventID":1}}{"eventID":2}') == [b'{"eventID":1}', b"}", b'{"eventID":2}']


def test_a_nested_object_of_a_truncated_document_is_not_a_document() -> None:
    image = {"eventName": {"S": "looks like a record"}, "list": {"L": [{"S": "a"}, {"S": "b"}]}}
    whole = record(NewImage=image)
    assert split(whole[:-20] + record()) == [whole[:-20], record()]


def test_a_document_of_unknown_names_after_a_truncated_one_is_found_too() -> None:
    assert split(b'{"eventID":"e' + b'{"made":"up"}' + record()) == [b'{"eventID":"e', b'{"made":"up"}', record()]


def test_many_truncated_documents_are_given_up_in_bounded_time() -> None:
    # Each could go on to the end of the text: looking there from each of them would take hours.
    found = split(b'{"made":[' * 200_000)
    assert b"".join(found) == b'{"made":[' * 200_000


@pytest.mark.parametrize("text", [b"", b"  \r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
def test_blank_text_holds_no_record(text: bytes) -> None:
    assert expand(text) == []


@pytest.mark.parametrize(
    "text",
    [
        b",",
        b"[]",
        b"null",
        b"hello",
        b"[[",
        b"[1,2]",
        b'{"Records":7}',
        b"\xff\xfe",
        record(),
        record() + b"\r",
        b" " + record(),
    ],
)
def test_what_is_one_record_by_itself_or_none_at_all_is_left_as_it_is(text: bytes) -> None:
    assert expand(text) is None


def test_an_array_holds_its_elements_each_with_its_place() -> None:
    assert expand(b' [ {"a":1}, {"b":NaN},\n{"c":3} ] ') == [
        Part(b'{"a":1}', 3),
        Part(b'{"b":NaN}', 12),
        Part(b'{"c":3}', 23),
    ]


def test_an_array_cut_short_holds_its_whole_elements() -> None:
    assert data_of(expand(b"[" + record() + b"," + record()[:50]) or []) == [record(), record()[:50]]


@pytest.mark.parametrize("form", [form for form in FORMS if "event" in form or "answer" in form])
def test_envelopes_hold_their_records(form: str) -> None:
    records = [record(key=key) for key in ("a", "é", '"]}')]
    assert data_of(expand(FORMS[form](records)) or []) == records


def entry(data: Any) -> dict[str, Any]:
    return {"kinesis": {"data": data}, "eventSource": "aws:kinesis"}


def opened(data: Any) -> bytes:
    """What an entry with such data is opened to, between two that are sound."""
    event = {"Records": [entry(b64encode(record()).decode()), entry(data), entry(b64encode(b"2").decode())]}
    before, between, after = open_envelope(written(event)) or []
    assert (before, after) == (record(), b"2")
    return between


@pytest.mark.parametrize("data", ["no base64!", "YQ", "YQ=", "Yé==", "YQ==YQ==!", "\n", record().decode()])
def test_data_that_is_not_base64_is_handed_on_as_it_is(data: str) -> None:
    assert opened(data) == data.encode()


@pytest.mark.parametrize("data", ["", 7, None, ["YQ=="], {"S": "YQ=="}])
def test_an_entry_without_data_is_handed_on_as_it_is(data: Any) -> None:
    assert opened(data) == written({"data": data})


@pytest.mark.parametrize(
    "other", [7, None, "text", [], {}, {"kinesis": 7}, {"kinesis": []}, {"messageId": "m", "body": ""}]
)
def test_entries_of_other_kinds_are_handed_on_as_they_are(other: Any) -> None:
    assert open_envelope(written({"Records": [other]})) == [written(other)]


def test_an_entry_with_a_number_beyond_all_floats_costs_no_other() -> None:
    event = b'{"Records":[{"kinesis":{"data":"YQ=="}},{"a":1e999}]}'
    assert open_envelope(event) == [b"a", b'{"a":1e999}']


def test_an_entry_of_a_lambda_event_is_an_envelope_too() -> None:
    whole = lambda_event([record(key="1"), record(key="2"), record(key="3")])
    assert data_of(expand(whole[:-200]) or [])[1:3] == [record(key="1"), record(key="2")]


def test_a_streams_event_holds_its_records_as_they_are() -> None:
    assert open_envelope(b'{"Records":[' + record() + b"]}") == [record()]


def test_an_envelope_without_records_holds_none() -> None:
    assert expand(b'{"Records":[],"NextShardIterator":"A"}') == []


@pytest.mark.parametrize("names", ["Records", "records"])
def test_a_change_of_an_item_with_records_in_it_is_no_envelope(names: str) -> None:
    assert expand(written({names: [], **change()})) is None
    assert expand(record(NewImage={names: {"L": []}})) is None


def test_a_byte_order_mark_is_no_part_of_a_record() -> None:
    assert expand(b"\xef\xbb\xbf" + record()) == [Part(record(), 3)]


def test_places_in_a_line_count_from_its_beginning() -> None:
    first, second = record(key="1"), record(key="2")
    assert expand(b"  " + first + b" " + second) == [Part(first, 2), Part(second, 3 + len(first))]


LEAVES_ON_LINES = record(NewImage={"tags": {"SS": ["a", "b"]}, "all": {"L": [{"S": "x"}]}})


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"", Form.LINES),
        (b"\n\n", Form.LINES),
        (record(), Form.LINES),
        (b"\n\xef\xbb\xbf" + record() + b"\n", Form.LINES),
        (record() + b"\n" + record()[:100], Form.LINES),
        (b"hello\n" + record() + b"\n", Form.LINES),
        (b'{"eventID":"cut\n' + record() + b"\n" + record() + b"\n", Form.LINES),
        (b"null\n" + record() + b"\n", Form.LINES),
        (lambda_event([record()]) + b"\n" + lambda_event([record()]), Form.LINES),
        (b"[" + record() + b"]\n", Form.LINES),
        (b"id,tenant\n1,2\n", Form.LINES),
        (record() + record(), Form.DOCUMENTS),
        (record() + record() + b"\n", Form.DOCUMENTS),
        (record()[:100], Form.DOCUMENTS),
        (pretty(record()), Form.DOCUMENTS),
        (pretty(LEAVES_ON_LINES), Form.DOCUMENTS),
        (pretty(LEAVES_ON_LINES)[:-30], Form.DOCUMENTS),
        (pretty(firehose_event([record()])), Form.DOCUMENTS),
        (b"[\n" + record() + b",\n" + record() + b"\n]\n", Form.ARRAY),
        (b"[" + record() + b"," + record()[:60], Form.ARRAY),
        (b"[\n" + record() + b",\n" + record()[:60] + b",\n" + record() + b"\n]\n", Form.ARRAY),
        (b"PAR1\x15\x04", Form.PARQUET),
    ],
)
def test_the_form_is_told_from_the_beginning(head: bytes, form: Form) -> None:
    assert form_of(head) is form


def test_leaves_on_lines_of_their_own_do_not_make_lines_of_a_pretty_printed_record() -> None:
    # Written as some tools do: short arrays and objects stay on one line.
    head = b'{\n "eventID": "e",\n "dynamodb": {"NewImage": {"all": {"L": [\n  {"S": "x"},\n  {"S": "y"}\n ]}}}\n}\n'
    assert form_of(head) is Form.DOCUMENTS
    assert form_of(head[:-3]) is Form.DOCUMENTS


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (b"{}", 2),
        (b'{"a":"}"}x', 9),
        (b'{"a":"\\"}"}', 11),
        (b"[[1],[2]]]", 9),
        (b"[{}", None),
        (b'{"a":"}', None),
        (b'{"a":"\\', None),
        (b"", None),
    ],
)
def test_a_value_ends_where_its_brackets_do(text: bytes, end: int | None) -> None:
    assert first_value_end(text) == end


@given(st.one_of(st.binary(max_size=30), tricky_records()))
@example(b'"\xff"')
def test_whether_bytes_are_a_document_is_json_s_own_rule(text: bytes) -> None:
    try:
        json.loads(text.decode("latin-1"), parse_constant=lambda name: 1 / 0)
        expected = True
    except (ValueError, ZeroDivisionError):
        expected = False
    assert is_document(text) == expected
