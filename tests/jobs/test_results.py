import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from jobs.capacity.result_files import LINE_FILES
from jobs.results import SUMMARY_FILE, Results, ResultsError

SUMMARY = {"events": 3, "wall_s": 1.5}


def publish(out: Path, *lines: tuple[str, tuple[int | str, ...], str], summary: dict[str, Any] | None = None) -> None:
    with Results(out, LINE_FILES) as results:
        for line in lines:
            results.add(*line)
        results.publish(summary or SUMMARY)


def content(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_every_file_is_there_though_it_has_no_lines(tmp_path: Path) -> None:
    publish(tmp_path / "out")
    assert names(tmp_path / "out") == sorted([*LINE_FILES, SUMMARY_FILE])
    assert all((tmp_path / "out" / name).read_bytes() == b"" for name in LINE_FILES)
    assert json.loads((tmp_path / "out" / SUMMARY_FILE).read_text()) == SUMMARY
    assert names(tmp_path) == ["out"]


def test_lines_are_sorted_by_their_fields_and_then_by_themselves(tmp_path: Path) -> None:
    fields: list[tuple[int | str, ...]] = [
        (9, "a", "Z"),
        (9, "a", "a"),
        (9, "a", "é"),
        (9, "a", "\U0001f600"),
        (9, "ab", ""),
        (9, "b\0a", ""),
        (9, "b\0b", ""),
        (10, "", "", 2),
        (10, "", "", 10),
    ]
    lines = [("windows.jsonl", by, f"line {number}") for number, by in enumerate(fields)]
    lines += [("windows.jsonl", (11,), text) for text in ("same, first", "same, second", "same, second")]
    shuffled = Random(3).sample(lines, len(lines))
    publish(tmp_path / "out", *shuffled)
    assert (tmp_path / "out" / "windows.jsonl").read_text().splitlines() == [line for _, _, line in lines]


def test_lines_go_to_their_files_as_they_are(tmp_path: Path) -> None:
    texts = {name: f'{{"file":"{name}","text":"é\u2028\U0001f600"}}' for name in LINE_FILES}
    publish(tmp_path / "out", *((name, (1,), text) for name, text in texts.items()))
    assert {name: (tmp_path / "out" / name).read_bytes().decode() for name in LINE_FILES} == {
        name: text + "\n" for name, text in texts.items()
    }


def test_a_new_result_takes_the_place_of_all_of_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "below" / "out"
    publish(out, ("late.jsonl", (1,), "old"))
    publish(out, ("actions.jsonl", (1,), "new"))
    assert (content(out)["late.jsonl"], content(out)["actions.jsonl"]) == (b"", b"new\n")
    assert names(out.parent) == ["out"]


def test_an_empty_directory_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    publish(tmp_path / "out")
    assert SUMMARY_FILE in names(tmp_path / "out")


def test_a_link_goes_on_to_lead_where_it_led(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    publish(tmp_path / "link")
    publish(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert SUMMARY_FILE in names(tmp_path / "real")
    assert names(tmp_path) == ["link", "real"]


def test_a_relative_directory_is_where_it_was_when_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with Results(Path("out"), LINE_FILES) as results:
        monkeypatch.chdir(tmp_path / "elsewhere")
        results.publish(SUMMARY)
    assert names(tmp_path) == ["elsewhere", "out"]


class Interrupted(BaseException):
    pass


def break_while_adding(results: Results, _: pytest.MonkeyPatch) -> None:
    results.add("late.jsonl", (1,), "new")
    raise Interrupted


def break_while_writing(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Path, text: str, **_: object) -> None:
        raise Interrupted

    monkeypatch.setattr(Path, "write_text", interrupted)
    results.publish(SUMMARY)


def break_at_rename(number: int, *, after: bool) -> Callable[[Results, pytest.MonkeyPatch], None]:
    def broken(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
        rename, calls = Path.rename, iter(range(10))

        def sometimes(self: Path, target: Path) -> None:
            interrupted = next(calls) == number
            if after or not interrupted:
                rename(self, target)
            if interrupted:
                raise Interrupted

        monkeypatch.setattr(Path, "rename", sometimes)
        results.publish(SUMMARY)

    return broken


@pytest.mark.parametrize(
    "interrupt",
    [
        break_while_adding,
        break_while_writing,
        break_at_rename(0, after=False),
        break_at_rename(0, after=True),
        break_at_rename(1, after=False),
    ],
)
def test_an_interruption_leaves_an_earlier_result_as_it_was(
    interrupt: Callable[[Results, pytest.MonkeyPatch], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    publish(out, ("late.jsonl", (1,), "old"))
    before = content(out)
    with monkeypatch.context() as patched, pytest.raises(Interrupted), Results(out, LINE_FILES) as results:
        interrupt(results, patched)
    assert content(out) == before
    assert names(tmp_path) == ["out"]


def test_an_interruption_when_all_is_in_place_leaves_the_new_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    publish(out, ("late.jsonl", (1,), "old"))
    with monkeypatch.context() as patched, pytest.raises(Interrupted), Results(out, LINE_FILES) as results:
        break_at_rename(1, after=True)(results, patched)
    assert content(out)["late.jsonl"] == b""
    assert names(tmp_path) == ["out"]


def test_an_interruption_before_the_first_result_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Interrupted), Results(tmp_path / "out", LINE_FILES):
        raise Interrupted
    assert names(tmp_path) == []


def refusal(out: Path) -> str:
    with pytest.raises(ResultsError) as raised:
        publish(out)
    return str(raised.value)


def test_a_directory_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "actions.jsonl").write_text("")
    assert (
        refusal(tmp_path)
        == f"{tmp_path}: holds 'notes.txt', which no replay of this job wrote; name a directory of its own"
    )
    assert names(tmp_path) == ["actions.jsonl", "notes.txt"]


def test_other_files_that_come_while_it_runs_are_left_alone_too(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Results(out, LINE_FILES) as results:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        with pytest.raises(ResultsError, match=r"notes\.txt"):
            results.publish(SUMMARY)
    assert names(out) == ["notes.txt"]
    assert names(tmp_path) == ["out"]


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert refusal(tmp_path / "file") == f"{tmp_path / 'file'}: not a directory"
    assert refusal(tmp_path / "file" / "out").startswith(f"{tmp_path / 'file' / 'out'}: cannot be written: ")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_path_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    assert "File name too long" in refusal(tmp_path / ("x" * 300))
    assert "cannot be written" in refusal(Path("/proc/headroom/out"))


def test_a_mount_point_is_refused_before_the_work() -> None:
    assert refusal(Path("/proc")) == "/proc: a mount point, which cannot be replaced; name a directory in it"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_may_not_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert refusal(tmp_path / "out") == f"{tmp_path / 'out'}: cannot be written: Permission denied"
    tmp_path.chmod(0o700)


def test_a_full_disk_is_told_and_costs_no_earlier_result(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(out, ("late.jsonl", (1,), "old"))
    before = content(out)
    with Results(out, LINE_FILES) as results:
        results._lines.execute("PRAGMA max_page_count = 20")
        with pytest.raises(ResultsError, match="out: cannot be written: database or disk is full"):
            add_many(results)
    assert content(out) == before
    assert names(tmp_path) == ["out"]


def add_many(results: Results) -> None:
    for _ in range(10_000):
        results.add("late.jsonl", (1,), "new" * 1_000)


def test_a_disk_that_is_full_from_the_start_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    publish(tmp_path / "out")
    before = content(tmp_path / "out")
    of_a_file = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, of_a_file[1]))
    try:
        with pytest.raises(ResultsError, match="cannot be written"):
            Results(tmp_path / "out", LINE_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, of_a_file)
    assert content(tmp_path / "out") == before
    assert names(tmp_path) == ["out"]
