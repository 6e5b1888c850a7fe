import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from connectors.recordings import chunks
from connectors.recordings.chunks import read_chunks
from connectors.recordings.files import read_blocks
from tests.connectors.recorded import FORMS, described, read, record, records_of, store

RECORDS = [record(key=f"{number:02d}}}{{", size=10 + 17 * number) for number in range(12)]
BLOCKS_BYTES = [7, 100, 101, 4096, None]


@pytest.mark.parametrize("block_bytes", BLOCKS_BYTES)
@pytest.mark.parametrize("form", FORMS)
def test_any_form_in_blocks_of_any_size_holds_the_same_records(
    form: str, block_bytes: int | None, tmp_path: Path
) -> None:
    content = FORMS[form](RECORDS)
    plain = store(tmp_path / "plain", content)
    if "pretty" in form and "event" not in form:
        content_records = [each for _, each in read(plain)[0]]
        assert [len(each) > len(whole) for each, whole in zip(content_records, RECORDS, strict=True)] == [True] * 12
    else:
        assert records_of(plain, block_bytes) == RECORDS
    assert records_of(store(tmp_path / "packed", content, compress=True), block_bytes) == records_of(plain)


@pytest.mark.parametrize("block_bytes", BLOCKS_BYTES)
@pytest.mark.parametrize("form", [form for form in FORMS if "event" not in form and "answer" not in form])
def test_a_record_is_at_its_place_in_the_decompressed_file(form: str, block_bytes: int | None, tmp_path: Path) -> None:
    content = FORMS[form](RECORDS)
    for compress in (False, True):
        found, _ = read(store(tmp_path / "file", content, compress=compress), block_bytes)
        assert len(found) == len(RECORDS)
        assert all(content[place:].startswith(data) for place, data in found if data.startswith(b"{\n"))
        assert all(content[place:].lstrip(b"\xef\xbb\xbf\r\n ").startswith(data) for place, data in found)


@pytest.mark.parametrize("block_bytes", BLOCKS_BYTES)
@pytest.mark.parametrize("form", FORMS)
def test_what_was_read_adds_up_to_the_file(form: str, block_bytes: int | None, tmp_path: Path) -> None:
    content = FORMS[form](RECORDS)
    found = read_chunks(described(store(tmp_path / "file", content)), block_bytes=block_bytes)
    read_bytes = sum(chunk.read_bytes for chunk in found)
    # The last line counts as if a line feed ended it.
    assert read_bytes - len(content) in (0, 1)


def test_lines_between_two_bounds_are_read_alone(tmp_path: Path) -> None:
    path = store(tmp_path / "lines", b"".join(each + b"\n" for each in RECORDS))
    start, end = len(RECORDS[0]) + 1, sum(map(len, RECORDS[:3])) + 3
    for block_bytes in BLOCKS_BYTES:
        found = list(read_chunks(described(path), start, end, block_bytes))
        assert [document for chunk in found for document in chunk.documents] == RECORDS[1:3]
        assert [place for chunk in found for place in chunk.places()] == [start, start + len(RECORDS[1]) + 1]


def test_very_short_lines_come_in_pieces_with_their_places(tmp_path: Path) -> None:
    content = b"a\n" * 20_000 + b"bc"
    found = list(read_chunks(described(store(tmp_path / "short", content))))
    assert max(len(chunk.documents) for chunk in found) <= 8192
    places = [place for chunk in found for place in chunk.places()]
    assert places == list(range(0, 40_001, 2))
    assert sum(chunk.read_bytes for chunk in found) == len(content)
    assert [document for chunk in found for document in chunk.documents] == [b"a"] * 20_000 + [b"bc"]


def test_a_fault_is_told_once_when_its_chunk_comes_in_pieces(tmp_path: Path) -> None:
    packed = gzip.compress(b"a\n" * 20_000)[:-4]
    found, faults = read(store(tmp_path / "short", packed))
    assert (len(found), len(faults)) == (20_000, 1)


@pytest.mark.parametrize("block_bytes", [100, 1000, None])
def test_a_line_that_is_too_long_is_one_fault_and_costs_no_other(
    block_bytes: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "LONGEST_LINE_BYTES", 4_000)
    # Its beginning and its end fit together: of a line read in part, neither must be taken for a record.
    long = record(size=60_000)
    content = b"\n".join([*RECORDS[:3], long, *RECORDS[3:]]) + b"\n"
    found, faults = read(store(tmp_path / "lines", content), block_bytes)
    if block_bytes is None:
        # Nobody has to hold a line that fits the block.
        assert faults == []
        return
    assert [data for _, data in found] == RECORDS
    assert all(content[place:].startswith(data) for place, data in found)
    [fault] = faults
    assert fault.place == content.index(long)
    assert long.startswith(fault.record)
    assert "4,000 bytes" in fault.reason


def test_a_last_line_that_is_too_long_is_one_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "LONGEST_LINE_BYTES", 4_000)
    found, faults = read(store(tmp_path / "lines", RECORDS[0] + b"\n" + record(size=60_000)), 1000)
    assert ([data for _, data in found], len(faults)) == ([RECORDS[0]], 1)


@pytest.mark.parametrize("form", ["concatenated", "an array over lines", "pretty-printed"])
@pytest.mark.parametrize("broken", [b'{"eventID":"' + b"x" * 60_000, b"x" * 60_000, b'{"dynamodb":[' + b"7," * 30_000])
def test_a_document_that_never_ends_is_one_fault_and_costs_no_other(
    form: str, broken: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "LONGEST_DOCUMENT_BYTES", 8_000)
    content = FORMS[form]([RECORDS[0], b'{"eventID":"here"}', *RECORDS[1:]])
    content = content.replace(b'{"eventID":"here"}', broken).replace(b'{\n  "eventID": "here"\n}', broken)
    assert broken in content
    found, faults = read(store(tmp_path / "documents", content), 500)
    whole = {bytes(data.replace(b" ", b"").replace(b"\n", b"")) for _, data in found}
    assert whole >= {each.replace(b" ", b"") for each in RECORDS}
    assert len(found) + len(faults) - len(RECORDS) in (1, 2)
    assert len(faults) == 1


