"""What may import what, and what no file may hold."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("jobs", "connectors", "lambdas")
NOT_OURS = {"__pycache__", "node_modules", "build", "dist", "headroom-out", "packages", "cdk.out"}
MEANINGLESS = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "common", "misc"}


def files(*suffixes: str, below: Path = ROOT) -> Iterator[Path]:
    """All files of the project with these suffixes, or with any."""
    for path in sorted(below.iterdir()):
        if path.name in NOT_OURS or (path.name.startswith(".") and path.name not in (".ci", ".gitignore")):
            continue
        if path.name.startswith("hs_err_pid"):  # what a JVM leaves that dies at its exit
            continue
        if path.is_dir():
            yield from files(*suffixes, below=path)
        elif not suffixes or path.suffix in suffixes:
            yield path


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for package in PACKAGES for path in files(".py", below=ROOT / package)}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text())


@cache
def imports_of(module: str) -> frozenset[str]:
    """The names of what a module imports, anywhere in it; of our own, the modules."""
    found = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & set(MODULES) or {node.module}
    return frozenset(found)


def reached_from(module: str) -> set[str]:
    """What a module imports, and what that imports."""
    reached: set[str] = set()
    left = [module]
    while left:
        new = imports_of(left.pop()) - reached
        reached |= new
        left += new & set(MODULES)
    return reached


def outer(names: set[str] | frozenset[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_there_are_modules_to_look_at() -> None:
    assert {"jobs.cli", "connectors.dynamodb.change", "lambdas"} <= set(MODULES)
    assert "connectors.dynamodb.item_size" in imports_of("connectors.dynamodb.parse")
    assert "pyflink" in outer(reached_from("jobs.capacity.job"))


@pytest.mark.parametrize("module", MODULES)
def test_jobs_and_lambdas_import_connectors_and_nothing_imports_back(module: str) -> None:
    package = module.partition(".")[0]
    others = set(PACKAGES) - {package} - ({"connectors"} if package != "connectors" else set())
    assert not outer(imports_of(module)) & {*others, "tests", "bench", "infra"}


@pytest.mark.parametrize("module", [module for module in MODULES if module.startswith("lambdas")])
def test_a_lambda_never_reaches_flink(module: str) -> None:
    assert "pyflink" not in outer(reached_from(module))


@pytest.mark.parametrize(
    "module", [module for module in MODULES if re.search(r"\bPure\b", ast.get_docstring(tree_of(module)) or "")]
)
def test_what_says_that_it_is_pure_reaches_neither_aws_nor_flink(module: str) -> None:
    assert not outer(reached_from(module)) & {"boto3", "botocore", "pyflink", "py4j", "redis"}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(tree_of(module))


def test_no_module_has_a_name_that_means_nothing() -> None:
    assert [path for path in files(".py") if path.stem in MEANINGLESS or path.parent.name in MEANINGLESS] == []


# Put together here, so that this file does not hold them.
INDEX = re.compile(
    "|".join(("pypi" + r"\.org", "python" + "hosted", r"--(?:extra-)?index" + r"-url[ =]", r"://\S*/simp" + r"le\b"))
)
MACHINE = re.compile(r"(?<![\w.:/<>}~-])/(?:work|home|root|Users|private|mnt)/[\w.]")


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_package_index() -> None:
    assert lines_with(INDEX) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE) == []


@pytest.mark.parametrize("path", ["work/x", "home/me", "root/.cache", "Users/me"])
def test_a_path_of_one_machine_would_be_found(path: str) -> None:
    assert MACHINE.search("/" + path)
    assert MACHINE.search("cache=/" + path)
    assert not MACHINE.search("docs/" + path)


@pytest.mark.parametrize("ending", ["url https://x", "url=https://x"])
def test_a_package_index_would_be_found(ending: str) -> None:
    assert INDEX.search("pip install --index-" + ending)
