"""Describe market: what capacity costs, what is paid for already, and what EC2 thinks of a pool."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from connectors.prices import HourlyPrice, SpotPrice
from lambdas.spot.amazon import Clients
from lambdas.spot.commitments import Reservation, SavingsPlan
from lambdas.spot.described_market import (
    on_demand_prices_of,
    plans_of,
    rates_of,
    reservations_of,
    spot_prices_of,
    zone_scores_of,
)

PRICES_PAGE: Final = 1_000
PRODUCTS_PAGE: Final = 100
PLANS_PAGE: Final = 1_000
"""The most that each of them gives at once. Source: API references of EC2, Price List and Savings Plans."""

_TYPES_ASKED: Final = 20
"""Types in one question to the Price List, whose filter values are of a limited length."""


class DescribeMarket:
    """Questions, none of which changes anything. All raise botocore's errors."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def spot_prices(
        self, platforms: Iterable[str], at_ms: int, types: Iterable[str] | None = None, zone: str | None = None
    ) -> list[SpotPrice]:
        """The Spot prices that hold now, of all pools, or of some types in a zone."""
        request: dict[str, Any] = {
            "StartTime": datetime.fromtimestamp(at_ms / 1_000, UTC),
            "ProductDescriptions": sorted({*platforms, *(f"{one} (Amazon VPC)" for one in platforms)}),
        }
        if types is not None:
            request["InstanceTypes"] = sorted(types)
        if zone is not None:
            request["AvailabilityZone"] = zone
        pages = self._clients.ec2.get_paginator("describe_spot_price_history").paginate(
            **request, PaginationConfig={"PageSize": PRICES_PAGE}
        )
        return spot_prices_of(pages)

    def on_demand_prices(self, region: str, types: Iterable[str]) -> list[HourlyPrice]:
        """The On-Demand prices of some types in a Region, of all platforms, as the Price List has them."""
        names = sorted(set(types))
        found: list[HourlyPrice] = []
        for at in range(0, len(names), _TYPES_ASKED):
            filters = {
                "regionCode": ("TERM_MATCH", region),
                "tenancy": ("TERM_MATCH", "Shared"),
                "capacitystatus": ("TERM_MATCH", "Used"),
                "instanceType": ("ANY_OF", ",".join(names[at : at + _TYPES_ASKED])),
            }
            pages = self._clients.pricing.get_paginator("get_products").paginate(
                ServiceCode="AmazonEC2",
                FormatVersion="aws_v1",
                Filters=[
                    {"Field": field, "Type": how, "Value": value} for field, (how, value) in sorted(filters.items())
                ],
                PaginationConfig={"PageSize": PRODUCTS_PAGE},
            )
            found += on_demand_prices_of(pages)
        return found

    def reservations(self) -> list[Reservation]:
        """The Reserved Instances that are active. EC2 gives them all at once."""
        answer = self._clients.ec2.describe_reserved_instances(Filters=[{"Name": "state", "Values": ["active"]}])
        return reservations_of(answer)

    def savings_plans(self, region: str) -> list[SavingsPlan]:
        """The active Savings Plans that pay for EC2 in a Region, without their rates."""
        return plans_of(_pages(self._clients.savingsplans.describe_savings_plans, states=["active"]), region)

    def savings_plan_rates(
        self, plan_id: str, region: str, platforms: Iterable[str]
    ) -> Mapping[tuple[str, str], Decimal]:
        """What an hour of each type and platform takes of a Savings Plan."""
        filters = {
            "region": [region],
            "productType": ["EC2"],
            "tenancy": ["shared"],
            "productDescription": sorted(set(platforms)),
        }
        pages = _pages(
            self._clients.savingsplans.describe_savings_plan_rates,
            savingsPlanId=plan_id,
            filters=[{"name": name, "values": values} for name, values in filters.items()],
        )
        return rates_of(pages, region)

    def zone_scores(self, types: Iterable[str], capacity: int, region: str) -> dict[str, int]:
        """The placement scores of a Region's zones, by zone id, for that many instances of any of these types."""
        pages = self._clients.ec2.get_paginator("get_spot_placement_scores").paginate(
            InstanceTypes=sorted(set(types)),
            TargetCapacity=capacity,
            TargetCapacityUnitType="units",
            SingleAvailabilityZone=True,
            RegionNames=[region],
        )
        return zone_scores_of(pages)

    def zone_names(self) -> dict[str, str]:
        """The names of the Region's zones in this account, by their ids."""
        zones = self._clients.ec2.describe_availability_zones()["AvailabilityZones"]
        return {one["ZoneId"]: one["ZoneName"] for one in zones}


def _pages(ask: Any, **request: Any) -> Iterator[Mapping[str, Any]]:
    """The answers of a call for which botocore has no paginator."""
    token: dict[str, str] = {}
    while True:
        answer = ask(**request, maxResults=PLANS_PAGE, **token)
        yield answer
        if not answer.get("nextToken"):
            return
        token = {"nextToken": answer["nextToken"]}
