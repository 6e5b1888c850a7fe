"""Fleets of one group, for the tests of its plan."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from connectors.ec2.events import InstanceState
from connectors.prices import HourlyPrice, Prices, SpotPrice
from connectors.spot_facts import DEFAULT_PLATFORM, Purchase
from lambdas.spot.fleet import Fleet, Group, Instance, Member, TemplateVersion, TypeFacts

ZONE = "eu-west-1a"
TEMPLATE = TemplateVersion("lt-1", "1")
AT_MS = 1_770_000_000_000  # a Monday, 02:40 UTC


def facts(name: str, vcpus: int = 2, memory_mib: int = 8_192, **more: Any) -> TypeFacts:
    return TypeFacts(name, frozenset({more.pop("architecture", "x86_64")}), vcpus, memory_mib, **more)


TYPES = [
    facts("m5.large"),
    facts("m5a.large"),
    facts("m5.xlarge", 4, 16_384),
    facts("c5.large", 2, 4_096),
    facts("m6g.large", architecture="arm64"),
    facts("t3.large", burstable=True),
    facts("m5.metal", 96, 393_216, bare_metal=True),
    facts("u-1.large", 8, 65_536, spot=False),
]
ON_DEMAND = {one.instance_type: "0.1000" for one in TYPES}
SPOT = {"m5.large": "0.0400", "m5a.large": "0.0300", "m5.xlarge": "0.0900", "c5.large": "0.01", "m6g.large": "0.01",
        "t3.large": "0.01", "m5.metal": "0.01", "u-1.large": "0.01"}  # fmt: skip


def instance(number: int, purchase: Purchase = Purchase.ON_DEMAND, **more: Any) -> Instance:
    return Instance(
        instance_id=f"i-{number:08x}",
        instance_type=more.pop("instance_type", "m5.large"),
        zone=ZONE,
        subnet_id="subnet-1",
        image_id=more.pop("image_id", "ami-1"),
        purchase=purchase,
        state=InstanceState.RUNNING,
        launched_at_ms=number,
        **more,
    )


def fleet_of(
    *instances: Instance,
    tags: Mapping[str, str] | None = None,
    spot: Mapping[str, str] | None = None,
    **more: Any,
) -> Fleet:
    members = tuple(Member(one.instance_id, "InService", healthy=True, template=TEMPLATE) for one in instances)
    settings = {f"AsgOptimiser:{name}": value for name, value in (tags or {}).items()}
    group = Group(
        name="web",
        min_size=0,
        max_size=len(members),
        desired=len(members),
        members=members,
        tags={"AsgOptimiser": "on", **settings},
        template=TEMPLATE,
    )
    prices = Prices(
        "USD",
        on_demand=[
            HourlyPrice("eu-west-1", name, DEFAULT_PLATFORM, Decimal(price)) for name, price in ON_DEMAND.items()
        ],
        spot=[SpotPrice(ZONE, name, DEFAULT_PLATFORM, 0, Decimal(price)) for name, price in (spot or SPOT).items()],
    )
    return Fleet(
        account="123456789012",
        region="eu-west-1",
        at_ms=AT_MS,
        groups=(replace(group, **{name: more.pop(name) for name in list(more) if name in Group.__dataclass_fields__}),),
        instances={one.instance_id: one for one in instances},
        types={one.instance_type: one for one in TYPES},
        prices=prices,
        **more,
    )
