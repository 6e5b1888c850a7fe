import gzip
import os
import resource
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from connectors.recordings.chunks import read_chunks
from connectors.recordings.files import RecordingError, TornGzip, find_recordings, read_blocks
from connectors.recordings.forms import Form
from tests.connectors.recorded import described, record, store

CONTENT = b"".join(record(key=str(number)) + b"\n" for number in range(300))


def contents(path: Path, block_bytes: int | None = None) -> tuple[bytes, list[str]]:
    """What a gzip file holds, and why no more."""
    blocks = list(read_blocks(str(path), compressed=True, block_bytes=block_bytes))
    reasons = [block.reason for block in blocks if isinstance(block, TornGzip)]
    return b"".join(block for block in blocks if isinstance(block, bytes)), reasons


def names(paths: list[Path], below: Path) -> list[str]:
    return [str(Path(file.path).relative_to(below)) for file in find_recordings(paths)]


def test_a_directory_means_all_files_below_it_but_hidden_ones_and_markers(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/1.gz", "a/b/no-extension", ".hidden", ".cache/x", "a/_SUCCESS", "a/_x/y.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        store(tmp_path / name, record())
    assert names([tmp_path], tmp_path) == ["a/1.gz", "a/_x/y.txt", "a/b/no-extension", "b.jsonl"]


def test_a_hidden_file_that_is_named_is_meant(tmp_path: Path) -> None:
    assert names([store(tmp_path / ".hidden", record())], tmp_path) == [".hidden"]


def test_each_file_is_read_once_however_often_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "a", record())
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for paths in ([path, path], [tmp_path, path], [Path("a"), path], [path, tmp_path / "link"]):
        assert len(find_recordings(paths)) == 1


def test_the_order_of_paths_does_not_matter(tmp_path: Path) -> None:
    paths = [store(tmp_path / name, record()) for name in "abc"]
    assert find_recordings(paths) == find_recordings(paths[::-1]) == find_recordings([tmp_path])


def refusal(*paths: Path | str) -> str:
    with pytest.raises(RecordingError) as raised:
        find_recordings(paths)
    return str(raised.value)


def test_what_is_missing_is_refused_by_its_name(tmp_path: Path) -> None:
    store(tmp_path / "here", record())
    (tmp_path / "broken link").symlink_to(tmp_path / "nowhere")
    for name in ("missing", "here/below a file", "broken link", "*.jsonl"):
        assert refusal(tmp_path / "here", tmp_path / name) == f"{tmp_path / name}: no such file or directory"


def test_a_directory_without_a_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    store(tmp_path / "sub" / "_SUCCESS", b"")
    assert refusal(tmp_path) == f"{tmp_path}: the directory holds no recording"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    path = store(tmp_path / "closed" / "file", record())
    path.chmod(0)
    assert refusal(path) == f"{path}: Permission denied"
    path.chmod(0o600)
    (tmp_path / "closed").chmod(0)
    assert refusal(path) == f"{path}: Permission denied"
    (tmp_path / "closed").chmod(0o700)


def test_trouble_in_looking_at_a_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = store(tmp_path / "file", record())

    def refuse(self: Path, mode: str = "r") -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path) == f"{path}: Permission denied"
    assert refusal("x" * 5_000).endswith("x: File name too long")


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == f"{tmp_path / 'pipe'}: not a regular file"
    assert refusal("/dev/null") == "/dev/null: not a regular file"


def test_a_name_that_no_result_could_tell_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path / os.fsdecode(b"caf\xe9"), record())
    assert refusal(path).endswith("its name is not valid UTF-8")


def test_an_empty_file_is_a_recording_of_nothing(tmp_path: Path) -> None:
    for content in (b"", gzip.compress(b"")):
        file = described(store(tmp_path / "empty", content))
        assert list(read_chunks(file)) == []


