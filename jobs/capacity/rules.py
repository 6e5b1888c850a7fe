"""Rules that change while a job runs: versions of limits, shadow and lease, each in force from a time on. Pure.

A file of rules is TOML with one table for each version. What a version does not say is as in the settings; a section
that it gives replaces that of the settings whole.

    [[rules]]
    version = 7
    valid_from = "2026-11-20T10:06:00+00:00"    # without it: in a replay from the beginning, live from its arrival on
    shadow = false
    [rules.limits]
    default_wcu = 8000
    [[rules.limits.rules]]
    table = "conversations"
    partition_key = "tenant-000221"
    exempt = true
    [rules.lease]
    steps = ["1m", "5m"]

A total belongs to the version that is in force at the end of its step.
"""

import json
import tomllib
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from jobs.capacity.limits import Limit, Limits
from jobs.settings import LeaseSettings, LimitsSettings, Settings
from jobs.settings.read import Mistakes, read_settings
from jobs.settings.render import to_json
from jobs.settings.toml_text import printable, shown
from jobs.sql_text import sql_text

_CHANGEABLE: Final = ("shadow", "limits", "lease")
_OWN: Final = ("version", "valid_from")
_HIGHEST_VERSION: Final = 2**31 - 1


class RulesError(ValueError):
    """Rules cannot be used; `problems` holds every reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the rules; `from_ms` is None where it is in force from its arrival on."""

    number: int
    from_ms: int | None
    shadow: bool
    limits: LimitsSettings
    lease: LeaseSettings


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds at a time; `version` is None where rules do not change at all, and 0 for those of the settings."""

    version: int | None
    shadow: bool
    lease: LeaseSettings
    limits: Limits

    def limit_for(self, table: str, partition_key: str) -> Limit:
        """The limit of one partition key, whose rule names its version where rules can change: `default@7`."""
        limit = self.limits.limit_for(table, partition_key)
        return limit if self.version is None else replace(limit, rule=f"{limit.rule}@{self.version}")


class Timeline:
    """Which rules are in force when: at first those of the settings, then each version from its time on.

    A version with a higher number wins over a lower one from the same time on, however they came.
    """

    def __init__(self, settings: Settings, versions: Sequence[Version]) -> None:
        changes = uses_rules(settings)
        own = InForce(0 if changes else None, settings.shadow, settings.lease, Limits(settings.limits))
        self._from_ms: list[int] = []
        self._in_force = [own]
        for version in sorted(versions, key=lambda each: each.number):
            from_ms = version.from_ms or 0
            # What a later version replaces from an earlier time on was never in force after that.
            while self._from_ms and self._from_ms[-1] >= from_ms:
                self._from_ms.pop()
                self._in_force.pop()
            self._from_ms.append(from_ms)
            limits = Limits(version.limits)
            self._in_force.append(InForce(version.number, version.shadow, version.lease, limits))

    def at(self, at_ms: int) -> InForce:
        """What is in force at a time."""
        return self._in_force[bisect_right(self._from_ms, at_ms)]


def uses_rules(settings: Settings) -> bool:
    """Whether rules can change."""
    return settings.rules.file is not None or settings.rules.stream is not None


def near_limit_condition(settings: Settings, total: str) -> str:
    """A condition of SQL, on `table_name` and a total, that holds for all keys near their limit, under any rules.

    It takes a table's lowest limit for all keys of the table, so that a low limit brings no other table's keys along.

    Args:
        settings: All settings; where rules can change, those may set a limit for any table.
        total: The expression of the total, in write capacity units.
    """
    limits = Limits(settings.limits)
    ever = settings.rules.lowest_warn_wcu if uses_rules(settings) else None

    def lowest(warn_wcu: int | None) -> str:
        known = [each for each in (warn_wcu, ever) if each is not None]
        return str(min(known)) if known else "CAST(NULL AS BIGINT)"  # no total compares with nothing

    otherwise = lowest(limits.default_warn_wcu)
    by_table = {sql_text(name): lowest(warn_wcu) for name, warn_wcu in limits.lowest_warn_wcu_by_table.items()}
    cases = [f"WHEN {name} THEN {warn_wcu}" for name, warn_wcu in by_table.items() if warn_wcu != otherwise]
    return f"{total} >= {' '.join(['CASE table_name', *cases, f'ELSE {otherwise} END']) if cases else otherwise}"


def read_rules(settings: Settings) -> list[Version]:
    """The versions in the file that the settings name; none where they name none.

    Raises:
        RulesError: The file cannot be read, or has mistakes in it.
    """
    if settings.rules.file is None:
        return []
    try:
        text = Path(settings.rules.file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RulesError([f"{printable(settings.rules.file)}: {reason}"]) from error
    return parse_rules(text, settings, printable(settings.rules.file))


def parse_rules(text: str, settings: Settings, origin: str) -> list[Version]:
    """The versions in a file of rules.

    Args:
        text: The file's content.
        settings: What holds where a version says nothing.
        origin: What problems call the file.

    Raises:
        RulesError: There are mistakes in it, all of which are told; then none of it is used.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise RulesError([f"{origin}: not TOML: {printable(str(error))}"]) from error
    entries = document.pop("rules", None)
    problems = [f"{name}: unknown; a file of rules holds [[rules]]" for name in document]
    if not isinstance(entries, list) or not entries or not all(isinstance(each, dict) for each in entries):
        problems.append("rules: takes tables, written [[rules]]")
        entries = []
    own = _without_nothing(json.loads(to_json(settings), parse_float=Decimal))
    versions: list[Version] = []
    for place, entry in enumerate(entries):
        before = versions[-1].number if versions else 0
        version, found = _version(entry, own, settings.rules.lowest_warn_wcu, before)
        problems += [f"rules[{place}]{problem}" for problem in found]
        versions += [version] if version else []
    if problems:
        raise RulesError([f"{origin}: {problem}" for problem in problems])
    return versions


