"""Price tables: tiers of units with a price each, read from CSV or TOML and refused where they leave a gap. Pure.

    unit,above,up_to,price,per,currency
    wcu,0,1000000,0,1000000,USD
    wcu,1000000,,0.625,1000000,USD

A tier prices the units above one bound and up to the other; the last has no upper bound. A first tier with the price 0
is a free allowance. `per` is how many units the price is for.
"""

import csv
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from io import StringIO
from itertools import pairwise
from typing import Any, Final

UNITS: Final = ("wcu", "writes", "bytes_written")
COLUMNS: Final = ("unit", "above", "up_to", "price", "per", "currency")
_LARGEST: Final = 10**18 - 1
_MOST_DECIMALS: Final = 12
_MOST_DECIMALS_OF_PRICE: Final = 6
_POWERS_OF_TEN: Final = tuple(10**power for power in range(13))


class PriceError(Exception):
    """A price table that cannot be used; the message names the file and the tier."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The price of some of the units of a month.

    Attributes:
        tier: Its number among those of its unit, from 1.
        up_to: None where there is no bound.
        price: Of `per` units, which is a power of ten, so that the price of one unit is exact.
    """

    unit: str
    tier: int
    above: int
    up_to: int | None
    price: Decimal
    per: int
    currency: str

    @property
    def price_of_one(self) -> Decimal:
        """The price of one unit, exactly."""
        return self.price.scaleb(-_POWERS_OF_TEN.index(self.per))


def read_prices(text: str, origin: str) -> list[Tier]:
    """The tiers of a price table, sorted by unit and bounds.

    Args:
        text: CSV, or where the name ends in `.toml`, TOML with `[[tiers]]`.
        origin: The name of the file.

    Raises:
        PriceError: It has a mistake, a gap or an overlap.
    """
    rows = _toml_rows(text, origin) if origin.endswith(".toml") else _csv_rows(text, origin)
    bounds = sorted((_tier(row, f"{origin}: {place}") for place, row in rows), key=lambda tier: (tier.unit, tier.above))
    if not bounds:
        message = f"{origin}: has no tier"
        raise PriceError(message)
    tiers: list[Tier] = []
    for unit in sorted({tier.unit for tier in bounds}):
        of_unit = [tier for tier in bounds if tier.unit == unit]
        _require_complete(of_unit, origin)
        tiers += [
            Tier(each.unit, number, each.above, each.up_to, each.price, each.per, each.currency)
            for number, each in enumerate(of_unit, 1)
        ]
    return tiers


def _csv_rows(text: str, origin: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    reader = csv.DictReader(StringIO(text), strict=True)
    try:
        if tuple(reader.fieldnames or ()) != COLUMNS:
            message = f"{origin}: its first line is not {','.join(COLUMNS)}"
            raise PriceError(message)
        rows = [(f"line {reader.line_num}", row) for row in reader]
    except csv.Error as error:
        message = f"{origin}: not CSV: {error}"
        raise PriceError(message) from error
    for place, row in rows:
        if None in row or None in row.values():
            message = f"{origin}: {place}: has not {len(COLUMNS)} fields"
            raise PriceError(message)
    return rows


def _toml_rows(text: str, origin: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    try:
        tiers = tomllib.loads(text, parse_float=Decimal).get("tiers")
    except (tomllib.TOMLDecodeError, ValueError) as error:
        message = f"{origin}: not valid TOML: {error}"
        raise PriceError(message) from error
    if not isinstance(tiers, list) or not all(isinstance(each, dict) for each in tiers):
        message = f"{origin}: has no [[tiers]]"
        raise PriceError(message)
    for number, each in enumerate(tiers, 1):
        if unknown := set(each) - set(COLUMNS):
            message = f"{origin}: tiers[{number}]: {sorted(unknown)[0]!r} is none of {', '.join(COLUMNS)}"
            raise PriceError(message)
    return [
        (f"tiers[{number}]", {name: str(each.get(name, "")) for name in COLUMNS})
        for number, each in enumerate(tiers, 1)
    ]


def _tier(row: Mapping[str, str], place: str) -> Tier:
    unit, currency = row["unit"].strip(), row["currency"].strip()
    if unit not in UNITS:
        message = f"{place}: unit {row['unit']!r} is none of {', '.join(UNITS)}"
        raise PriceError(message)
    if not currency:
        message = f"{place}: currency is missing"
        raise PriceError(message)
    above = _count(row["above"], "above", place)
    up_to = _count(row["up_to"], "up_to", place) if row["up_to"].strip() else None
    per = _count(row["per"], "per", place)
    if per not in _POWERS_OF_TEN:
        message = f"{place}: per {row['per']!r} is not 1, 10, 100 and so on up to 10^12"
        raise PriceError(message)
    if up_to is not None and up_to <= above:
        message = f"{place}: up_to {up_to} is not above {above}"
        raise PriceError(message)
    tier = Tier(unit, 0, above, up_to, _price(row["price"], place), per, currency)
    if _decimals(tier.price) > _MOST_DECIMALS_OF_PRICE:
        price = f"{place}: price {row['price']!r}"
        message = f"{price} has more than {_MOST_DECIMALS_OF_PRICE} decimals: price more units at once (per)"
        raise PriceError(message)
    if _decimals(tier.price_of_one) > _MOST_DECIMALS:
        message = f"{place}: the price of one unit has more than {_MOST_DECIMALS} decimals"
        raise PriceError(message)
    return tier


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) else 0


def _count(text: str, name: str, place: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text.strip()) <= 18):
        message = f"{place}: {name} {text!r} is not a whole number from 0 to {_LARGEST}"
        raise PriceError(message)
    return int(text)


def _price(text: str, place: str) -> Decimal:
    try:
        price = Decimal(text.strip())
    except InvalidOperation:
        price = Decimal(-1)
    if not price.is_finite() or not 0 <= price < 10**6:
        message = f"{place}: price {text!r} is not a number from 0 to 999999"
        raise PriceError(message)
    return price


def _require_complete(tiers: Sequence[Tier], origin: str) -> None:
    unit = tiers[0].unit
    if tiers[0].above:
        message = f"{origin}: {unit}: a gap: no tier for the first {tiers[0].above} units"
        raise PriceError(message)
    for before, after in pairwise(tiers):
        if before.up_to is None or before.up_to > after.above:
            reaches = "has no upper bound" if before.up_to is None else f"reaches up to {before.up_to}"
            message = f"{origin}: {unit}: an overlap: the tier above {before.above} {reaches}, "
            message += f"and the next begins above {after.above}"
            raise PriceError(message)
        if before.up_to < after.above:
            message = f"{origin}: {unit}: a gap: no tier for the units above {before.up_to} and up to {after.above}"
            raise PriceError(message)
    if tiers[-1].up_to is not None:
        message = f"{origin}: {unit}: a gap: no tier for the units above {tiers[-1].up_to}"
        raise PriceError(message)
    if len({tier.currency for tier in tiers}) > 1:
        message = f"{origin}: {unit}: has several currencies"
        raise PriceError(message)
