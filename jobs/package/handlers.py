"""Checks the package of the lambdas: calls every handler in it. I/O."""

import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from jobs.package.build import BILL_FILE, LOCK_FILE, PROJECT_ROOT, handler_modules
from jobs.package.confinement import APPLICATION, PROPERTIES, confine
from jobs.package.denying_aws import DENIED, denying_aws
from jobs.package.flink_environment import find_python
from jobs.package.lock import parse_lock
from jobs.package.run import Checked, CheckError, run_confined, version_of
from jobs.package.targets import Platform
from jobs.package.wheels import fetch_wheels, files_of_wheel, kept_wheels

_INVOKE: Final = Path(__file__).with_name("invoke.py")
_GIVEN_BACK: Final = {"batchItemFailures": [{"itemIdentifier": "check"}]}
_HERE: Final = Platform(
    platform.machine(), (f"manylinux2014_{platform.machine()}", f"manylinux_2_28_{platform.machine()}")
)
# As the stacks set them, with names of nothing.
_VARIABLES: Final = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "check",
    "AWS_SECRET_ACCESS_KEY": "check",
    "AWS_EC2_METADATA_DISABLED": "true",
    "POWERTOOLS_METRICS_NAMESPACE": "Headroom",
    "HEADROOM_CACHE_URL": "redis://127.0.0.1:1",
    "HEADROOM_ACCOUNT": "123456789012",
    "HEADROOM_MANAGED_TAG": "AsgOptimiser",
    "HEADROOM_DRY_RUN": "true",
    "HEADROOM_SWAP_TABLE": "check",
    "HEADROOM_SPOT_CREATOR_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/check",
    "HEADROOM_INSTANCE_SWAPPER_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/check",
}


def check_handlers(
    described: Mapping[str, Any], work: Path, python: Path | None, on_progress: Callable[[str], None]
) -> Checked:
    """What the handlers of an unpacked package did with a message that is none, and with an AWS that denies all.

    Where the package is for another machine than this, what is compiled in it is put in the place of by the same
    versions for this one, as the lock file has them; everything else is as it will run.

    Raises:
        CheckError: One cannot be loaded, or does something else.
        EnvironmentMissingError: There is no Python of the version.
        WheelError: What is compiled cannot be had for this machine.
    """
    exchanged = _exchange_compiled(described, work / APPLICATION, on_progress)
    (work / PROPERTIES).write_text("[]", encoding="utf-8")
    interpreter = find_python(python)
    handlers = handler_modules(work / APPLICATION)
    # Isolated: what is installed in that Python is not on the path.
    code = _INVOKE.read_text(encoding="utf-8")
    confined = confine(work, (str(interpreter), "-I", "-S", "-c", code, str(work / APPLICATION), *handlers))
    on_progress(f"calling {len(handlers)} handlers under {version_of(interpreter)}, held by {confined.how}")
    with denying_aws() as address:
        wall_s = run_confined(confined, work, _VARIABLES | {"AWS_ENDPOINT_URL": address}, on_progress)
    lines = tuple(map(judged, _told(work)))
    how = f"{confined.how}; {', '.join(exchanged)} for {_HERE.machine}" if exchanged else confined.how
    return Checked(described["package"], version_of(interpreter), how, {"called": len(lines)}, lines, wall_s)


def _exchange_compiled(
    described: Mapping[str, Any], application: Path, on_progress: Callable[[str], None]
) -> list[str]:
    """Names and versions of the distributions that were exchanged for those of this machine."""
    compiled = [name for name in described["files"] if ".so" in Path(name).suffixes]
    if not compiled or described["machine"] == _HERE.machine:
        return []
    pinned = parse_lock((PROJECT_ROOT / LOCK_FILE).read_text(encoding="utf-8"), _HERE)
    exchanged = []
    for name, version in _versions(application).items():
        own = _files(application, name)
        foreign = own & set(compiled)
        if not foreign:
            continue
        if name not in pinned or pinned[name].version != version:
            message = f"{name} {version} is compiled for {described['machine']}, and {LOCK_FILE} has another version"
            raise CheckError(message)
        (wheel,) = fetch_wheels([pinned[name]], _HERE, kept_wheels(), on_progress).values()
        for each in foreign:
            (application / each).unlink()
        for each, content in files_of_wheel(wheel).items():
            (application / each).parent.mkdir(parents=True, exist_ok=True)
            (application / each).write_bytes(content)
        exchanged.append(f"{name} {version}")
    return exchanged


def _versions(application: Path) -> dict[str, str]:
    listed = json.loads((application / BILL_FILE).read_text(encoding="utf-8"))["components"]
    return {each["name"]: each["version"] for each in listed}


def _files(application: Path, name: str) -> set[str]:
    """The files of a distribution, as it lists them itself."""
    records = [
        path
        for path in application.glob("*.dist-info/RECORD")
        if canonicalize_name(path.parent.name.partition("-")[0]) == name
    ]
    return {line.split(",")[0] for path in records for line in path.read_text(encoding="utf-8").splitlines()}


def _told(work: Path) -> list[dict[str, Any]]:
    """What each handler did; what they logged besides is passed over."""
    lines = (work / "output.txt").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith('{"handler": ')]


def judged(told: Mapping[str, Any]) -> str:
    """What a handler did, in a line.

    Raises:
        CheckError: It is not what it should do.
    """
    if told.get("answer") == _GIVEN_BACK:
        return f"answered {told['handler']} in {told['seconds']} s: the message goes back"
    error = told.get("error", "")
    if DENIED in error:
        return f"ended {told['handler']} in {told['seconds']} s: {error}"
    said = told.get("traceback") or f"it answered {told.get('answer')!r}"
    message = f"{told['handler']}: {said.strip()}"
    raise CheckError(message)
