"""Made-up prices for the made-up fleet. `python -m tests.spot_prices` writes the file that ships with the project."""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Final

from connectors.prices import HourlyPrice, SpotPrice, write_prices
from connectors.spot_facts import DEFAULT_PLATFORM
from tests.spot_stream import GROUPS, HOUR_MS, REGION, START_MS

PRICES: Final = Path(__file__).parents[1] / "examples" / "spot-prices.json"

_ON_DEMAND: Final = {"m7g.large": "0.0909", "m7g.xlarge": "0.1818", "c7g.2xlarge": "0.3098", "r7g.xlarge": "0.2374"}


def text() -> bytes:
    """The file: a Spot price of about a third of On-Demand, changing every few hours."""
    random = Random(5)
    on_demand, covered, spot = [], [], []
    for instance_type, per_hour in _ON_DEMAND.items():
        about = {"region": REGION, "instance_type": instance_type, "platform": DEFAULT_PLATFORM}
        on_demand.append(HourlyPrice(**about, per_hour=Decimal(per_hour)))
        covered.append(HourlyPrice(**about, per_hour=(Decimal(per_hour) * Decimal("0.62")).quantize(Decimal("0.0001"))))
    for instance_type, zone in sorted({(group.instance_type, zone) for group in GROUPS for zone in group.zones}):
        for hour in range(-24, 24, 6):
            share = Decimal(random.randrange(28, 44)) / 100
            price = (Decimal(_ON_DEMAND[instance_type]) * share).quantize(Decimal("0.000001"))
            at_ms = START_MS + hour * HOUR_MS
            spot.append(SpotPrice(zone, instance_type, DEFAULT_PLATFORM, at_ms=at_ms, per_hour=price))
    return write_prices("USD", on_demand=on_demand, spot=spot, covered=covered)


if __name__ == "__main__":
    PRICES.write_bytes(text())
