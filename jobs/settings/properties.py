"""Settings as property groups, the flat maps of text in which Managed Service for Apache Flink hands them over. Pure.

The same model as the TOML file, under other names. The group is the section, the key the setting, the value plain text:

    [window] size = "2m"                   group headroom.window        size = 2m
    shadow = true                          group headroom               shadow = true
    [lease] steps = ["2m", "5m"]           group headroom.lease         steps = 2m, 5m
    [[limits.rules]] wcu = 5 (the first)   group headroom.limits.rules  0.wcu = 5
    [tables.orders] partition_key = "pk"   group headroom.tables        orders.partition_key = pk

A group holds at most 50 entries; what is beyond goes into groups of the same name with "-2", "-3" at the end, which are
read as one. Groups whose names do not begin with `headroom` are not ours.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pydantic.fields import FieldInfo

from jobs.settings import schema
from jobs.settings.model import Settings
from jobs.settings.read import Mistakes, Problem, TomlPath, read_settings
from jobs.settings.render import as_written
from jobs.settings.schema import Shape
from jobs.settings.section import Section
from jobs.settings.toml_text import printable, shortened, toml_value

ROOT_GROUP: Final = "headroom"

# Source of the four: https://docs.aws.amazon.com/managed-flink/latest/apiv2/API_PropertyGroup.html
# and https://docs.aws.amazon.com/managed-flink/latest/apiv2/API_EnvironmentProperties.html
MOST_GROUPS: Final = 50
MOST_ENTRIES: Final = 50
LONGEST_KEY: Final = 2048
LONGEST_VALUE: Final = 2048

Groups = dict[str, dict[str, str]]
"""Property maps by the id of their group."""

_CONTINUED = re.compile(r"-[0-9]{1,2}")
_PLACE = re.compile(r"0|[1-9][0-9]{0,5}")
_INTEGER = re.compile(r"-?[0-9]{1,30}")
_DECIMAL = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
_NEEDS_JSON = re.compile(r"[\[,\"]|^\s|\s$|^$")


class PropertiesError(ValueError):
    """Property groups cannot be used, or settings cannot be put into them; `problems` holds every reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def to_groups(settings: Settings) -> Groups:
    """The settings that were given, as property groups; those left at their defaults are not written.

    But for those of a rule or a table, whose being there says something.

    Raises:
        PropertiesError: They have no room in property groups, all of what has none being told.
    """
    whole: Groups = {}
    for group, key, value in _entries(settings, ROOT_GROUP):
        whole.setdefault(group, {})[key] = value
    problems = [
        f"{_told(group, key)}: longer than {longest} characters, which no property may be"
        for group, entries in whole.items()
        for key, value in entries.items()
        for text, longest in ((key, LONGEST_KEY), (value, LONGEST_VALUE))
        if len(text) > longest
    ]
    groups = {
        group if number == 1 else f"{group}-{number}": dict(some)
        for group, entries in whole.items()
        for number, some in enumerate(_parted(list(entries.items())), 1)
    }
    if len(groups) > MOST_GROUPS:
        problems.append(f"{len(groups)} property groups of {MOST_ENTRIES} entries; an application has {MOST_GROUPS}")
    if problems:
        raise PropertiesError(problems)
    return groups


def from_groups(groups: Mapping[str, Mapping[str, str]]) -> Settings:
    """The settings that property groups give, with defaults for all others.

    Raises:
        PropertiesError: There are mistakes in them, all of which are told with their group and key.
    """
    reader = _Reader()
    for group, entries in groups.items():
        if group == ROOT_GROUP or group.startswith(f"{ROOT_GROUP}."):
            reader.take(group, entries)
    outcome = read_settings(reader.toml_tables())
    found = outcome.problems if isinstance(outcome, Mistakes) else ()
    if isinstance(outcome, Mistakes) or reader.problems:
        raise PropertiesError([*reader.problems, *map(_told_of_property, found)])
    return outcome


def to_json(groups: Mapping[str, Mapping[str, str]]) -> str:
    """The groups as `/etc/flink/application_properties.json` holds them."""
    listed = [{"PropertyGroupId": group, "PropertyMap": dict(entries)} for group, entries in groups.items()]
    return json.dumps(listed, indent=2, ensure_ascii=False) + "\n"


