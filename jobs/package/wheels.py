"""Wheels for another machine than this: fetched by pip, held to the hashes of the lock file, and kept. I/O."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from packaging.utils import parse_wheel_filename

from jobs.package.lock import Pinned
from jobs.package.targets import PYTHON, Platform

_SHOWN_LINES: Final = 3
_INSTALLED_AS_THEY_ARE: Final = ("purelib", "platlib")


class WheelError(Exception):
    """A wheel cannot be had; the message says which, and why."""


def kept_wheels() -> Path:
    """The directory in which wheels are kept between builds."""
    caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(caches) / "headroom" / "wheels"


def fetch_wheels(
    pinned: Iterable[Pinned], platform: Platform, kept: Path, on_progress: Callable[[str], None]
) -> dict[str, Path]:
    """The wheel of each distribution, by its name.

    Args:
        pinned: What to fetch.
        platform: What machine it is for.
        kept: Where wheels are looked for first, and kept.
        on_progress: Told of each wheel that has to be fetched.

    Raises:
        WheelError: A wheel cannot be had, the network being out of reach, or there being none for the platform.
    """
    directory = kept / platform.machine
    directory.mkdir(parents=True, exist_ok=True)
    wheels = {}
    for each in pinned:
        wheel = _kept_wheel(each, directory)
        if wheel is None:
            on_progress(f"fetching {each.name} {each.version} for {platform.machine}")
            _fetch(each, platform, directory)
            wheel = _kept_wheel(each, directory)
        if wheel is None:
            message = f"{each.name} {each.version}: what was fetched has none of the hashes in requirements.lock"
            raise WheelError(message)
        wheels[each.name] = wheel
    return wheels


def files_of_wheel(wheel: Path) -> dict[str, bytes]:
    """What an installer would put beside other modules, by its path there; scripts are left out."""
    files = {}
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            name = _installed_name(entry.filename)
            if name is not None and not entry.is_dir():
                files[name] = archive.read(entry)
    return files


def _installed_name(name: str) -> str | None:
    folder, _, rest = name.partition("/")
    if not folder.endswith(".data"):
        return name
    kind, _, inner = rest.partition("/")
    return inner if kind in _INSTALLED_AS_THEY_ARE else None


def _kept_wheel(pinned: Pinned, directory: Path) -> Path | None:
    for path in sorted(directory.glob("*.whl")):
        name, version, _, _ = parse_wheel_filename(path.name)
        if name == pinned.name and str(version) == pinned.version:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if f"sha256:{digest}" in pinned.hashes:
                return path
            path.unlink()
    return None


def _fetch(pinned: Pinned, platform: Platform, directory: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="headroom-wheels-") as scratch:
        requirements = Path(scratch) / "requirements.txt"
        requirements.write_text(pinned.line() + "\n", encoding="utf-8")
        command = [
            *_pip(),
            *("download", "--quiet", "--disable-pip-version-check", "--no-input", "--retries", "2"),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--dest", scratch),
            *("--implementation", "cp", "--python-version", ".".join(map(str, PYTHON))),
            *(part for tag in platform.tags for part in ("--platform", tag)),
            *("--requirement", str(requirements)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
        if done.returncode:
            raise WheelError(_failure(pinned, platform, done.stderr))
        for wheel in Path(scratch).glob("*.whl"):
            # Not renamed, for the cache may be on another file system.
            unfinished = directory / f".{wheel.name}.{os.getpid()}"
            unfinished.write_bytes(wheel.read_bytes())
            unfinished.replace(directory / wheel.name)


def _failure(pinned: Pinned, platform: Platform, stderr: str) -> str:
    what = f"{pinned.name} {pinned.version} for {platform.machine} cannot be fetched"
    said = [line.strip() for line in stderr.splitlines() if line.strip()]
    text = "\n".join(said)
    if any(sign in text for sign in ("NewConnectionError", "Temporary failure in name", "Max retries", "timed out")):
        return f"{what}: the package index cannot be reached; wheels that were fetched once are kept in {kept_wheels()}"
    return "\n  ".join((f"{what}; pip says:", *said[-_SHOWN_LINES:]))


def _pip() -> list[str]:
    """How to call pip: the installed one, else the one that Python carries for new environments."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    spec = importlib.util.find_spec("ensurepip")
    carried = sorted(Path(spec.origin).parent.glob("_bundled/pip-*.whl")) if spec and spec.origin else []
    if not carried:
        message = f"{sys.executable} has no pip, which fetches the wheels; install it"
        raise WheelError(message)
    return [sys.executable, str(carried[-1] / "pip")]