def _version(
    entry: Mapping[str, Any], own: Mapping[str, Any], lowest_warn: int, before: int
) -> tuple[Version | None, list[str]]:
    problems = list(_own_problems(entry, before))
    changed = {name: value for name, value in entry.items() if name in _CHANGEABLE}
    outcome = read_settings({**own, **changed})
    if isinstance(outcome, Mistakes):
        return None, [*problems, *(f".{problem}" for problem in outcome.problems)]
    lowest = Limits(outcome.limits).lowest_warn_wcu
    if lowest < lowest_warn:
        text = f"begins to warn at {lowest} WCU, which is below rules.lowest_warn_wcu, {lowest_warn}"
        problems.append(f".limits: {text}; totals that low do not reach the rules")
    if problems:
        return None, problems
    return Version(
        entry["version"], _time_ms(entry.get("valid_from")), outcome.shadow, outcome.limits, outcome.lease
    ), []


def _own_problems(entry: Mapping[str, Any], before: int) -> Iterator[str]:
    for name in entry:
        if name not in (*_CHANGEABLE, *_OWN):
            yield f".{printable(name)}: cannot change while a job runs; a version holds {', '.join(_CHANGEABLE)}"
    number = entry.get("version")
    if not isinstance(number, int) or isinstance(number, bool) or not before < number <= _HIGHEST_VERSION:
        yield f".version: {shown(number)} is not allowed; it takes a whole number above {before}"
    since = entry.get("valid_from")
    if since is not None and _time_ms(since) is None:
        yield f'.valid_from: {shown(since)} is not allowed; it takes a time such as "2026-11-20T10:06:00+00:00"'


def _time_ms(value: object) -> int | None:
    """The time in milliseconds, None where it is none or has no offset from UTC."""
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return None if at.tzinfo is None else round(at.timestamp() * 1000)


def _without_nothing(value: Any) -> Any:
    """The settings as tables, without what is not given."""
    if isinstance(value, dict):
        return {name: _without_nothing(inner) for name, inner in value.items() if inner is not None}
    return [_without_nothing(each) for each in value] if isinstance(value, list) else value
