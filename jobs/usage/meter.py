"""A meter: a named, versioned SQL query with the parameters that its header declares. Pure.

The header are comments at the beginning of the file:

    -- meter: top_keys
    -- version: 1
    -- description: The partition keys that consumed most,
    --   with their shares of their tables.
    -- needs: prices
    -- param most: integer = 20. How many of each table.
    -- param month: month, required. The month that is billed.
    -- identity: table, partition_key

Parameters stand in the query as `$most` and are bound, never pasted: in DuckDB under their names, in Athena in their
order.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import Final

from jobs.usage.parameters import Kind, Parameter, ParameterError, Value, parse_parameter

_COMMENT: Final = re.compile(r"--\s?(?P<text>.*)")
_FIELD: Final = re.compile(r"(?P<name>meter|version|description|needs|identity|param\s+\w+):\s*(?P<text>.*)")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
# Strings, quoted names and comments, in which a dollar sign is one; the parameters, and what would be one by its place.
_TOKEN: Final = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(?P<name>[A-Za-z_]\w*)|(?P<unnamed>\?|\$[0-9]+)",
    re.DOTALL,
)


class MeterError(Exception):
    """A meter, or what is given to it, that cannot be used; the message names it."""


class MeterFailedError(MeterError):
    """A meter that could be run, and failed while it ran."""


class Need(StrEnum):
    """Relations beside the ledger that a meter may read."""

    PRICES = "prices"
    CONSUMED_CAPACITY = "consumed_capacity"

    @property
    def option(self) -> str:
        """How it is given on the command line."""
        return {Need.PRICES: "--prices FILE", Need.CONSUMED_CAPACITY: "--consumed FILE|--cloudwatch"}[self]


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter.

    Attributes:
        identity: The columns of a result row that tell which rows of the view `usage` are under it.
        sql: The query, with its header.
    """

    name: str
    version: int
    description: str
    sql: str
    parameters: tuple[Parameter, ...] = ()
    needs: tuple[Need, ...] = ()
    identity: tuple[str, ...] = field(default=())

    def values(self, given: Mapping[str, str]) -> dict[str, Value]:
        """The values of all parameters, from texts.

        Raises:
            MeterError: One is unknown or missing.
            ParameterError: One is of the wrong kind.
        """
        values = self.values_given(given)
        return {parameter.name: self._value(parameter, values) for parameter in self.parameters}

    def values_given(self, given: Mapping[str, str]) -> dict[str, Value]:
        """The values of these parameters alone, from texts.

        Raises:
            MeterError: One is unknown.
            ParameterError: One is of the wrong kind.
        """
        declared = {parameter.name: parameter for parameter in self.parameters}
        for name in given:
            if name not in declared:
                alike = get_close_matches(name, declared, 1)
                hint = f"; did you mean {alike[0]}?" if alike else f"; it has {', '.join(declared) or 'none'}"
                message = f"meter {self.name} has no parameter {name!r}{hint}"
                raise MeterError(message)
        return {name: declared[name].parse(text) for name, text in given.items()}

    def for_athena(self, values: Mapping[str, Value]) -> tuple[str, list[str]]:
        """The query as Athena takes it, with a `?` for each parameter, and whose values they stand for, in order.

        Athena takes a `?` in a WHERE clause only; decimals, which are to be calculated with, stand in the query.

        Source: Athena User Guide, querying-with-prepared-statements ("Considerations and limitations").

        Args:
            values: Values of parameters; of decimals those that have no default are needed.

        Raises:
            MeterError: One is missing.
        """
        declared = {parameter.name: parameter for parameter in self.parameters}
        order: list[str] = []

        def placed(token: re.Match[str]) -> str:
            name = token["name"]
            if name is None:
                return token[0]
            if declared[name].kind is Kind.DECIMAL:
                return f"{self._value(declared[name], values):f}"
            order.append(name)
            return "?"

        return _TOKEN.sub(placed, self.sql), order

    def _value(self, parameter: Parameter, values: Mapping[str, Value]) -> Value:
        value = values.get(parameter.name, parameter.default)
        if value is None:
            message = f"meter {self.name} needs --param {parameter.name}=...: {parameter.text}"
            raise MeterError(message)
        return value


def parse_meter(text: str, origin: str) -> Meter:
    """The meter in a file.

    Raises:
        MeterError: The file has no header, or one with a mistake in it.
    """
    fields = _header(text)
    problems = [f"has no line `-- {name}:`" for name in ("meter", "version", "description") if name not in fields]
    if problems:
        message = f"{origin}: {problems[0]} at its beginning"
        raise MeterError(message)
    try:
        meter = Meter(
            name=_name(fields.pop("meter")),
            version=_version(fields.pop("version")),
            description=fields.pop("description"),
            sql=text,
            needs=tuple(_need(each) for each in _listed(fields.pop("needs", ""))),
            identity=tuple(_listed(fields.pop("identity", ""))),
            parameters=tuple(parse_parameter(name.split()[1], declared) for name, declared in fields.items()),
        )
        _require_declared(meter)
    except (MeterError, ParameterError) as error:
        message = f"{origin}: {error}"
        raise MeterError(message) from None
    return meter


def _header(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = None
    for line in text.splitlines():
        comment = _COMMENT.fullmatch(line.strip())
        if comment is None:
            break
        if found := _FIELD.fullmatch(comment["text"].strip()):
            name = found["name"]
            fields[name] = found["text"].strip()
        elif name is not None:
            fields[name] += " " + comment["text"].strip()
    return fields


def _require_declared(meter: Meter) -> None:
    tokens = list(_TOKEN.finditer(meter.sql))
    used = [token["name"] for token in tokens if token["name"]]
    declared = [parameter.name for parameter in meter.parameters]
    unnamed = next((token["unnamed"] for token in tokens if token["unnamed"]), None)
    if unnamed is not None:
        message = f"{unnamed} stands in the query; parameters stand there by name, such as $month"
        raise MeterError(message)
    for name in used:
        if name not in declared:
            message = f"${name} stands in the query, and no line `-- param {name}:` declares it"
            raise MeterError(message)
    for name in declared:
        if name not in used:
            message = f"param {name} is declared, and ${name} does not stand in the query"
            raise MeterError(message)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        message = f"{text!r} is no name for a meter: lower-case letters, digits and _"
        raise MeterError(message)
    return text


def _version(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        message = f"version {text!r} is not a whole number from 1"
        raise MeterError(message)
    return int(text)


def _need(text: str) -> Need:
    if text not in tuple(Need):
        message = f"needs {text!r}, which is none of {', '.join(Need)}"
        raise MeterError(message)
    return Need(text)


def _listed(text: str) -> Sequence[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
