"""Versions of the rules as a job keeps them: by number, when each arrived and the file that it came in. Pure.

What is kept is read again after a restart, with the settings of then. A version that these no longer allow is not in
force, as if it had been refused; it must not keep the job from running.
"""

from collections.abc import Iterable

from jobs.capacity.rules import RulesError, Timeline, Version, parse_rules
from jobs.settings import Settings


def kept(arrived_ms: int, text: str) -> str:
    """A version as it is kept: when it arrived, in milliseconds, a blank, and the file that it came in."""
    return f"{arrived_ms} {text}"


class KeptVersions:
    """The versions that are kept, as far as they can be used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read: dict[str, tuple[str, Version | None]] = {}

    @property
    def newest(self) -> int:
        """The highest number of a version that can be used; 0 where there is none."""
        return max((version.number for _, version in self._read.values() if version), default=0)

    def read(self, items: Iterable[tuple[str, str]]) -> list[str]:
        """Takes in what is kept and was not read yet; what is wrong with it, a text for each that cannot be used."""
        problems = []
        for number, value in items:
            if number in self._read and self._read[number][0] == value:
                continue
            arrived_ms, _, text = value.partition(" ")
            try:
                version = _arrived(parse_rules(text, self._settings, f"version {number}"), int(number), int(arrived_ms))
            except RulesError as error:
                problems.append(str(error))
                version = None
            self._read[number] = value, version
        return problems

    def timeline(self) -> Timeline:
        """Which of them is in force when."""
        return Timeline(self._settings, [version for _, version in self._read.values() if version])


def _arrived(versions: Iterable[Version], number: int, arrived_ms: int) -> Version:
    """The version of this number; one without a time is in force from its arrival on."""
    (version,) = (each for each in versions if each.number == number)
    from_ms = arrived_ms if version.from_ms is None else version.from_ms
    return Version(number, from_ms, version.shadow, version.limits, version.lease)
