"""Price list: On-Demand prices of a file, and for types that it lacks those of the Price List API, kept for a day."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.prices import HourlyPrice, Prices, PricesError, read_prices, write_prices
from lambdas.spot.amazon import CALL_FAILED, amazon_error
from lambdas.spot.describe_market import DescribeMarket

FRESH_MS: Final = 24 * 3_600_000
"""How long a price that was asked for is not asked for again. AWS changes On-Demand prices some times a year."""

_CURRENCY: Final = "USD"
"""What the Price List's prices are in, outside of China. A price file in another is not mixed with them."""


@dataclass(frozen=True, slots=True)
class OnDemandPrices:
    """Where On-Demand prices come from.

    Attributes:
        listed: those of the user's file, which go before all others.
        cache: the file in which answers of the Price List are kept, in the form of a price file; None keeps none.
        fresh_ms: how old they may be before they are asked for again.
    """

    listed: Prices
    cache: Path | None = None
    fresh_ms: int = FRESH_MS

    def of(
        self, market: DescribeMarket, region: str, types: Iterable[str], at_ms: int
    ) -> tuple[list[HourlyPrice], tuple[str, ...]]:
        """The prices of types that the user's file lacks, and what an operator should know of them.

        A Price List that is out of reach costs nothing but freshness: what is kept is used, however old it is.
        """
        wanted = {name for name in types if not self.listed.lists(region=region, instance_type=name)}
        if not wanted or self.listed.currency != _CURRENCY:
            return [], ()
        kept, is_fresh = self._kept(region, at_ms)
        known = {price.instance_type for price in kept}
        if is_fresh and wanted <= known:
            return kept, ()
        asked = wanted | known if not is_fresh else wanted - known
        try:
            answered = market.on_demand_prices(region, asked)
        except CALL_FAILED as error:
            problem = f"the Price List is out of reach: {amazon_error(error, 'prices')}"
            unknown = ", ".join(sorted(wanted - known))
            needed = f"without a price, which a price file can give: {unknown}" if unknown else "older prices are used"
            return kept, (f"{problem}; {needed}",)
        found = [*(price for price in kept if price.instance_type not in asked), *answered]
        return found, self._keep(found, at_ms)

    def _kept(self, region: str, at_ms: int) -> tuple[list[HourlyPrice], bool]:
        """What is kept of a Region, and whether it is fresh. What cannot be read counts as not there."""
        if self.cache is None:
            return [], False
        try:
            age_ms = at_ms - int(self.cache.stat().st_mtime * 1_000)
            prices = read_prices(self.cache.read_bytes()).on_demand_of(region)
        except (OSError, PricesError):
            return [], False
        return prices, bool(prices) and age_ms < self.fresh_ms

    def _keep(self, found: list[HourlyPrice], at_ms: int) -> tuple[str, ...]:
        if self.cache is None:
            return ()
        try:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.cache.parent, prefix=self.cache.name, delete=False) as file:
                file.write(write_prices(_CURRENCY, on_demand=found))
            os.utime(file.name, (at_ms / 1_000, at_ms / 1_000))
            Path(file.name).replace(self.cache)
        except OSError as error:
            return (f"prices could not be kept in {self.cache}: {error.strerror}",)
        return ()