@pytest.mark.parametrize("name", ["x.jsonl", "x.gz", "x.parquet", "x.txt", "x"])
def test_the_name_of_a_file_says_nothing_of_its_form(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    file = described(store(path, CONTENT))
    assert (file.compressed, file.form, file.content_bytes) == (False, Form.LINES, len(CONTENT))
    file = described(store(path, CONTENT, compress=True))
    assert (file.compressed, file.form, file.content_bytes) == (True, Form.LINES, len(CONTENT))
    pyarrow.parquet.write_table(pyarrow.table({"data": [record()]}), path)
    assert described(path).form is Form.PARQUET


@pytest.mark.parametrize("size_bytes", [200_000, 300_000, 3_000_000])
def test_lines_are_told_from_documents_however_long_the_first_is(size_bytes: int, tmp_path: Path) -> None:
    long = record(size=size_bytes)
    for compress in (False, True):
        assert described(store(tmp_path / "a", long + b"\n" + record(), compress=compress)).form is Form.LINES
        assert described(store(tmp_path / "b", long + record(), compress=compress)).form is Form.DOCUMENTS


def test_parquet_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other"
    pyarrow.parquet.write_table(pyarrow.table({"body": [b""]}), path)
    assert refusal(path) == f'{path}: not a recording: this Parquet file has no column "data"'
    pyarrow.parquet.write_table(pyarrow.table({"data": [5]}), path)
    assert refusal(path) == f'{path}: not a recording: the column "data" of this Parquet file holds int64, not bytes'
    packed = store(tmp_path / "packed", path.read_bytes(), compress=True)
    assert refusal(packed) == f"{packed}: Parquet inside gzip: decompress it first"


@pytest.mark.parametrize("block_bytes", [10, 1000, None])
def test_members_and_zeros_after_them_make_one_file(block_bytes: int | None, tmp_path: Path) -> None:
    packed = b"".join(gzip.compress(CONTENT[at : at + 20_000]) for at in range(0, len(CONTENT), 20_000))
    for ending in (b"", b"\0", b"\0" * 3_000, gzip.compress(b"")):
        assert contents(store(tmp_path / "members", packed + ending), block_bytes) == (CONTENT, [])


@pytest.mark.parametrize("block_bytes", [10, 1000, None])
def test_all_that_a_cut_file_can_tell_is_told(block_bytes: int | None, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)
    known = 0
    for cut in (*range(2, len(packed), 97), len(packed) - 1):
        content, [reason] = contents(store(tmp_path / "cut", packed[:cut]), block_bytes)
        assert CONTENT.startswith(content)
        assert len(content) >= known
        known = len(content)
        assert reason == f"the gzip stream ends early, at byte {cut} of the file"
    assert known == len(CONTENT)


@pytest.mark.parametrize("block_bytes", [100, None])
def test_all_before_damage_is_told(block_bytes: int | None, tmp_path: Path) -> None:
    first, second = gzip.compress(CONTENT), gzip.compress(CONTENT[::-1])
    for damaged_at in (len(first) - 6, len(first) + 1, len(first) + 8_000):
        packed = bytearray(first + second)
        packed[damaged_at : damaged_at + 4] = b"\xff\xff\xff\xff"
        content, [reason] = contents(store(tmp_path / "damaged", bytes(packed)), block_bytes)
        assert content.startswith(CONTENT)
        assert "damaged" in reason
        if damaged_at > len(first) + 8:
            intact = contents(store(tmp_path / "cut", bytes(packed[:damaged_at])))[0]
            assert content.startswith(intact)


def test_what_follows_the_last_member_and_is_none_is_damage(tmp_path: Path) -> None:
    content, [reason] = contents(store(tmp_path / "tail", gzip.compress(CONTENT) + b"tail"))
    assert (content, "damaged" in reason) == (CONTENT, True)


def test_a_highly_compressed_file_comes_in_small_blocks(tmp_path: Path) -> None:
    path = store(tmp_path / "zeros", gzip.compress(b"0" * 30_000_000))
    blocks = list(read_blocks(str(path), compressed=True))
    assert max(len(block) for block in blocks if isinstance(block, bytes)) <= 1 << 20
    assert sum(len(block) for block in blocks if isinstance(block, bytes)) == 30_000_000


def test_more_files_can_be_under_way_than_a_process_may_open(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    path, packed = store(tmp_path / "a", CONTENT), store(tmp_path / "b", CONTENT, compress=True)
    open_by_now = max(int(each.name) for each in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, open_by_now + 50), hard))
    try:
        under_way = [read_chunks(described(each), block_bytes=1000) for each in [path, packed] * 50]
        assert {next(chunks).documents[0] for chunks in under_way} == {record(key="0")}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    file = described(store(tmp_path / "gone", CONTENT))
    Path(file.path).unlink()
    with pytest.raises(FileNotFoundError):
        list(read_chunks(file))
