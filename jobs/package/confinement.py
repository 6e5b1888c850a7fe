"""Runs a command with nothing to write to but the temporary directory, as far as this machine allows it. I/O."""

import hashlib
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobs.application_properties import PROPERTIES_VARIABLE

APPLICATION: Final = "application"
PROPERTIES: Final = "properties.json"

_SCRIPT: Final = Path(__file__).with_name("confine.sh")
_WAYS: Final = {
    "a mount namespace with a read-only root": ("unshare", "--mount"),
    "a user and mount namespace with a read-only root": ("unshare", "--user", "--map-root-user", "--mount"),
}


@dataclass(frozen=True, slots=True)
class Confined:
    """A command to start, the variables it needs, and in words what holds it."""

    command: tuple[str, ...]
    variables: Mapping[str, str]
    how: str


def confine(work: Path, command: tuple[str, ...]) -> Confined:
    """The command, to be run in `work/application` with `work/properties.json` as its application properties.

    Where no namespaces are to be had, the files of the application lose their write permission, and `digest` tells
    afterwards whether something was changed all the same.

    Args:
        work: A directory below the system's temporary one.
        command: What to run.
    """
    temporary = str(Path(tempfile.gettempdir()).resolve())
    for how, way in _WAYS.items():
        if _works(way, temporary):
            return Confined((*way, "sh", str(_SCRIPT), str(work), temporary, *command), {}, how)
    for path in (work / APPLICATION, *(work / APPLICATION).rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    variables = {PROPERTIES_VARIABLE: str(work / PROPERTIES)}
    return Confined(command, variables, "file permissions, for there are no mount namespaces here")


def release(work: Path) -> None:
    """Make what was confined removable again."""
    for path in (work / APPLICATION, *(work / APPLICATION).rglob("*")):
        if path.is_dir():
            path.chmod(stat.S_IRWXU)


def digest(work: Path) -> str:
    """A digest of all files of the application."""
    summed = hashlib.sha256()
    for path in sorted((work / APPLICATION).rglob("*")):
        summed.update(f"{path.relative_to(work)}\0".encode())
        if path.is_file():
            summed.update(path.read_bytes())
    return summed.hexdigest()


def _works(way: tuple[str, ...], temporary: str) -> bool:
    if shutil.which(way[0]) is None:
        return False
    with tempfile.TemporaryDirectory(prefix="headroom-probe-", dir=temporary) as scratch:
        (Path(scratch) / APPLICATION).mkdir()
        (Path(scratch) / PROPERTIES).write_text("[]", encoding="utf-8")
        probe = (*way, "sh", str(_SCRIPT), scratch, temporary, "true")
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0  # noqa: S603 - our own script