def parse_json(content: bytes) -> Groups:
    """The groups in the content of such a file.

    Raises:
        PropertiesError: It is not such a file.
    """
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PropertiesError([f"not JSON: {printable(str(error))}"]) from error
    if not isinstance(listed, list):
        raise PropertiesError(["not an array of property groups"])
    groups: Groups = {}
    problems = []
    for place, each in enumerate(listed):
        if problem := _shape_problem(each, groups):
            problems.append(f"[{place}]: {problem}")
        else:
            groups[each["PropertyGroupId"]] = each["PropertyMap"]
    if problems:
        raise PropertiesError(problems)
    return groups


def _shape_problem(group: Any, known: Groups) -> str | None:
    if not isinstance(group, dict) or not isinstance(group.get("PropertyGroupId"), str):
        return 'not a property group: {"PropertyGroupId": "...", "PropertyMap": {...}}'
    entries = group.get("PropertyMap")
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        return "PropertyMap is not a map of texts"
    if group["PropertyGroupId"] in known:
        return f"the group {printable(group['PropertyGroupId'])} again"
    return None


# Writing


def _entries(section: Section, group: str) -> Iterator[tuple[str, str, str]]:
    """Group, key and value of everything given in a section that has a group of its own."""
    for name, field in type(section).model_fields.items():
        value, inner = getattr(section, name), schema.nested(field)
        path = f"{group}.{schema.toml_field(name)}"
        match inner and inner.shape:
            case Shape.TABLE:
                yield from _entries(value, path)
            case Shape.ARRAY:
                for place, each in enumerate(value):
                    yield from ((path, key, text) for key, text in _of_element(each, f"{place}."))
            case Shape.NAMED:
                for own_name, each in value.items():
                    yield from ((path, key, text) for key, text in _of_element(each, f"{own_name}."))
            case _ if name in section.model_fields_set and value is not None:
                yield group, schema.toml_field(name), _text(as_written(name, value))


