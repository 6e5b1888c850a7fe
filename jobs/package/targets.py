"""What can be packaged, and for what machine. Pure."""

from dataclasses import dataclass
from typing import Final

PYTHON: Final = (3, 12)
"""Python of both: Flink 2.3 on the managed service, and the lambdas' runtime `python3.12`.

Source: https://docs.aws.amazon.com/managed-flink/latest/java/flink-2-3.html
"""

_MIB: Final = 1024**2


@dataclass(frozen=True, slots=True)
class Platform:
    """Machines that wheels are for: their tags, the best first, and what markers in requirements see of them."""

    machine: str
    tags: tuple[str, ...]

    def marker_environment(self) -> dict[str, str]:
        """The values of a requirement's markers there."""
        major, minor = PYTHON
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{major}.{minor}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{major}.{minor}.0",
            "python_version": f"{major}.{minor}",
            "sys_platform": "linux",
            "extra": "",
        }


@dataclass(frozen=True, slots=True)
class Target:
    """A package: its name, where it runs, and how large it may be.

    Attributes:
        entry: The module whose `main` the entry script calls; None where AWS calls handlers by name.
        dependencies: The folder in the zip that holds the code, "" for its root.
        provides_flink: Whether Flink, Java, and all that they bring are there already.
        most_zip_bytes: The largest zip.
        most_unzipped_bytes: The largest sum of files in it.
    """

    name: str
    platform: Platform
    entry: str | None
    dependencies: str
    provides_flink: bool
    most_zip_bytes: int
    most_unzipped_bytes: int


_FLINK_MACHINES: Final = Platform("x86_64", ("manylinux2014_x86_64",))
# Amazon Linux 2023, which the runtime is built on, has a newer C library than manylinux2014 asks for.
_LAMBDA_MACHINES: Final = Platform("aarch64", ("manylinux2014_aarch64", "manylinux_2_28_aarch64"))


def _flink(name: str) -> Target:
    # Source of the limit: https://docs.aws.amazon.com/managed-flink/latest/java/limits.html
    return Target(name, _FLINK_MACHINES, f"jobs.{name}.managed", "dep", True, 512 * _MIB, 2048 * _MIB)


TARGETS: Final = {
    target.name: target
    for target in (
        _flink("capacity"),
        _flink("usage"),
        _flink("spot"),
        # Source of the limit: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
        Target("lambdas", _LAMBDA_MACHINES, None, "", False, 512 * _MIB, 250 * _MIB),
    )
}
"""All targets by name."""
