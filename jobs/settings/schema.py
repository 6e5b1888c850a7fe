"""What the model says about its fields: names in TOML, what they hold, what is allowed in words. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from jobs.settings.durations import format_duration
from jobs.settings.model import Settings
from jobs.settings.section import Section, Unit
from jobs.settings.toml_text import toml_string


class Shape(StrEnum):
    """How TOML holds sections, in words."""

    TABLE = "a table"
    ARRAY = "an array of tables"
    NAMED = "a table of tables"


@dataclass(frozen=True, slots=True)
class Nested:
    """A field that holds one section, or many."""

    shape: Shape
    model: type[Section]

    def header(self, path: str, name: str = "<name>") -> str:
        """The line that opens a section in TOML, at this dotted path; `name` is its own, if it has one."""
        headers = {Shape.TABLE: f"[{path}]", Shape.ARRAY: f"[[{path}]]", Shape.NAMED: f"[{path}.{name}]"}
        return headers[self.shape]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting with its place: `window.size`, `limits.rules[].wcu`, `tables.<name>.partition_key`."""

    path: str
    name: str
    field: FieldInfo


def settings(model: type[Section] = Settings, prefix: str = "") -> Iterator[Setting]:
    """All settings of the section and the sections in it, in the order of the model."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{toml_field(name)}"
        if inner := nested(field):
            place = {Shape.TABLE: "", Shape.ARRAY: "[]", Shape.NAMED: ".<name>"}[inner.shape]
            yield from settings(inner.model, f"{path}{place}.")
        else:
            yield Setting(path, name, field)


def nested(field: FieldInfo) -> Nested | None:
    """What sections the field holds, None when it is a setting itself."""
    shapes: dict[object, Shape] = {tuple: Shape.ARRAY, dict: Shape.NAMED}
    shape = shapes.get(get_origin(field.annotation), Shape.TABLE)
    model = value_type(field)
    return Nested(shape, model) if issubclass(model, Section) else None


def toml_field(name: str) -> str:
    """The name in TOML of a field: a duration has its unit in its value there, not in its name."""
    return name.removesuffix("_ms")


def is_duration(name: str) -> bool:
    """Whether the field of this name holds milliseconds, which TOML writes as a duration."""
    return name.endswith("_ms")


def is_array(field: FieldInfo) -> bool:
    """Whether the setting is an array."""
    return get_origin(field.annotation) is tuple


def value_type(field: FieldInfo) -> type:
    """The type of the setting, or of its elements, where None stands for not given."""
    return _unfolded(field)[0]


def unit(field: FieldInfo) -> str:
    """What the setting is given in.

    Raises:
        LookupError: the field has no unit.
    """
    units = [each.name for each in _unfolded(field)[1] if isinstance(each, Unit)]
    if not units:
        message = "every setting has a unit"
        raise LookupError(message)
    return units[0]


def bound(field: FieldInfo, name: str) -> int:
    """The constraint of this name (ge, gt, le, decimal_places) on the setting or its elements.

    Raises:
        LookupError: the field has no such constraint.
    """
    constraints = [getattr(each, name, None) for each in _unfolded(field)[1]]
    found = [each for each in constraints if isinstance(each, int)]
    if not found:
        message = f"a setting that is a number has whole numbers as its range; {name} is missing"
        raise LookupError(message)
    return found[0]


def allowed(name: str, field: FieldInfo) -> str:
    """The values that the setting may have, in words that end a sentence: "it takes true or false"."""
    value = allowed_value(name, field)
    return f"an array of at least one, each {value}" if is_array(field) else value


def allowed_value(name: str, field: FieldInfo) -> str:
    """The values that the setting, or each of its elements, may have."""
    kind = value_type(field)
    if is_duration(name):
        lowest, highest = (format_duration(bound(field, side)) for side in ("ge", "le"))
        return f'a duration from "{lowest}" to "{highest}"'
    if issubclass(kind, StrEnum):
        return " or ".join(toml_string(word) for word in kind)
    if kind is int:
        return f"a whole number from {bound(field, 'ge')} to {bound(field, 'le')}"
    if kind is Decimal:
        above, most, decimals = (bound(field, each) for each in ("gt", "le", "decimal_places"))
        return f"a number above {above} and at most {most}, with at most {decimals} decimals"
    return {bool: "true or false", str: "text, not empty"}[kind]


def _unfolded(field: FieldInfo) -> tuple[type, list[object]]:
    """The innermost type of the field, and all that is said about it on the way there."""
    annotation: object = field.annotation
    metadata = list(field.metadata)
    while arguments := get_args(annotation):
        if get_origin(annotation) is Annotated:
            metadata += [fact for each in arguments[1:] for fact in getattr(each, "metadata", [each])]
        if get_origin(annotation) in (Union, UnionType):
            arguments = tuple(each for each in arguments if each is not NoneType)
        annotation = arguments[-1] if get_origin(annotation) is dict else arguments[0]
    if not isinstance(annotation, type):
        message = f"a setting holds values of one type, not {annotation}"
        raise TypeError(message)
    return annotation, metadata
