"""Checks a package: runs it alone, confined as on AWS, to a result. I/O."""

import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

from jobs.application_properties import CHECK_GROUP
from jobs.package.build import BILL_FILE, MANIFEST_FILE, PROJECT_ROOT, handler_modules
from jobs.package.confinement import APPLICATION, PROPERTIES, Confined, confine, digest, release
from jobs.package.flink_environment import FlinkEnvironment, find_python, flink_environment
from jobs.package.sbom import sha256
from jobs.settings import Settings
from jobs.settings.properties import to_groups, to_json

_RECORDINGS: Final = PROJECT_ROOT / "tests" / "recordings"
_CHANGES: Final = "conversations.jsonl.gz"
_SHIPPED: Final = {"spot": "spot-day.jsonl.gz"}
_RUN_GROUP: Final = "kinesis.analytics.flink.run.options"
_LONGEST_RUN_S: Final = 600.0
_TELL_EVERY_S: Final = 10.0
_SHOWN_LINES: Final = 6
_PARALLELISM: Final = 2


class CheckError(Exception):
    """A package does not hold; the message says what happened."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a package did.

    Attributes:
        name: What it is a package of.
        python: The version it ran under.
        how: What confined it.
        outcomes: How many lines of each kind a job told; of lambdas, the handlers that could be loaded, 1 each.
        lines: The lines themselves, each after its kind.
        wall_s: How long it ran.
    """

    name: str
    python: str
    how: str
    outcomes: Mapping[str, int]
    lines: tuple[str, ...]
    wall_s: float


def check(
    package: Path, recording: Path | None, settings: Settings, python: Path | None, on_progress: Callable[[str], None]
) -> Checked:
    """Unpack a package into an empty directory and run what is in it.

    A job runs on Flink's local cluster, over the recording, with its settings from property groups; lambdas are loaded.

    Args:
        package: A zip that `build` made.
        recording: What a job reads; None for the recording that ships with the project.
        settings: The job's.
        python: The Python to check with; None looks for one.
        on_progress: Told what is being done.

    Raises:
        CheckError: The package is not as it was built, or does not run to a result.
        EnvironmentMissingError: There is nothing to run it in.
    """
    work = Path(tempfile.mkdtemp(prefix="headroom-check-", dir=Path(tempfile.gettempdir()).resolve()))
    try:
        described = unpack(package, work / APPLICATION)
        on_progress(f"{package}: {len(described['files'])} files, each as the manifest has it")
        if (work / APPLICATION / "main.py").is_file():
            shipped = _RECORDINGS / _SHIPPED.get(described["package"], _CHANGES)
            return _check_job(described["package"], work, recording or shipped, settings, python, on_progress)
        return _check_handlers(described, work, python, on_progress)
    finally:
        release(work)
        shutil.rmtree(work, ignore_errors=True)


def unpack(package: Path, into: Path) -> dict[str, Any]:
    """The manifest of a package that was unpacked, after each file was compared with it.

    Raises:
        CheckError: It is no package, or holds something else than its manifest says.
    """
    try:
        with zipfile.ZipFile(package) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        described: dict[str, Any] = json.loads(files[MANIFEST_FILE])
        expected: dict[str, str] = described["files"]
    except OSError as error:
        message = f"{package}: {error.strerror}"
        raise CheckError(message) from error
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        message = f"{package}: not a package that `headroom package` built"
        raise CheckError(message) from error
    wrong = [name for name, hash_ in expected.items() if sha256(files.get(name, b"")) != hash_]
    unlisted = sorted(set(files) - set(expected) - {MANIFEST_FILE, BILL_FILE})
    outside = [name for name in files if Path(name).is_absolute() or ".." in Path(name).parts]
    if wrong or unlisted or outside:
        message = f"{package}: {[*wrong, *unlisted, *outside][0]} is not as the manifest has it"
        raise CheckError(message)
    for name, content in files.items():
        path = into / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return described


