from collections.abc import Sequence
from pathlib import Path

import pytest

from connectors.dynamodb.change import Malformed, TableSchema
from connectors.dynamodb.clock import RECORDS_AROUND
from connectors.dynamodb.fast_path import FastPath, WriteCost
from connectors.recordings import files as recording_files
from connectors.recordings.chunks import Chunk
from connectors.recordings.segments import Segment
from jobs.recorded.decoded import OpenSegment, decode_chunk, expand_chunk, first_time_ms
from tests.connectors.recorded import FORMS, described, lambda_event, record, store

AT_MS = 1_763_000_000_000
FAST_PATH = FastPath({"visits": TableSchema(None)})


def chunk(*documents: bytes, starts: Sequence[int] | None = None, in_rows: bool = False) -> Chunk:
    return Chunk(list(documents), 0, starts, sum(map(len, documents)), in_rows=in_rows)


def test_a_chunk_of_single_records_is_left_as_it_is() -> None:
    given = chunk(record(AT_MS, "a"), b"broken", record(AT_MS, "b"))
    decoded = decode_chunk(given, FAST_PATH)
    assert decoded.chunk is given
    assert [(cost.partition_key, cost.document) for cost in decoded.costs] == [("a", 0), ("b", 2)]
    [(document, outcome)] = decoded.others
    assert (document, type(outcome)) == (1, Malformed)


def test_records_are_parted_and_keep_their_order_and_places() -> None:
    a, b, c, d = (record(AT_MS, key) for key in "abcd")
    event = lambda_event([b, b"broken", c])
    decoded = decode_chunk(chunk(a, b"", event, b"\xef\xbb\xbf" + d + a, b" "), FAST_PATH)
    assert [cost.partition_key for cost in decoded.costs] == ["a", "b", "c", "d", "a"]
    assert [document for document, _ in decoded.others] == [2]
    event_at = len(a) + 2
    last_at = event_at + len(event) + 1 + 3
    assert decoded.chunk.places() == [0, event_at, event_at, event_at, last_at, last_at + len(d)]


def test_what_comes_with_a_chunk_stays_with_it() -> None:
    given = chunk(record(AT_MS) + record(AT_MS), starts=[70])
    expanded = expand_chunk(given, [0])
    assert expanded is not None
    assert (expanded.places(), expanded.read_bytes) == ([70, 70 + len(record(AT_MS))], given.read_bytes)


def test_records_of_a_row_are_in_that_row() -> None:
    expanded = expand_chunk(chunk(record(AT_MS) + record(AT_MS), starts=[5], in_rows=True), [0])
    assert expanded is not None
    assert expanded.places() == [5, 5]


def test_only_suspects_are_looked_into() -> None:
    given = chunk(record(AT_MS) + record(AT_MS), b"")
    assert expand_chunk(given, []) is None
    assert [part[:10] for part in (expand_chunk(given, [1]) or given).documents] == [record(AT_MS)[:10]]


@pytest.mark.parametrize("form", FORMS)
def test_the_first_time_is_found_in_any_form(form: str, tmp_path: Path) -> None:
    content = [record(AT_MS + 1_000 * number) for number in (3, 1, 2, 9)]
    segment = Segment(described(store(tmp_path / "file", FORMS[form](content))))
    assert first_time_ms(segment.first_chunks()) == AT_MS + 1_000


@pytest.mark.parametrize(("place", "is_first"), [(13, True), (14, True), (15, False)])
def test_the_first_time_is_the_earliest_of_fifteen(place: int, is_first: bool) -> None:
    times = [AT_MS] * 30
    times[place] = AT_MS - 500
    assert first_time_ms([chunk(*map(record, times))]) == (AT_MS - 500 if is_first else AT_MS)
    assert first_time_ms([chunk(record(at_ms)) for at_ms in times]) == (AT_MS - 500 if is_first else AT_MS)


def test_all_records_that_tell_a_time_count_for_the_first() -> None:
    unweighed = record(AT_MS, SizeBytes=None)
    microseconds = record(AT_MS * 1_000, ApproximateCreationDateTimePrecision="MICROSECOND")
    two_keys = record(AT_MS, Keys={"a": {"S": "a"}, "b": {"S": "b"}}, tableName="not in the settings")
    for early in (unweighed, microseconds, two_keys):
        assert first_time_ms([chunk(record(AT_MS + 9), early, b"junk")]) == AT_MS


@pytest.mark.parametrize("at_ms", [0, -5, (AT_MS + 54_000 * 365 * 86_400_000) * 1_000, 10**30, "soon", None, 1.5])
def test_a_time_that_cannot_be_is_no_first_time(at_ms: object) -> None:
    broken = record(ApproximateCreationDateTime=at_ms)
    assert first_time_ms([chunk(broken)]) is None
    assert first_time_ms([chunk(broken, record(AT_MS))]) == AT_MS


def test_what_is_no_change_at_all_has_no_first_time() -> None:
    assert first_time_ms([chunk(record(AT_MS, eventSource="aws:s3"), b"junk", b"")]) is None
    assert first_time_ms([]) is None


def test_too_few_times_near_the_beginning_tell_nothing() -> None:
    wrong, junk = record(AT_MS), chunk(b"x" * (1 << 20))
    assert first_time_ms([chunk(wrong), *[junk] * 9]) is None
    assert first_time_ms([chunk(wrong), *[junk] * 2]) == AT_MS


def opened(path: Path, content: Sequence[bytes], **fields: int) -> OpenSegment[WriteCost]:
    store(path, FORMS["lines"](content))
    return OpenSegment(Segment(described(path), **fields), FAST_PATH)


def all_chunks(segment: OpenSegment[WriteCost]) -> list[bytes]:
    found = []
    while decoded := segment.next_chunk():
        found += decoded.chunk.documents
    return found


def test_looking_ahead_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 700)
    content = [record(AT_MS + number, f"k{number}") for number in range(40)]
    segment = opened(tmp_path / "file", content)
    found = []
    following = []
    while decoded := segment.next_chunk():
        for index in range(len(decoded.costs)):
            following.append(segment.following_ms(decoded.costs, index))
        found += decoded.chunk.documents
    assert found == content
    times = [AT_MS + number for number in range(40)]
    assert following == [times[number + 1 : number + 1 + RECORDS_AROUND] for number in range(40)]


def test_looking_ahead_goes_beyond_a_page(tmp_path: Path) -> None:
    content = [record(AT_MS + number, "k") for number in range(40)]
    page_bytes = 5 * (len(content[0]) + 1)
    segment = opened(tmp_path / "file", content, end_byte=page_bytes)
    decoded = segment.next_chunk()
    assert decoded is not None
    assert segment.following_ms(decoded.costs, 3) == [AT_MS + number for number in range(4, 19)]
    assert all_chunks(segment) == []


def test_looking_ahead_ends_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_files, "BLOCK_BYTES", 1_000)
    content = [record(AT_MS), *[b"junk" * 100] * 200, record(AT_MS + 1)]
    segment = opened(tmp_path / "file", content)
    decoded = segment.next_chunk()
    assert decoded is not None
    assert segment.following_ms(decoded.costs, 0) == []
    assert decoded.chunk.documents + all_chunks(segment) == content


@pytest.mark.parametrize(("in_rows", "unit"), [(False, "byte"), (True, "row")])
def test_a_place_is_told_with_its_file_and_unit(in_rows: bool, unit: str, tmp_path: Path) -> None:
    segment = opened(tmp_path / "file", [])
    assert segment.position(chunk(in_rows=in_rows), 7) == {"file": str(tmp_path / "file"), unit: 7}
