"""Many records looked at together are valid where each of them is."""

from hypothesis import example, given
from hypothesis import strategies as st

from connectors.dynamodb.utf8 import are_utf8


def is_utf8(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.lists(st.binary(max_size=8) | st.text(max_size=8).map(str.encode)))
@example([])
@example(["ü".encode()[:1], "ü".encode()[1:]])
@example([b"\xed\xa0\x80"])
@example([b"\xc0\xaf"])
@example(["\U0010ffff".encode(), b"\xf4\x90\x80\x80"])
def test_records_are_utf_8_where_each_of_them_is(records: list[bytes]) -> None:
    assert are_utf8(records) == all(map(is_utf8, records))