def _parted(entries: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    return [entries[start : start + MOST_ENTRIES] for start in range(0, len(entries), MOST_ENTRIES)]


def _of_element(section: Section, prefix: str) -> Iterator[tuple[str, str]]:
    """Key and value of everything in one of many sections: defaults too, for its being there says something."""
    for name, field in type(section).model_fields.items():
        value, inner = getattr(section, name), schema.nested(field)
        if inner is not None:
            message = f"{name}: a section inside one of many has no place in property groups"
            raise NotImplementedError(message)
        if value is not None:
            yield f"{prefix}{schema.toml_field(name)}", _text(as_written(name, value))


def _text(value: object) -> str:
    if isinstance(value, list):
        texts = [_text(each) for each in value]
        return json.dumps(texts, ensure_ascii=False) if any(map(_NEEDS_JSON.search, texts)) else ", ".join(texts)
    return str(value) if isinstance(value, str) else toml_value(value)


# Reading


class _Reader:
    """Collects entries into tables as TOML would give them, and the problems that only properties have.

    Arrays of tables are held by place until all groups are read, for their keys may come in any order.
    """

    def __init__(self) -> None:
        self._tables: dict[str, Any] = {}
        self.problems: list[str] = []

    def toml_tables(self) -> dict[str, Any]:
        """What was collected, with arrays in the place of what is numbered."""
        return {part: self._with_arrays(inner, (part,)) for part, inner in self._tables.items()}

    def _with_arrays(self, table: Any, path: TomlPath) -> Any:
        if not isinstance(table, dict):
            return table
        if not table or not all(isinstance(part, int) for part in table):
            return {part: self._with_arrays(inner, (*path, part)) for part, inner in table.items()}
        places = sorted(table)
        missing = set(range(len(places))) - set(places)
        if missing:
            group = ".".join(map(str, (ROOT_GROUP, *path)))
            self.problems.append(f"group {group}: keys are numbered from 0 without a gap; {min(missing)} is missing")
        return [table[place] for place in places]

    def take(self, group: str, entries: Mapping[str, str]) -> None:
        path = tuple(_CONTINUED.sub("", group).split(".")[1:])
        section = _section(path)
        if section is None:
            known = ", ".join(_group_names())
            self.problems.append(f"group {printable(group)}: unknown group; known are {known}")
            return
        model, shape = section
        for key, value in entries.items():
            place = _split(key, model, shape)
            if place is None:
                self.problems.append(f"{_told(group, key)}: not a key of this group; {_keys(model, shape, path)}")
            else:
                self._put((*path, *place), value, model)

    def _put(self, path: TomlPath, value: str, model: type[Section]) -> None:
        table: Any = self._tables
        for part in path[:-1]:
            table = table.setdefault(part, {})
        name = str(path[-1])
        table[name] = _typed(name, value, model)


def _section(path: tuple[str, ...]) -> tuple[type[Section], Shape] | None:
    """The section that a group is for; one of many has its place in the keys."""
    model: type[Section] = Settings
    shape = Shape.TABLE
    for part in path:
        found = next((field for name, field in model.model_fields.items() if schema.toml_field(name) == part), None)
        inner = schema.nested(found) if found else None
        if inner is None or shape is not Shape.TABLE:
            return None
        model, shape = inner.model, inner.shape
    return model, shape


def _group_names(model: type[Section] = Settings, group: str = ROOT_GROUP) -> Iterator[str]:
    yield group
    for name, field in model.model_fields.items():
        path, inner = f"{group}.{schema.toml_field(name)}", schema.nested(field)
        if inner is not None:
            yield from _group_names(inner.model, path) if inner.shape is Shape.TABLE else (path,)


def _split(key: str, model: type[Section], shape: Shape) -> TomlPath | None:
    """A key as the rest of a path; None where it can be no setting in a group of this shape."""
    if shape is Shape.TABLE:
        return None if _is_section(key, model) else (key,)
    # The name of a table may have dots in it, that of a setting has none.
    element, dot, setting = key.rpartition(".")
    if not dot:
        return None
    if shape is Shape.NAMED:
        return element, setting
    return (int(element), setting) if _PLACE.fullmatch(element) else None


def _is_section(key: str, model: type[Section]) -> bool:
    return any(schema.nested(field) and schema.toml_field(name) == key for name, field in model.model_fields.items())


def _keys(model: type[Section], shape: Shape, path: TomlPath) -> str:
    """What the keys of a group are like, to end a sentence."""
    setting = schema.toml_field(list(model.model_fields)[-1])
    match shape:
        case Shape.TABLE:
            return f"a section has a group of its own, {'.'.join(map(str, (ROOT_GROUP, *path)))}.<section>"
        case Shape.ARRAY:
            return f"its keys are like 0.{setting}"
        case Shape.NAMED:
            return f"its keys are like name.{setting}"


def _typed(name: str, value: str, model: type[Section]) -> object:
    """The value as TOML would give it, so that it is read and judged as if it came from there."""
    found = {schema.toml_field(each): field for each, field in model.model_fields.items()}.get(name)
    if found is None:
        return value
    if schema.is_array(found):
        return [_scalar(each, found) for each in _elements(value)]
    return _scalar(value, found)


def _elements(value: str) -> list[str]:
    if value.startswith("["):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
        if isinstance(listed, list) and all(isinstance(each, str) for each in listed):
            return listed
    return [each.strip() for each in value.split(",")]


def _scalar(value: str, field: FieldInfo) -> object:
    kind = schema.value_type(field)
    if kind is bool:
        return {"true": True, "false": False}.get(value, value)
    # A duration is held as a number and written as text, and text that is no number is refused as what it is.
    if kind is int and _INTEGER.fullmatch(value):
        return int(value)
    if kind is Decimal and _DECIMAL.fullmatch(value):
        return Decimal(value)
    return value


# Telling


def _told(group: str, key: str) -> str:
    return f"group {printable(group)}, key {shortened(printable(key))}"


def _told_of_property(problem: Problem) -> str:
    place = _told(*property_of(problem.path))
    return f"{place}: unknown setting; {problem.text}" if problem.is_unknown else f"{place}: {problem.text}"


def property_of(path: TomlPath) -> tuple[str, str]:
    """The group and the key of a setting, by its path in TOML names."""
    depth = 0
    while depth < len(path) - 1 and _section(tuple(map(str, path[: depth + 1]))) is not None:
        depth += 1
    group = ".".join((ROOT_GROUP, *map(str, path[:depth])))
    section = _section(tuple(map(str, path[:depth])))
    rest = [str(part) for part in path[depth:]]
    # A setting that is an array has one key, whichever of its elements is meant.
    most = 1 if section is None or section[1] is Shape.TABLE else 2
    return group, ".".join(rest[:most])
