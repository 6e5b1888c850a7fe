"""Described market: prices, commitments and scores out of what AWS answers. Pure."""

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from connectors.prices import HourlyPrice, SpotPrice
from connectors.spot_facts import DEFAULT_PLATFORM
from lambdas.spot.commitments import PlanKind, Reservation, SavingsPlan
from lambdas.spot.fleet import SHARED_TENANCY

Answer = Mapping[str, Any]

_VPC: Final = " (Amazon VPC)"
PLATFORM_OF_OPERATION: Final[Mapping[str, str]] = {
    "RunInstances": "Linux/UNIX",
    "RunInstances:00g0": "Red Hat BYOL Linux",
    "RunInstances:0010": "Red Hat Enterprise Linux",
    "RunInstances:1010": "Red Hat Enterprise Linux with HA",
    "RunInstances:1014": "Red Hat Enterprise Linux with SQL Server Standard and HA",
    "RunInstances:1110": "Red Hat Enterprise Linux with SQL Server Enterprise and HA",
    "RunInstances:0014": "Red Hat Enterprise Linux with SQL Server Standard",
    "RunInstances:0210": "Red Hat Enterprise Linux with SQL Server Web",
    "RunInstances:0110": "Red Hat Enterprise Linux with SQL Server Enterprise",
    "RunInstances:0100": "SQL Server Enterprise",
    "RunInstances:0004": "SQL Server Standard",
    "RunInstances:0200": "SQL Server Web",
    "RunInstances:000g": "SUSE Linux",
    "RunInstances:0g00": "Ubuntu Pro",
    "RunInstances:0002": "Windows",
    "RunInstances:0800": "Windows BYOL",
    "RunInstances:0102": "Windows with SQL Server Enterprise",
    "RunInstances:0006": "Windows with SQL Server Standard",
    "RunInstances:0202": "Windows with SQL Server Web",
}
"""`PlatformDetails` of an instance by what the Price List calls its `operation`.

Source: EC2 User Guide, billing-info-fields.
"""


def spot_prices_of(pages: Iterable[Answer]) -> list[SpotPrice]:
    """The prices of pages of DescribeSpotPriceHistory."""
    return [
        SpotPrice(
            zone=one["AvailabilityZone"],
            instance_type=one["InstanceType"],
            platform=one["ProductDescription"].removesuffix(_VPC),
            at_ms=int(one["Timestamp"].timestamp() * 1_000),
            per_hour=Decimal(one["SpotPrice"]),
        )
        for page in pages
        for one in page["SpotPriceHistory"]
    ]


def on_demand_prices_of(pages: Iterable[Answer]) -> list[HourlyPrice]:
    """The On-Demand prices of pages of GetProducts, with shared tenancy; what is no price of an hour is left out.

    Source: AWS Billing User Guide, using-price-list-query-api. Each product is JSON in a string; its terms are of one
    offer, and an hour of an instance has one price dimension.
    """
    found = []
    for product in (json.loads(one) for page in pages for one in page["PriceList"]):
        attributes = product["product"]["attributes"]
        platform = PLATFORM_OF_OPERATION.get(attributes.get("operation", ""))
        if platform is None or attributes.get("tenancy") != "Shared" or attributes.get("capacitystatus") != "Used":
            continue
        for term in product.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                per_hour = dimension["pricePerUnit"].get("USD")
                if dimension["unit"] == "Hrs" and per_hour is not None and Decimal(per_hour) > 0:
                    found.append(
                        HourlyPrice(attributes["regionCode"], attributes["instanceType"], platform, Decimal(per_hour))
                    )
    return found


def reservations_of(answer: Answer) -> list[Reservation]:
    """The reservations of an answer of DescribeReservedInstances."""
    return [
        Reservation(
            instance_type=one["InstanceType"],
            platform=one["ProductDescription"].removesuffix(_VPC),
            zone=one.get("AvailabilityZone") if one.get("Scope") == "Availability Zone" else None,
            count=one["InstanceCount"],
            tenancy=one.get("InstanceTenancy") or SHARED_TENANCY,
        )
        for one in answer["ReservedInstances"]
    ]


def plans_of(pages: Iterable[Answer], region: str) -> list[SavingsPlan]:
    """The Savings Plans of pages of DescribeSavingsPlans that pay for EC2 in a Region, without their rates."""
    kinds = {kind.value for kind in PlanKind}
    return [
        SavingsPlan(
            plan_id=one["savingsPlanId"],
            kind=PlanKind(one["savingsPlanType"]),
            per_hour=Decimal(one["commitment"]),
            family=one.get("ec2InstanceFamily") or None,
            region=one.get("region") or None,
            currency=one.get("currency", "USD"),
        )
        for page in pages
        for one in page["savingsPlans"]
        if one["savingsPlanType"] in kinds
        and one.get("state", "active") == "active"
        and (one["savingsPlanType"] == PlanKind.COMPUTE or one.get("region") == region)
    ]


def rates_of(pages: Iterable[Answer], region: str) -> dict[tuple[str, str], Decimal]:
    """What an hour of a type and a platform takes of a Savings Plan, of pages of DescribeSavingsPlanRates.

    Only hours of instances that run with shared tenancy: a plan has rates for reserved and unused capacity too.
    """
    found = {}
    for one in (one for page in pages for one in page["searchResults"]):
        told = {each["name"]: each["value"] for each in one.get("properties", [])}
        runs = one.get("unit") == "Hrs" and "BoxUsage" in one.get("usageType", "")
        shared = told.get("tenancy", "shared").lower() in ("shared", SHARED_TENANCY)
        if runs and shared and told.get("region", region) == region and "instanceType" in told:
            platform = told.get("productDescription", DEFAULT_PLATFORM).removesuffix(_VPC)
            found[told["instanceType"], platform] = Decimal(one["rate"])
    return found


def zone_scores_of(pages: Iterable[Answer]) -> dict[str, int]:
    """The scores by zone id, of pages of GetSpotPlacementScores."""
    return {
        one["AvailabilityZoneId"]: one["Score"]
        for page in pages
        for one in page["SpotPlacementScores"]
        if "AvailabilityZoneId" in one
    }
