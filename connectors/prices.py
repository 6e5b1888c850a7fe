"""Prices of instance hours: On-Demand, Spot over time, and what commitments come to; a small file of them. Pure.

The file is one JSON object in UTF-8. Prices are decimal text, as EC2 gives them, so that no cent is lost; times are
ISO 8601; `platform` is `PlatformDetails` of an instance and `ProductDescription` of a Spot price:

    {"version": 1, "currency": "USD",
     "on_demand": [{"region": "eu-west-1", "instance_type": "m7g.large", "platform": "Linux/UNIX",
                    "per_hour": "0.0910"}],
     "spot": [{"zone": "eu-west-1b", "instance_type": "m7g.large", "platform": "Linux/UNIX",
               "at": "2026-03-14T00:00:00Z", "per_hour": "0.0337"}],
     "covered": [{"region": "eu-west-1", "instance_type": "m7g.large", "platform": "Linux/UNIX",
                  "per_hour": "0.0570"}]}

A Spot price holds from its time until the next of its pool. `covered` is the effective price of an hour that a Reserved
Instance or Savings Plan pays for. Each of the three lists may be empty; what is not in the file has no price.
"""

import json
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from connectors.ec2.identifiers import INSTANCE_TYPE, REGION, ZONE
from connectors.ec2.times import iso_8601_ms
from connectors.fields import FieldError, Fields, read_object

VERSION: Final = 1

MAX_PRICES_BYTES: Final = 256 << 20
"""Three months of Spot prices of every pool of a large Region are about 100 MB."""

HOUR_MS: Final = 3_600_000

_CURRENCY = re.compile(r"[A-Z]{3}")
_PRICE = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,10})?")
_MAX_PLATFORM_CHARS: Final = 64

_T = TypeVar("_T")


class PricesError(ValueError):
    """A price file that cannot be read; the message begins with the path of the field."""


@dataclass(frozen=True, slots=True)
class HourlyPrice:
    """What an hour of an instance type costs in a Region: On-Demand, or covered by a commitment."""

    region: str
    instance_type: str
    platform: str
    per_hour: Decimal


@dataclass(frozen=True, slots=True)
class SpotPrice:
    """What an hour of a Spot pool costs from a time on. `zone` is the name of the Availability Zone."""

    zone: str
    instance_type: str
    platform: str
    at_ms: int
    per_hour: Decimal


@dataclass(frozen=True, slots=True)
class Priced:
    """What a stretch of time costs, as far as it has a price.

    Attributes:
        amount: In the currency of the prices.
        priced_ms: How much of the time has a price.
    """

    amount: Decimal
    priced_ms: int


NOTHING_PRICED: Final = Priced(Decimal(0), 0)


class Prices:
    """Prices to ask for.

    Args:
        currency: That of all prices, such as USD.
        on_demand: On-Demand prices; of two for the same the later one holds.
        spot: Spot prices, in any order.
        covered: Effective prices of covered hours.
    """

    def __init__(
        self,
        currency: str,
        *,
        on_demand: Iterable[HourlyPrice] = (),
        spot: Iterable[SpotPrice] = (),
        covered: Iterable[HourlyPrice] = (),
    ) -> None:
        self.currency = currency
        self._on_demand = {(each.region, each.instance_type, each.platform): each.per_hour for each in on_demand}
        self._covered = {(each.region, each.instance_type, each.platform): each.per_hour for each in covered}
        self._spot: dict[tuple[str, str, str], list[SpotPrice]] = defaultdict(list)
        for price in spot:
            self._spot[price.zone, price.instance_type, price.platform].append(price)
        for of_pool in self._spot.values():
            of_pool.sort(key=lambda price: price.at_ms)

    def on_demand(self, *, region: str, instance_type: str, platform: str) -> Decimal | None:
        """The On-Demand price of an hour; None where the file has none."""
        return self._on_demand.get((region, instance_type, platform))

    def with_on_demand(self, more: Iterable[HourlyPrice]) -> "Prices":
        """The same, with On-Demand prices for what has none."""
        found = Prices(self.currency)
        found._on_demand = {(one.region, one.instance_type, one.platform): one.per_hour for one in more}
        found._on_demand |= self._on_demand
        found._covered, found._spot = self._covered, self._spot
        return found

    def with_spot(self, spot: Iterable[SpotPrice]) -> "Prices":
        """The same, with these Spot prices in place of its own."""
        found = Prices(self.currency, spot=spot)
        found._on_demand, found._covered = self._on_demand, self._covered
        return found

    def on_demand_of(self, region: str) -> list[HourlyPrice]:
        """All On-Demand prices of a Region."""
        return [HourlyPrice(*key, per_hour) for key, per_hour in self._on_demand.items() if key[0] == region]

    def lists(self, *, region: str, instance_type: str) -> bool:
        """Whether there is an On-Demand price of a type, of any platform."""
        return any(key[:2] == (region, instance_type) for key in self._on_demand)

    def covered(self, *, region: str, instance_type: str, platform: str) -> Decimal | None:
        """The effective price of an hour that a commitment covers; None where the file has none."""
        return self._covered.get((region, instance_type, platform))

    def spot(self, *, zone: str, instance_type: str, platform: str, at_ms: int) -> Decimal | None:
        """The Spot price of an hour at a time; None where the file has none so early."""
        of_pool = self._spot.get((zone, instance_type, platform), [])
        place = bisect_right(of_pool, at_ms, key=lambda price: price.at_ms)
        return of_pool[place - 1].per_hour if place else None

    def spot_cost(self, *, zone: str, instance_type: str, platform: str, start_ms: int, end_ms: int) -> Priced:
        """What a Spot Instance costs from a time to another: at every moment the price that holds then."""
        of_pool = self._spot.get((zone, instance_type, platform), [])
        amount = Decimal(0)
        priced_ms = 0
        first = max(0, bisect_right(of_pool, start_ms, key=lambda price: price.at_ms) - 1)
        for number in range(first, len(of_pool)):
            price = of_pool[number]
            if price.at_ms >= end_ms:
                break
            until_ms = of_pool[number + 1].at_ms if number + 1 < len(of_pool) else end_ms
            lasted_ms = max(0, min(until_ms, end_ms) - max(price.at_ms, start_ms))
            amount += price.per_hour * lasted_ms / HOUR_MS
            priced_ms += lasted_ms
        return Priced(amount, priced_ms)


