from collections.abc import Iterable
from pathlib import Path

import pytest

from connectors.recordings import segments
from connectors.recordings.chunks import Chunk
from connectors.recordings.segments import Segment, plan_segments
from tests.connectors.recorded import FORMS, described, documents_in, record, store

RECORDS = [record(key=f"{number:02d}", size=10 + 17 * number) for number in range(30)]


def planned(path: Path) -> list[Segment]:
    return list(plan_segments(described(path), lambda chunks: None))


@pytest.mark.parametrize("page_bytes", [1, 100, 1_000, 3_000])
@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith("lines") and "commas" not in form])
def test_pages_of_any_size_hold_all_records_once_at_their_places(
    form: str, page_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "PAGE_BYTES", page_bytes)
    # The first line tells that there are lines.
    content = RECORDS[0] + b"\n" + FORMS[form](RECORDS[1:])
    pages = planned(store(tmp_path / "file", content))
    assert len(pages) > 1
    found = [each for page in pages for each in documents_in(list(page.chunks()))]
    assert [data for _, data in found] == RECORDS
    assert all(content[place:].startswith(data) for place, data in found)


@pytest.mark.parametrize(("before_end_bytes", "pages"), [(0, 1), (1, 1), (2, 2)])
def test_a_cut_goes_behind_the_line_that_it_hits(
    before_end_bytes: int, pages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last line is a line feed alone.
    content = FORMS["lines"](RECORDS) + b"\n"
    monkeypatch.setattr(segments, "PAGE_BYTES", len(content) - before_end_bytes)
    assert len(planned(store(tmp_path / "file", content))) == pages


def test_pages_are_about_as_large_as_asked_for_and_end_with_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "PAGE_BYTES", 2_000)
    content = FORMS["lines"](RECORDS)
    pages = planned(store(tmp_path / "file", content))
    assert [page.start_byte for page in pages[1:]] == [page.end_byte for page in pages[:-1]]
    assert pages[-1].end_byte == len(content)
    for page in pages[:-1]:
        assert page.end_byte is not None
        assert content[page.end_byte - 1 : page.end_byte] == b"\n"
        assert 2_000 < page.end_byte - page.start_byte <= 2_000 + len(RECORDS[-1]) + 1


def test_a_long_line_makes_a_long_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "PAGE_BYTES", 1_000)
    long = record(size=200_000)
    first, second = planned(store(tmp_path / "file", long + b"\n" + RECORDS[0] + b"\n" + RECORDS[1]))
    assert documents_in(list(first.chunks())) == [(0, long)]
    assert [data for _, data in documents_in(list(second.chunks()))] == RECORDS[:2]


@pytest.mark.parametrize("form", ["concatenated", "an array over lines", "pretty-printed"])
def test_what_has_no_lines_is_one_segment(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "PAGE_BYTES", 100)
    [segment] = planned(store(tmp_path / "file", FORMS[form](RECORDS)))
    assert (segment.start_byte, segment.end_byte) == (0, None)
    [segment] = planned(store(tmp_path / "packed", FORMS["lines"](RECORDS), compress=True))
    assert (segment.start_byte, segment.end_byte) == (0, None)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([5, 7, 9], [5, 7, 9]),
        ([5, 3, 9], [5, 5, 9]),
        ([None, 3, None], [None, 3, 3]),
        ([None, None, None], [None, None, None]),
    ],
)
def test_a_page_begins_no_earlier_than_the_pages_before_it(
    told: list[int | None], expected: list[int | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = FORMS["lines"](RECORDS)
    monkeypatch.setattr(segments, "PAGE_BYTES", len(content) // 3)
    times = iter(told)
    pages = plan_segments(described(store(tmp_path / "file", content)), lambda chunks: next(times))
    assert [page.first_ms for page in pages] == expected


def test_the_first_time_is_looked_for_in_the_page_alone_and_in_small_bites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "PAGE_BYTES", 100_000)
    many = [record(key=str(number), size=900) for number in range(300)]
    seen: list[list[bytes]] = []

    def look(chunks: Iterable[Chunk]) -> None:
        bites = list(chunks)
        assert max(chunk.read_bytes for chunk in bites) <= (64 << 10) + 1_200
        seen.append([document for chunk in bites for document in chunk.documents])

    pages = list(plan_segments(described(store(tmp_path / "file", FORMS["lines"](many))), look))
    assert [document for documents in seen for document in documents] == many
    assert len(seen) == len(pages) > 2


def test_beyond_a_page_is_the_rest_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "PAGE_BYTES", 2_000)
    pages = planned(store(tmp_path / "file", FORMS["lines"](RECORDS)))
    for page in pages:
        inside = [data for _, data in documents_in(list(page.chunks()))]
        beyond = [data for _, data in documents_in(list(page.chunks_beyond()))]
        assert beyond == RECORDS[RECORDS.index(inside[-1]) + 1 :]
    whole = planned(store(tmp_path / "packed", FORMS["lines"](RECORDS), compress=True))
    assert list(whole[0].chunks_beyond()) == []
