"""Scan: the whole fleet at one time, in pages, with what it costs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from connectors.prices import HourlyPrice, Prices, SpotPrice, read_prices
from connectors.spot_facts import DEFAULT_PLATFORM
from lambdas.spot.amazon import amazon_error
from lambdas.spot.commitments import Cover, cover
from lambdas.spot.describe import Describe
from lambdas.spot.fleet import Fleet, Group, Instance, Market, Pool, TemplateVersion, TypeFacts
from lambdas.spot.group_policy import DEFAULT_TAG, PolicyError, read_policy
from lambdas.spot.plan import PlanSettings

NO_PRICES: Final = Prices("USD")
NO_COVER: Final = Cover({}, {})


@dataclass(frozen=True, slots=True)
class Scanned:
    """A fleet, and what could not be asked."""

    fleet: Fleet
    cover: Cover = NO_COVER
    notes: tuple[str, ...] = ()


def load_prices(path: Path | None) -> Prices:
    """The prices of a file; none without a file.

    Raises:
        OSError: It cannot be read.
        PricesError: It is no price file.
    """
    return NO_PRICES if path is None else read_prices(path.read_bytes())


def scan_fleet(
    describe: Describe,
    *,
    account: str,
    region: str,
    at_ms: int,
    tag: str = DEFAULT_TAG,
    listed: Prices = NO_PRICES,
    markets: Mapping[Pool, Market] | None = None,
    types: Callable[[], Mapping[str, TypeFacts]] | None = None,
) -> Scanned:
    """Everything that a plan needs, in as many calls as there are pages.

    Args:
        describe: Who is asked.
        account: Ours.
        region: Ours.
        at_ms: Now.
        tag: The tag that puts a group under our care.
        listed: On-Demand prices, and Spot prices for when EC2 gives none.
        markets: What the spot job said of pools.
        types: The facts of all types, where they are known already; they never change.

    Raises:
        AmazonError: A question was refused, other than that of Spot prices.
    """
    try:
        groups, images = with_images(describe, describe.tagged_groups(tag), tag)
        instances = describe.grouped_instances()
        facts = (types or describe.types)()
        changing = describe.changing_stacks() if any(group.stack for group in groups) else frozenset()
    except (ClientError, BotoCoreError) as error:
        raise amazon_error(error, "describe") from error
    ours = _ours(groups, instances)
    platforms = sorted({instance.platform for instance in ours.values()} | {DEFAULT_PLATFORM})
    notes: tuple[str, ...] = ()
    try:
        prices = combined(listed, region, facts, platforms, describe.spot_prices(platforms, at_ms))
    except (ClientError, BotoCoreError) as error:
        prices = listed
        notes = (f"Spot prices are those of the price file: {amazon_error(error, 'prices')}",)
    fleet = Fleet(
        account=account,
        region=region,
        at_ms=at_ms,
        groups=groups,
        instances=ours,
        types=facts,
        prices=prices,
        markets=markets or {},
        images=images,
        changing_stacks=changing,
    )
    paid, problems = look_for_cover(describe)
    return Scanned(fleet, paid, (*notes, *problems))


def settings_of(tag: str, paid: Cover) -> PlanSettings:
    """What holds for all groups of a scan."""
    return PlanSettings(tag=tag, covered=paid.covered, free_cover=paid.free)


def look_for_cover(describe: Describe) -> tuple[Cover, tuple[str, ...]]:
    """What reservations pay for, and why that could not be asked. Without a single reservation it is one call."""
    try:
        reservations = describe.reservations()
        return (cover(reservations, describe.running_instances().values()) if reservations else NO_COVER), ()
    except (ClientError, BotoCoreError) as error:
        return NO_COVER, (f"Reserved Instances are not looked at: {amazon_error(error, 'reservations')}",)


def combined(
    listed: Prices, region: str, types: Iterable[str], platforms: Iterable[str], spot: Iterable[SpotPrice]
) -> Prices:
    """On-Demand prices of a list, and Spot prices that EC2 gave."""
    on_demand = [
        HourlyPrice(region, name, platform, price)
        for name in types
        for platform in platforms
        if (price := listed.on_demand(region=region, instance_type=name, platform=platform)) is not None
    ]
    return Prices(listed.currency, on_demand=on_demand, spot=spot)


def _ours(groups: Iterable[Group], instances: Mapping[str, Instance]) -> dict[str, Instance]:
    members = {member.instance_id for group in groups for member in group.members}
    return {name: one for name, one in instances.items() if name in members or one.swap_id}


def with_images(
    describe: Describe, groups: tuple[Group, ...], tag: str
) -> tuple[tuple[Group, ...], dict[TemplateVersion, str]]:
    """The groups, those with a roll-out at the number of the version that they launch from; and its images."""
    images: dict[TemplateVersion, str] = {}
    found: list[Group] = []
    for group in groups:
        resolved = describe.resolved(group) if _rolls_out(group, tag) else None
        if resolved is not None:
            group = replace(group, template=resolved[0])
            images[resolved[0]] = resolved[1]
        found.append(group)
    return tuple(found), images


def _rolls_out(group: Group, tag: str) -> bool:
    try:
        policy = read_policy(group.tags, tag)
    except PolicyError:
        return False
    return policy.enabled and policy.roll_out
