"""Checks a package: runs it alone, confined as on AWS, to a result. I/O."""

import json
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jobs.application_properties import CHECK_GROUP
from jobs.package.build import BILL_FILE, MANIFEST_FILE, PROJECT_ROOT
from jobs.package.confinement import APPLICATION, PROPERTIES, confine, release
from jobs.package.flink_environment import FlinkEnvironment, flink_environment
from jobs.package.handlers import check_handlers
from jobs.package.run import Checked, CheckError, run_confined, version_of
from jobs.package.run_options import GROUP as RUN_GROUP
from jobs.package.run_options import JAR_FOLDER, run_options
from jobs.package.sbom import sha256
from jobs.settings import Settings
from jobs.settings.properties import to_groups, to_json

_RECORDINGS: Final = PROJECT_ROOT / "tests" / "recordings"
_CHANGES: Final = "conversations.jsonl.gz"
_SHIPPED: Final = {"spot": "spot-day.jsonl.gz"}
_PARALLELISM: Final = 2


def check(
    package: Path, recording: Path | None, settings: Settings, python: Path | None, on_progress: Callable[[str], None]
) -> Checked:
    """Unpack a package into an empty directory and run what is in it.

    A job runs on Flink's local cluster, over the recording, with its settings from property groups; each lambda is
    called with a message.

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
        return check_handlers(described, work, python, on_progress)
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
    application = work / APPLICATION
    options = run_options(path.relative_to(application).as_posix() for path in (application / JAR_FOLDER).glob("*"))
    groups = to_groups(settings) | {CHECK_GROUP: ends, RUN_GROUP: options}
    (work / PROPERTIES).write_text(to_json(groups), encoding="utf-8")
    confined = confine(work, _flink_command(environment, options))
    on_progress(f"running under {version_of(environment.python)}, held by {confined.how}")
    wall_s = run_confined(confined, work, _flink_variables(environment, work), on_progress)
    lines = tuple(
        line
        for path in sorted(out.rglob("part-*")) + sorted(out.rglob(".part-*"))
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    if not lines:
        message = f"{name}: the job ended without having written anything"
        raise CheckError(message)
    outcomes = Counter(line.partition(" ")[0] for line in lines)
    return Checked(name, version_of(environment.python), confined.how, outcomes, lines, wall_s)


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
