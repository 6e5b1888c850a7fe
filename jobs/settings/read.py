"""From tables as TOML gives them to settings, or to all the mistakes in them. Pure.

Pydantic alone stops at the first level of mistakes: it compares settings with each other only where all of
them are allowed. Here each setting is judged by itself, and then every comparison is made whose settings are
allowed, so one look shows everything.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from jobs.settings import schema
from jobs.settings.durations import DAY_MS, SECOND_MS, parse_duration
from jobs.settings.model import Settings
from jobs.settings.section import Section
from jobs.settings.toml_text import shown, toml_path

TomlPath = tuple[str | int, ...]
# Beyond 64 bits no setting is allowed, and Python does not write out numbers of thousands of digits.
_LARGEST_NUMBER = 2**63 - 1
_LONGEST_GUESSED_NAME = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, in TOML names, and what it is; of an unknown setting, what it might have been."""

    path: TomlPath
    text: str
    is_unknown: bool = False

    def __str__(self) -> str:
        """The mistake as a sentence that names the setting as TOML does."""
        place = toml_path(self.path)
        return f"unknown setting {place}; {self.text}" if self.is_unknown else f"{place}: {self.text}"


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Why tables are no settings; there is at least one."""

    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one value came to.

    `given` goes into the settings, if there is no problem anywhere. `effective` is compared with other
    settings: with defaults, and None or nothing in the place of what is not allowed.
    """

    given: Any = None
    effective: Any = None
    problems: tuple[Problem, ...] = ()


def read_settings(tables: Mapping[str, object]) -> Settings | Mistakes:
    """The settings that the tables give, with defaults for all others, or every mistake in the tables.

    Args:
        tables: As `tomllib` gives them, with numbers that have a decimal point as Decimal.
    """
    reading = _read_section(Settings, tables, ())
    return Mistakes(reading.problems) if reading.problems else Settings.model_validate(reading.given)


def _read_section(model: type[Section], tables: Mapping[str, object], path: TomlPath) -> _Reading:
    names = {schema.toml_field(name): name for name in model.model_fields}
    given: dict[str, Any] = {}
    effective = _defaults(model, {names[name] for name in tables if name in names})
    problems: list[Problem] = []
    for toml_name, value in tables.items():
        if toml_name not in names:
            problems.append(_unknown(toml_name, path, list(names)))
            continue
        name = names[toml_name]
        reading = _read_field(model, name, value, (*path, toml_name))
        problems += reading.problems
        given[name] = reading.given
        if reading.effective is not None:
            effective[name] = reading.effective
    problems += _missing(model, given, path)
    problems += (Problem((*path, *each.path), each.text) for each in model.conflicts(effective))
    return _Reading(given, effective, tuple(problems))


def _defaults(model: type[Section], given: set[str]) -> dict[str, Any]:
    fields = {name: field for name, field in model.model_fields.items() if name not in given}
    defaults = {
        name: field.get_default(call_default_factory=True) for name, field in fields.items() if not field.is_required()
    }
    return {name: value.model_dump() if isinstance(value, Section) else value for name, value in defaults.items()}


def _missing(model: type[Section], given: Mapping[str, Any], path: TomlPath) -> Iterator[Problem]:
    for name, field in model.model_fields.items():
        if field.is_required() and name not in given:
            yield Problem((*path, schema.toml_field(name)), f"missing; it takes {schema.allowed(name, field)}")


def _unknown(name: str, path: TomlPath, siblings: list[str]) -> Problem:
    guess = name.lower()[:_LONGEST_GUESSED_NAME]
    for near in get_close_matches(guess, siblings, n=1):
        return Problem((*path, name), f"did you mean {toml_path((*path, near))}?", is_unknown=True)
    elsewhere = {setting.path.rpartition(".")[2]: setting.path for setting in schema.settings()}
    for near in get_close_matches(guess, elsewhere, n=1):
        return Problem((*path, name), f"did you mean {elsewhere[near]}?", is_unknown=True)
    return Problem((*path, name), f"known here are {', '.join(siblings)}", is_unknown=True)


def _read_field(model: type[Section], name: str, value: object, path: TomlPath) -> _Reading:
    field = model.model_fields[name]
    if inner := schema.nested(field):
        return _read_nested(inner, value, path)
    if not schema.is_array(field):
        return _read_value(model, name, value, path)
    if not isinstance(value, list) or not value:
        return _refused(value, schema.allowed(name, field), path)
    readings = [_read_value(model, name, element, (*path, at)) for at, element in enumerate(value)]
    return _in_array(readings)


def _read_nested(inner: schema.Nested, value: object, path: TomlPath) -> _Reading:
    match inner.shape, value:
        case schema.Shape.TABLE, dict():
            return _read_section(inner.model, value, path)
        case schema.Shape.ARRAY, list():
            return _in_array([_read_table(inner.model, each, (*path, at)) for at, each in enumerate(value)])
        case schema.Shape.NAMED, dict():
            named = {name: _read_table(inner.model, each, (*path, name)) for name, each in value.items()}
            return _Reading(
                {name: each.given for name, each in named.items()},
                {name: each.effective for name, each in named.items()},
                _problems(named.values()),
            )
        case _:
            return _refused(value, f"{inner.shape}, written {inner.header(toml_path(path))}", path)


def _read_table(model: type[Section], value: object, path: TomlPath) -> _Reading:
    return _read_section(model, value, path) if isinstance(value, dict) else _refused(value, "a table", path)


def _read_value(model: type[Section], name: str, value: object, path: TomlPath) -> _Reading:
    """One setting, or one element of a setting that is an array."""
    field = model.model_fields[name]
    if schema.is_duration(name) and isinstance(value, int | Decimal) and not isinstance(value, bool):
        return _Reading(problems=(Problem(path, f"{shown(value)} has no unit; {_with_unit(value)}"),))
    held = _held(name, value)
    if held is None or not _is_allowed(model, name, (held,) if schema.is_array(field) else held):
        return _refused(value, schema.allowed_value(name, field), path)
    return _Reading(held, held)


def _held(name: str, value: object) -> bool | int | Decimal | str | None:
    """The value as the model would hold it; None for what no setting is, which pydantic may fail to print."""
    if schema.is_duration(name):
        return parse_duration(value) if isinstance(value, str) else None
    if isinstance(value, int) and abs(value) > _LARGEST_NUMBER:
        return None
    return value if isinstance(value, bool | int | Decimal | str) else None


def _with_unit(number: int | Decimal) -> str:
    """What to write for a number that should be a duration, supposing that it is seconds."""
    is_plain = isinstance(number, int) and 0 <= number < DAY_MS // SECOND_MS
    return f'write "{number}s"' if is_plain else 'write its unit in quotes with it, as in "5s" or "500ms"'


def _is_allowed(model: type[Section], name: str, value: object) -> bool:
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        # What is missing beside it, or stands in conflict with defaults, is no fault of this value.
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        return all(each["loc"][:1] != (name,) for each in mistakes)
    return True


def _in_array(readings: list[_Reading]) -> _Reading:
    given, effective = tuple(each.given for each in readings), tuple(each.effective for each in readings)
    return _Reading(given, effective, _problems(readings))


def _problems(readings: Iterable[_Reading]) -> tuple[Problem, ...]:
    return tuple(problem for each in readings for problem in each.problems)


def _refused(value: object, allowed: str, path: TomlPath) -> _Reading:
    return _Reading(problems=(Problem(path, f"{shown(value)} is not allowed; it takes {allowed}"),))
