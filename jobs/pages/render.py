"""Pages from templates: everything put into one is escaped, and only the page's own style and script may run. I/O."""

import base64
import hashlib
import re
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from jobs.settings.durations import format_duration
from jobs.settings.toml_text import printable

_PARTS: Final = re.compile(r"\d+[a-z]+")


def render(template: str, **values: Any) -> str:
    """A page from a template of this package."""
    style, script = (_text(name) for name in ("page.css", "page.js"))
    # The page needs no network, and by this it may not use any, whatever a partition key says.
    policy = f"default-src 'none'; style-src {_hashed(style)}; script-src {_hashed(script)}; base-uri 'none'"
    page = _environment().get_template(template)
    return page.render(style=style, script=script, policy=policy, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=PackageLoader(__package__),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=lambda value: f"{value:,}",
        duration=format_duration,
        shown=printable,
        shown_lines=lambda text: "\n".join(map(printable, text.split("\n"))),
        utc=utc_text,
        about=about,
        share=lambda value: f"{value:,.0%}",
        fine_share=lambda value: f"{value:.2%}",
    )
    return environment


def about(duration_ms: int) -> str:
    """A duration in its two largest units, the rest cut off: "4d3h" for one of 4 days, 3 hours and 57 minutes."""
    parts = _PARTS.findall(format_duration(duration_ms))
    return "".join(parts[:2])


def utc_text(at_ms: int) -> str:
    """A time in UTC, to the second, by ISO 8601 with a space."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
