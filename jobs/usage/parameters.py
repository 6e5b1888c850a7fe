"""Parameters of meters: what values each takes. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

from jobs.usage.periods import month_problem

Value = str | int | Decimal

_PARAM: Final = re.compile(
    r"(?P<type>\w+)\s*(?:,\s*(?P<required>required)|=\s*(?P<default>'(?:[^']|'')*'|[^\s']+?))\.\s+(?P<text>.+)",
    re.DOTALL,
)
_LARGEST: Final = 2**63 - 1


class ParameterError(Exception):
    """A parameter that is declared wrongly, or a value that it does not take; the message names it."""


class Kind(StrEnum):
    """What values a parameter takes."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DATE = "date"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a meter; without a default it has to be given."""

    name: str
    kind: Kind
    default: Value | None
    text: str

    def parse(self, text: str) -> Value:
        """The value that a text gives.

        Raises:
            ParameterError: It gives none.
        """
        value = _PARSERS[self.kind](text)
        if value is not None:
            return value
        message = f"parameter {self.name}: {text!r} is not {_KINDS[self.kind]}"
        raise ParameterError(message)


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch(r"-?[0-9]{1,19}", text) and abs(int(text)) <= _LARGEST else None


def _decimal(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    exponent = value.as_tuple().exponent
    fits = isinstance(exponent, int) and exponent >= -6 and abs(value) < 10**6
    return value if fits else None


def _date(text: str) -> str | None:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _month(text: str) -> str | None:
    return None if month_problem(text) else text


_PARSERS: Final[Mapping[Kind, Callable[[str], Value | None]]] = {
    Kind.TEXT: str,
    Kind.INTEGER: _integer,
    Kind.DECIMAL: _decimal,
    Kind.DATE: _date,
    Kind.MONTH: _month,
}
_KINDS: Final = {
    Kind.TEXT: "a text",
    Kind.INTEGER: "a whole number",
    Kind.DECIMAL: "a number with at most 6 decimals",
    Kind.DATE: "a day, such as 2026-11-01",
    Kind.MONTH: "a month, such as 2026-11",
}


def parse_parameter(name: str, declared: str) -> Parameter:
    """The parameter that a line of a header declares, such as `month, required. The month that is billed`.

    Raises:
        ParameterError: It declares none.
    """
    found = _PARAM.fullmatch(declared)
    if found is None or found["type"] not in tuple(Kind):
        kinds = ", ".join(Kind)
        message = f"param {name}: {declared!r} is not `TYPE, required. Text` or `TYPE = DEFAULT. Text`; types: {kinds}"
        raise ParameterError(message)
    parameter = Parameter(name, Kind(found["type"]), None, found["text"])
    if found["required"]:
        return parameter
    default = found["default"]
    if default.startswith("'"):
        default = default[1:-1].replace("''", "'")
    return Parameter(name, parameter.kind, parameter.parse(default), parameter.text)
