"""What can be set: the reference page and the example file, both written from the model. Pure."""

from collections.abc import Iterator
from textwrap import wrap

from jobs.settings import schema
from jobs.settings.model import Settings
from jobs.settings.render import as_written
from jobs.settings.schema import Setting, Shape
from jobs.settings.section import Section
from jobs.settings.toml_text import toml_value

_LINE_CHARACTERS = 100

_PAGE = """\
# Settings

Headroom reads its settings from one TOML file; `headroom.example.toml` has all of them.
Every setting has a default, so a file holds only what differs.

- `headroom config check FILE` tells every mistake in a file.
- `headroom config show FILE` prints the settings in effect, and which of them are defaults.

A duration is text with its units (`d`, `h`, `m`, `s`, `ms`), the longer first: `"2m"`, `"500ms"`, `"1m30s"`.
WCU are write capacity units, as DynamoDB counts them.
Consumption that leaves no record in the change stream (failed conditional writes, writes that change nothing,
index writes) is not in any total, so totals are lower bounds.

{table}

This page and `headroom.example.toml` are written by `python -m jobs.settings`.
"""

_EXAMPLE = """\
# Settings of Headroom. All are at their defaults here: keep only those that you change.
# Check your file with `headroom config check FILE`.
# Written by `python -m jobs.settings`.
{settings}
"""


def reference_page() -> str:
    """The page of all settings, in Markdown."""
    return _PAGE.format(table=reference_table())


def readme_with_table(readme: str) -> str:
    """The README with the table of settings between its two marks.

    Raises:
        ValueError: A mark is missing.
    """
    before, begin, rest = readme.partition("<!-- settings -->\n")
    _, end, after = rest.partition("<!-- /settings -->\n")
    if not (begin and end):
        message = "the README has no marks for the table of settings"
        raise ValueError(message)
    return f"{before}{begin}\n{reference_table()}\n\n{end}{after}"


def reference_table() -> str:
    """The table of all settings, in Markdown: setting, default, unit, what is allowed, meaning."""
    rows = ["| Setting | Default | Unit | Allowed | Meaning |", "|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(setting) for setting in schema.settings())])


def _row(setting: Setting) -> str:
    name, field = setting.name, setting.field
    default = "required" if field.is_required() else "none"
    if not field.is_required() and field.default is not None:
        default = f"`{toml_value(as_written(name, field.default))}`"
    allowed, meaning = schema.allowed(name, field), field.description
    return f"| `{setting.path}` | {default} | {schema.unit(field)} | {allowed} | {meaning} |"


def example_file() -> str:
    """A TOML file that sets everything to its default, explained; what has no default is commented out."""
    return _EXAMPLE.format(settings="\n".join(_section_lines(Settings, "", "")))


def _section_lines(model: type[Section], prefix: str, mark: str) -> Iterator[str]:
    """The lines of a section; `mark` comments its settings out."""
    for name, field in model.model_fields.items():
        if schema.nested(field) is None:
            default = field.get_default() if not field.examples else field.examples[0]
            yield from ("", *_comment(f"{field.description}", f"Allowed: {schema.allowed(name, field)}."))
            own_mark = mark or ("#" if field.default is None else "")
            yield f"{own_mark}{schema.toml_field(name)} = {toml_value(as_written(name, default))}"
    for name, field in model.model_fields.items():
        if inner := schema.nested(field):
            path = f"{prefix}{schema.toml_field(name)}"
            inner_mark = mark if inner.shape is Shape.TABLE else "#"
            header = inner.header(path, *(field.examples or ()))
            yield from ("", *_comment(f"{field.description}"), f"{inner_mark}{header}")
            yield from _section_lines(inner.model, f"{path}.", inner_mark)


def _comment(*sentences: str) -> Iterator[str]:
    for sentence in sentences:
        yield from (f"# {line}" for line in wrap(sentence, _LINE_CHARACTERS))