def _check_job(
    name: str,
    work: Path,
    recording: Path,
    settings: Settings,
    python: Path | None,
    on_progress: Callable[[str], None],
) -> Checked:
    environment = flink_environment(python, on_progress)
    out = work / "out"
    ends = {"recording": str(recording.resolve()), "out": str(out)}
    options = {"python": "main.py", "pyFiles": "dep/"}
    jars = sorted(str(path.relative_to(work / APPLICATION)) for path in (work / APPLICATION / "lib").glob("*.jar"))
    if jars:
        options["jarfile"] = jars[0]
    groups = to_groups(settings) | {CHECK_GROUP: ends, _RUN_GROUP: options}
    (work / PROPERTIES).write_text(to_json(groups), encoding="utf-8")
    confined = confine(work, _flink_command(environment, options))
    on_progress(f"running under {_version(environment.python)}, held by {confined.how}")
    wall_s = _run(confined, work, _flink_variables(environment, work), on_progress)
    lines = tuple(
        line
        for path in sorted(out.rglob("part-*")) + sorted(out.rglob(".part-*"))
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    if not lines:
        message = f"{name}: the job ended without having written anything"
        raise CheckError(message)
    outcomes = Counter(line.partition(" ")[0] for line in lines)
    return Checked(name, _version(environment.python), confined.how, outcomes, lines, wall_s)


def _flink_command(environment: FlinkEnvironment, options: Mapping[str, str]) -> tuple[str, ...]:
    """What the service does with the run options of an application, on a cluster inside one process."""
    interpreter = str(environment.python)
    jar = ("--jarfile", options["jarfile"]) if "jarfile" in options else ()
    return (
        *(str(environment.flink()), "run", "--target", "local", "--parallelism", str(_PARALLELISM)),
        f"-Dtaskmanager.numberOfTaskSlots={_PARALLELISM}",
        *("--python", options["python"], "--pyFiles", options["pyFiles"], *jar),
        *("--pyExecutable", interpreter, "--pyClientExecutable", interpreter),
    )


def _flink_variables(environment: FlinkEnvironment, work: Path) -> dict[str, str]:
    logs = work / "logs"
    logs.mkdir()
    return {
        "JAVA_HOME": str(environment.java_home()),
        "FLINK_LOG_DIR": str(logs),
        # Unless told so, PyFlink runs the functions of a local job in threads of the entry script's process.
        "_python_worker_execution_mode": "process",
    }


def _check_handlers(
    described: Mapping[str, Any], work: Path, python: Path | None, on_progress: Callable[[str], None]
) -> Checked:
    compiled = [name for name in described["files"] if ".so" in Path(name).suffixes]
    if compiled and described["machine"] != platform.machine():
        message = f"{compiled[0]} is for {described['machine']}; this machine, {platform.machine()}, cannot load it"
        raise CheckError(message)
    (work / PROPERTIES).write_text("[]", encoding="utf-8")
    interpreter = find_python(python)
    handlers = handler_modules(work / APPLICATION)
    code = (
        f"import sys, importlib; sys.path.insert(0, {str(work / APPLICATION)!r}); "
        f"[importlib.import_module(name).handler for name in {handlers!r}]"
    )
    # Isolated: what is installed in that Python is not on the path.
    confined = confine(work, (str(interpreter), "-I", "-S", "-c", code))
    on_progress(f"loading {len(handlers)} handlers under {_version(interpreter)}, held by {confined.how}")
    region = {"AWS_DEFAULT_REGION": "eu-west-1", "POWERTOOLS_METRICS_NAMESPACE": "Headroom"}
    wall_s = _run(confined, work, region, on_progress)
    lines = tuple(f"loaded {name}" for name in handlers)
    return Checked(described["package"], _version(interpreter), confined.how, {"loaded": len(lines)}, lines, wall_s)


def _run(confined: Confined, work: Path, variables: Mapping[str, str], on_progress: Callable[[str], None]) -> float:
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


def _version(python: Path) -> str:
    code = "import platform; print('Python', platform.python_version())"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - as found
    return told.stdout.strip()