def many_blocks(megabytes: int) -> Iterator[bytes]:
    yield RECORDS[0] + b"\n"
    yield b'{"eventID":"'
    for _ in range(megabytes):
        yield b"x" * (1 << 20)
    yield b'"}\n' + RECORDS[1] + b"\n"


def test_a_line_of_70_mib_takes_bounded_memory_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.writelines(many_blocks(70))
    file_described = described(path)
    tracemalloc.start()
    found = list(read_chunks(file_described))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [document for chunk in found for document in chunk.documents] == RECORDS[:2]
    assert len([chunk for chunk in found if chunk.fault]) == 1
    # The line is held up to the longest, once more when it is put together.
    assert peak_bytes < 2.2 * chunks.LONGEST_LINE_BYTES


@pytest.mark.parametrize("form", ["lines", "concatenated"])
def test_a_document_of_10_mib_is_read(form: str, tmp_path: Path) -> None:
    large = record(size=10 << 20)
    given = [record(key="1"), large, record(key="2")]
    for first in (0, 1):
        assert records_of(store(tmp_path / "large", FORMS[form](given[first:]))) == given[first:]


@pytest.mark.parametrize("form", ["lines", "concatenated", "an array over lines", "Lambda events by the line"])
def test_of_a_gzip_file_cut_anywhere_everything_before_the_cut_is_kept(form: str, tmp_path: Path) -> None:
    content = FORMS[form](RECORDS)
    packed = gzip.compress(content, 1)
    for cut in range(20, len(packed), 37):
        path = store(tmp_path / "cut.gz", packed[:cut])
        blocks = [block for block in read_blocks(str(path), compressed=True) if isinstance(block, bytes)]
        unpacked = b"".join(blocks)
        found, faults = read(path, 200)
        whole = [data for _, data in found]
        assert whole == RECORDS[: len(whole)]
        # All that is left of it is less than one document, and that is told with the fault.
        end = found[-1][0] + len(found[-1][1]) if found else 0
        [fault] = faults
        assert "ends early" in fault.reason
        assert form.startswith("Lambda") or unpacked[end:].strip(b"\n,[]") in (b"", fault.record.strip(b"\n,[]"))
        assert unpacked[fault.place :].startswith(fault.record)


def parquet(path: Path, **columns: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=5)
    return path


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.string(), pyarrow.large_string()])
def test_rows_of_parquet_are_records_at_their_rows(kind: Any, tmp_path: Path) -> None:
    data = pyarrow.array([each.decode() for each in RECORDS]).cast(kind)
    path = parquet(tmp_path / "rows", arrival_time_ms=list(range(12)), data=data, shard=["s"] * 12)
    assert read(path) == (list(enumerate(RECORDS)), [])
    assert all(chunk.in_rows for chunk in read_chunks(described(path)))


def test_arrival_times_are_not_needed(tmp_path: Path) -> None:
    assert records_of(parquet(tmp_path / "rows", data=RECORDS)) == RECORDS


def test_rows_are_read_few_at_a_time_where_they_are_large(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    large = [record(key=str(number), size=1 << 20) for number in range(9)]
    pyarrow.parquet.write_table(pyarrow.table({"data": large}), path, compression="none", use_dictionary=False)
    sizes = [len(chunk.documents) for chunk in read_chunks(described(path))]
    assert sum(sizes) == 9
    assert max(sizes) <= 4


def test_a_row_without_data_is_a_record_all_the_same(tmp_path: Path) -> None:
    found = records_of(parquet(tmp_path / "rows", data=[RECORDS[0], None, b"", RECORDS[1]]))
    assert found == [RECORDS[0], b"null", b"null", RECORDS[1]]


def test_a_string_that_is_not_utf8_is_left_to_the_decoder(tmp_path: Path) -> None:
    broken = pyarrow.StringArray.from_buffers(
        1, pyarrow.py_buffer(b"\x00\x00\x00\x00\x02\x00\x00\x00"), pyarrow.py_buffer(b"\xff\xfe")
    )
    assert records_of(parquet(tmp_path / "rows", data=broken)) == [b"\xff\xfe"]


def test_damage_in_parquet_is_one_fault_and_costs_no_row_of_another_group(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    pyarrow.parquet.write_table(
        pyarrow.table({"data": RECORDS}), path, row_group_size=4, compression="none", use_dictionary=False
    )
    content = bytearray(path.read_bytes())
    second = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    content[second : second + 8] = b"\xff" * 8
    found, faults = read(store(tmp_path / "damaged", bytes(content)))
    assert found == [*enumerate(RECORDS[:4]), *enumerate(RECORDS[8:], 8)]
    assert [(fault.place, fault.reason.split(":")[0]) for fault in faults] == [
        (4, "rows 4 to 7 of the Parquet file are damaged")
    ]


@pytest.mark.parametrize("kept_bytes", [4, 50, -1])
def test_a_parquet_file_cut_short_is_one_fault(kept_bytes: int, tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows", data=RECORDS)
    found, [fault] = read(store(tmp_path / "cut", path.read_bytes()[:kept_bytes]))
    assert (found, fault.place) == ([], 0)
    assert fault.reason.startswith("the Parquet file is damaged: ")
