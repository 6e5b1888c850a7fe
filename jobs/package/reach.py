"""Which files of the project a package needs: the modules that its entries import, and what lies beside them. I/O."""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = ("jobs", "connectors", "lambdas")


@dataclass(frozen=True, slots=True)
class Reached:
    """The files of the project by their path in it, and the top-level names of what they import from elsewhere."""

    files: dict[str, Path]
    foreign: frozenset[str]


def reached_from(entries: Iterable[str], root: Path) -> Reached:
    """Everything that the entry modules reach by importing, at any level and anywhere in a module.

    Files that are no modules (SQL, Lua) come along where a module beside them is reached.

    Args:
        entries: Names of modules of the project.
        root: The directory of the project.
    """
    left = [name for entry in entries for name in _with_parents(entry)]
    modules: dict[str, Path] = {}
    foreign: set[str] = set()
    while left:
        name = left.pop()
        path = _module_file(name, root)
        if name in modules or path is None:
            continue
        modules[name] = path
        for imported in _imported(path):
            top = imported.partition(".")[0]
            if top in PACKAGES:
                left += _with_parents(imported)
            elif top not in sys.stdlib_module_names:
                foreign.add(top)
    paths = {*modules.values(), *_data_files({path.parent for path in modules.values()})}
    return Reached({str(path.relative_to(root)): path for path in sorted(paths)}, frozenset(foreign))


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _module_file(name: str, root: Path) -> Path | None:
    """The file of a module; None for a name in a module, which the importing one may also mean."""
    path = root.joinpath(*name.split("."))
    found = (each for each in (path / "__init__.py", path.with_suffix(".py")) if each.is_file())
    return next(found, None)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _data_files(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.iterdir() if path.is_file() and not _passed_over(path.name))


def _passed_over(name: str) -> bool:
    """A module, or what an editor or a file manager leaves beside the files that it has open."""
    return name.endswith((".py", ".pyc", "~")) or name.startswith(".")
