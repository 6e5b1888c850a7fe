"""Settings as text: what is in effect, as TOML and JSON. Pure."""

import json
from collections.abc import Iterator

from jobs.settings import schema
from jobs.settings.durations import format_duration
from jobs.settings.model import Settings
from jobs.settings.schema import Shape
from jobs.settings.section import Section
from jobs.settings.toml_text import toml_name, toml_value


def to_toml(settings: Settings) -> str:
    """All settings in effect as TOML that reads back as equal settings, with the defaults marked as such."""
    return "\n".join(_toml_lines(settings, "")) + "\n"


def to_json(settings: Settings) -> str:
    """All settings in effect as a JSON object: names and durations as in TOML, null for what is not given."""
    # The one Decimal, warn_ratio, has so few decimals that the nearest float prints the same.
    return json.dumps(_plain(settings), indent=2, default=float) + "\n"


def count_given(section: Section) -> int:
    """How many settings were given rather than left at their defaults, those of rules and tables included."""
    fields = type(section).model_fields
    own = [name for name in section.model_fields_set if not schema.nested(fields[name])]
    return len(own) + sum(count_given(inner) for _, _, inner in _sections_in(section, ""))


def count_left_at_default(section: Section) -> int:
    """How many settings were left at their defaults; those of rules and tables not included."""
    fields = type(section).model_fields
    own = {name for name in fields if not schema.nested(fields[name])} - section.model_fields_set
    tables = [getattr(section, name) for name in fields if schema.nested(fields[name])]
    return len(own) + sum(count_left_at_default(each) for each in tables if isinstance(each, Section))


def as_written(name: str, value: object) -> object:
    """The value of the field as TOML and JSON write it: durations as text, all else as it is."""
    if isinstance(value, tuple):
        return [as_written(name, element) for element in value]
    return format_duration(value) if schema.is_duration(name) and isinstance(value, int) else value


def _toml_lines(section: Section, prefix: str) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if value is not None and not schema.nested(field):
            mark = "" if name in section.model_fields_set else "  # default"
            yield f"{schema.toml_field(name)} = {toml_value(as_written(name, value))}{mark}"
    for header, path, inner in _sections_in(section, prefix):
        yield from ("", header, *_toml_lines(inner, f"{path}."))


def _sections_in(section: Section, prefix: str) -> Iterator[tuple[str, str, Section]]:
    """Every section directly in this one, with the TOML line that opens it and its dotted path."""
    for name, field in type(section).model_fields.items():
        path, value, inner = (
            f"{prefix}{schema.toml_field(name)}",
            getattr(section, name),
            schema.nested(field),
        )
        match inner and inner.shape:
            case Shape.TABLE:
                yield f"[{path}]", path, value
            case Shape.ARRAY:
                yield from ((f"[[{path}]]", path, each) for each in value)
            case Shape.NAMED:
                named = ((f"{path}.{toml_name(each)}", inner) for each, inner in value.items())
                yield from ((f"[{each}]", each, inner) for each, inner in named)


def _plain(section: Section) -> dict[str, object]:
    plain: dict[str, object] = {}
    for name, field in type(section).model_fields.items():
        value, inner = getattr(section, name), schema.nested(field)
        match inner and inner.shape:
            case Shape.TABLE:
                plain[name] = _plain(value)
            case Shape.ARRAY:
                plain[name] = [_plain(each) for each in value]
            case Shape.NAMED:
                plain[name] = {each: _plain(inner) for each, inner in value.items()}
            case _:
                plain[schema.toml_field(name)] = as_written(name, value)
    return plain
