"""The lock file: which distributions it pins, to which hashes, and what they were asked for by. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jobs.package.targets import Platform

_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
_VIA = re.compile(r"#\s+(?:via\s+)?([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?: \(.*\))?$")


class LockError(ValueError):
    """The lock file does not say what is needed of it."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A distribution at one version, the hashes of its files, and the names of what asked for it."""

    name: str
    version: str
    requirement: Requirement
    hashes: frozenset[str]
    via: frozenset[str]

    def line(self) -> str:
        """The distribution as a requirement with its hashes and without markers."""
        return f"{self.name}=={self.version} " + " ".join(f"--hash={each}" for each in sorted(self.hashes))


def parse_lock(text: str, platform: Platform) -> dict[str, Pinned]:
    """What a lock file pins for a platform, by name.

    Args:
        text: A requirements file as `uv pip compile --generate-hashes` writes it, with its `# via` comments.
        platform: Decides the markers.
    """
    environment = platform.marker_environment()
    pinned = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        if not block.strip():
            continue
        each = _pinned(block)
        if each.requirement.marker is None or each.requirement.marker.evaluate(environment):
            pinned[each.name] = each
    return pinned


def closure(roots: Iterable[str], pinned: Mapping[str, Pinned]) -> dict[str, Pinned]:
    """The roots and all that they ask for, by name, sorted.

    Raises:
        LockError: A root is not pinned.
    """
    found: dict[str, Pinned] = {}
    left: list[str] = [canonicalize_name(root) for root in roots]
    while left:
        name = left.pop()
        if name in found:
            continue
        if name not in pinned:
            message = f"requirements.lock does not pin {name}; run `make lock`"
            raise LockError(message)
        found[name] = pinned[name]
        left += [each.name for each in pinned.values() if name in each.via]
    return dict(sorted(found.items()))


def _pinned(block: str) -> Pinned:
    head, *rest = block.splitlines()
    requirement = Requirement(head.rstrip("\\ "))
    versions = [each.version for each in requirement.specifier if each.operator == "=="]
    via = [found[1] for line in rest if (found := _VIA.search(line.strip()))]
    if len(versions) != 1 or not via:
        message = f"requirements.lock: not a pinned requirement with what it came by: {head}"
        raise LockError(message)
    return Pinned(
        canonicalize_name(requirement.name),
        versions[0],
        requirement,
        frozenset(_HASH.findall(block)),
        frozenset(canonicalize_name(each) for each in via),
    )
