"""Scan: the whole fleet at one time, in pages, with what it costs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from connectors.prices import Prices, PricesError, read_prices
from connectors.spot_facts import DEFAULT_PLATFORM
from lambdas.spot.amazon import CALL_FAILED, amazon_error
from lambdas.spot.commitment_scan import CommitmentScan
from lambdas.spot.cover import Cover
from lambdas.spot.describe import Describe
from lambdas.spot.fleet import Fleet, Group, Instance, Market, Pool, TemplateVersion, TypeFacts
from lambdas.spot.group_policy import DEFAULT_TAG, PolicyError, read_policy
from lambdas.spot.plan import PlanSettings
from lambdas.spot.price_list import OnDemandPrices

NO_PRICES: Final = Prices("USD")
_CURRENCIES: Final = ("USD", "CNY")  # Source: AWS pricing pages of aws.amazon.com and amazonaws.cn
NO_COVER: Final = Cover()
NO_FILE: Final = OnDemandPrices(NO_PRICES)


@dataclass(frozen=True, slots=True)
class Scanned:
    """A fleet, and what could not be asked.

    Attributes:
        notes: all of that.
        unread_prices: why Spot prices could not be read, None if they could; it is among the notes.
    """

    fleet: Fleet
    cover: Cover = NO_COVER
    notes: tuple[str, ...] = ()
    unread_prices: str | None = None


def load_prices(path: Path | None) -> Prices:
    """The prices of a file; none without a file.

    Raises:
        OSError: It cannot be read.
        PricesError: It is no price file, or its prices cannot be compared with those of EC2.
    """
    if path is None:
        return NO_PRICES
    prices = read_prices(path.read_bytes())
    if prices.currency not in _CURRENCIES:
        reason = f"currency is {prices.currency}; EC2 tells Spot prices in USD, and in China in CNY"
        raise PricesError(reason)
    return prices


def scan_fleet(
    describe: Describe,
    *,
    account: str,
    region: str,
    at_ms: int,
    tag: str = DEFAULT_TAG,
    on_demand: OnDemandPrices = NO_FILE,
    compute_percent: int = 100,
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
        on_demand: On-Demand prices, and a file's Spot prices for when EC2 gives none.
        compute_percent: How much of each Compute Savings Plan is left for this Region's instances.
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
    except CALL_FAILED as error:
        raise amazon_error(error, "describe") from error
    ours = _ours(groups, instances)
    prices, notes, unread = prices_of(describe, on_demand, region, instances.values(), at_ms)
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
    paid, problems = CommitmentScan(describe, region, prices, compute_percent).cover()
    return Scanned(fleet, paid, (*notes, *problems), unread)


def settings_of(tag: str, paid: Cover) -> PlanSettings:
    """What holds for all groups of a scan."""
    return PlanSettings(tag=tag, covered=paid.covered, free=paid.free)


def prices_of(
    describe: Describe,
    on_demand: OnDemandPrices,
    region: str,
    instances: Iterable[Instance],
    at_ms: int,
    pools: tuple[Iterable[str], str] | None = None,
) -> tuple[Prices, tuple[str, ...], str | None]:
    """On-Demand prices of what there is, Spot prices of what there could be, notes, and why Spot prices are lacking.

    `pools` are the types and the zone that Spot prices are asked for, all if None.
    """
    found = list(instances)
    platforms = sorted({one.platform for one in found} | {DEFAULT_PLATFORM})
    asked, notes = on_demand.of(describe.market, region, {one.stands_for for one in found}, at_ms)
    listed = on_demand.listed
    try:
        spot = describe.market.spot_prices(platforms, at_ms, *(pools or ()))
    except CALL_FAILED as error:
        # Without Spot prices there is still On-Demand capacity, and what the file says.
        problem = f"Spot prices are those of the price file: {amazon_error(error, 'prices')}"
        return listed.with_on_demand(asked), (*notes, problem), problem
    return listed.with_spot(spot).with_on_demand(asked), notes, None


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
