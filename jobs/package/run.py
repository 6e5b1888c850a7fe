"""Runs what is in a package, confined, and tells what it did. I/O."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from jobs.package.confinement import APPLICATION, Confined, digest

_LONGEST_RUN_S: Final = 600.0
_TELL_EVERY_S: Final = 10.0
_SHOWN_LINES: Final = 6


class CheckError(Exception):
    """A package does not hold; the message says what happened."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a package did.

    Attributes:
        name: What it is a package of.
        python: The version it ran under.
        how: What confined it.
        outcomes: How many lines of each kind a job told; of lambdas, the handlers that answered or ended as
            they should.
        lines: The lines themselves, each after its kind.
        wall_s: How long it ran.
    """

    name: str
    python: str
    how: str
    outcomes: Mapping[str, int]
    lines: tuple[str, ...]
    wall_s: float


def run_confined(
    confined: Confined, work: Path, variables: Mapping[str, str], on_progress: Callable[[str], None]
) -> float:
    """How long it ran.

    Raises:
        CheckError: It failed, took too long, or changed the application.
    """
    # Nothing of the caller's environment but the path to programs: no PYTHONPATH, no credentials.
    clean = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": str(work / APPLICATION)}
    before, began_s = digest(work), monotonic()
    told_s = began_s
    with (work / "output.txt").open("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(  # noqa: S603 - the package that the user asks to run
            confined.command,
            cwd=work / APPLICATION,
            env={**clean, **confined.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that all of it can be ended at once
        )
        try:
            while process.poll() is None:
                if monotonic() - began_s > _LONGEST_RUN_S:
                    message = f"no result after {_LONGEST_RUN_S:.0f} s"
                    raise CheckError(message)
                if monotonic() - told_s >= _TELL_EVERY_S:
                    told_s = monotonic()
                    on_progress(f"  {told_s - began_s:.0f} s")
                try:
                    process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        said = [line.strip() for line in output.read().splitlines() if line.strip()]
    if process.returncode:
        lines = [line for line in said if "Unknown module" not in line]
        message = "\n  ".join((f"it ended with status {process.returncode}:", *_telling(lines)))
        raise CheckError(message)
    if digest(work) != before:
        message = "it changed files of the application, which are read-only on AWS"
        raise CheckError(message)
    return monotonic() - began_s


def _telling(lines: list[str]) -> list[str]:
    """The last lines that say what went wrong, rather than where."""
    causes = [line for line in lines if line.startswith("Caused by") or "Error" in line or "rror:" in line]
    return (causes or lines)[-_SHOWN_LINES:]


def version_of(python: Path) -> str:
    """Its name and version."""
    code = "import platform; print('Python', platform.python_version())"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - as found
    return told.stdout.strip()
