"""The tutorials say what happens: their commands are run, and their output compared."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"
LEFT_OUT = "..."


def steps(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of the fenced `console` blocks, and the lines that it should print."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = step.splitlines()
            length = next((at for at, line in enumerate(lines) if not line.endswith("\\")), len(lines)) + 1
            yield "\n".join(line.removeprefix("> ") for line in lines[:length]), lines[length:]


def pattern(lines: list[str]) -> re.Pattern[str]:
    """What such output matches: `...` on a line of its own stands for any lines, blanks at ends do not matter."""
    texts = [r"(?:.*\n)*?" if line == LEFT_OUT else re.escape(line.rstrip()) + r"[ ]*\n" for line in lines]
    return re.compile("".join(texts))


def test_there_are_tutorials_and_steps_in_them() -> None:
    assert {path.name for path in TUTORIALS.glob("*.md")} == {"choose-a-limit.md", "why-was-it-suspended.md"}
    assert list(steps("```console\n$ a \\\n>   b\nout\n...\n$ c\n```\n")) == [("a \\\n  b", ["out", "..."]), ("c", [])]
    assert pattern(["a", "...", "z"]).fullmatch("a \nb\nc\nz\n")
    assert not pattern(["a", "z"]).fullmatch("a\nb\nz\n")


@pytest.mark.parametrize(
    "name", ["choose-a-limit.md", pytest.param("why-was-it-suspended.md", marks=pytest.mark.flink)]
)
def test_a_tutorial_prints_what_it_shows(name: str, tmp_path: Path) -> None:
    for place in ("tests", "examples"):
        (tmp_path / place).symlink_to(ROOT / place)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = {
        "PATH": path,
        "HEADROOM_CACHE_DIR": str(tmp_path / "cache"),
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path),
    }
    ran = 0
    for command, expected in steps((TUTORIALS / name).read_text(encoding="utf-8")):
        finished = subprocess.run(
            ["bash", "-c", command],  # noqa: S607 - whichever bash there is
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
        assert pattern(expected).fullmatch(finished.stdout), f"{command}\n{finished.stdout}"
        ran += 1
    assert ran >= 5