def read_prices(text: bytes) -> Prices:
    """The prices in a file.

    Raises:
        PricesError: It is not one, of another version, or has a missing, unknown, repeated or wrongly typed field.
    """
    try:
        fields = read_object(text, max_bytes=MAX_PRICES_BYTES)
        version = fields.integer("version")
        if version != VERSION:
            reason = f"version is {version}, and this release reads {VERSION}"
            raise FieldError(reason)
        fields.require_exactly(("version", "currency", "on_demand", "spot", "covered"))
        return Prices(
            fields.matching("currency", _CURRENCY, "a currency of three capital letters"),
            on_demand=_each(fields, "on_demand", _hourly_price),
            spot=_each(fields, "spot", _spot_price),
            covered=_each(fields, "covered", _hourly_price),
        )
    except FieldError as error:
        raise PricesError(str(error)) from None


def write_prices(
    currency: str,
    *,
    on_demand: Iterable[HourlyPrice] = (),
    spot: Iterable[SpotPrice] = (),
    covered: Iterable[HourlyPrice] = (),
) -> bytes:
    """The file of some prices, which `read_prices` reads; a price a line."""
    lists: dict[str, list[dict[str, Any]]] = {
        "on_demand": [_hourly_line(price) for price in on_demand],
        "spot": [
            {
                "zone": price.zone,
                "instance_type": price.instance_type,
                "platform": price.platform,
                "at": datetime.fromtimestamp(price.at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "per_hour": f"{price.per_hour:f}",
            }
            for price in spot
        ],
        "covered": [_hourly_line(price) for price in covered],
    }
    parts = [f'"version": {VERSION}', f'"currency": {json.dumps(currency)}']
    for name, lines in lists.items():
        inside = ",\n  ".join(map(json.dumps, lines))
        parts.append(f'"{name}": [\n  {inside}\n ]' if lines else f'"{name}": []')
    return ("{" + ",\n ".join(parts) + "}\n").encode("ascii")


def _hourly_line(price: HourlyPrice) -> dict[str, Any]:
    return {
        "region": price.region,
        "instance_type": price.instance_type,
        "platform": price.platform,
        "per_hour": f"{price.per_hour:f}",
    }


def _each(fields: Fields, name: str, read: Callable[[Fields], _T]) -> list[_T]:
    return [read(element) for element in fields.objects(name)]


def _hourly_price(fields: Fields) -> HourlyPrice:
    fields.require_exactly(HourlyPrice.__dataclass_fields__)
    return HourlyPrice(region=fields.matching("region", REGION, "a Region"), **_type_and_price(fields))


def _spot_price(fields: Fields) -> SpotPrice:
    fields.require_exactly(("zone", "instance_type", "platform", "at", "per_hour"))
    return SpotPrice(
        zone=fields.matching("zone", ZONE, "a zone"),
        at_ms=fields.parsed("at", iso_8601_ms),
        **_type_and_price(fields),
    )


def _type_and_price(fields: Fields) -> dict[str, Any]:
    return {
        "instance_type": fields.matching("instance_type", INSTANCE_TYPE, "an instance type"),
        "platform": fields.text("platform", most_chars=_MAX_PLATFORM_CHARS),
        "per_hour": Decimal(fields.matching("per_hour", _PRICE, 'a price such as "0.0910"')),
    }
