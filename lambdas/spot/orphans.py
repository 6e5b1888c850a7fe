"""Orphans: instances that the actuators launched and that are in no group. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from connectors.spot_facts import Purchase
from lambdas.spot.fleet import ENDED, Fleet, Instance
from lambdas.spot.swap import GroupJournal, Phase, PlannedSwap, Purpose, Swap, open_swap

GRACE_MS: Final = 15 * 60_000
"""How long an instance may be in no group before anybody wonders. A launch whose answer was lost is taken up sooner."""


@dataclass(frozen=True, slots=True)
class LeaveOrphan:
    """It is none, or not yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeferOrphan:
    """What it would be judged by could not be read: it is left until it can be, and somebody should know."""

    reason: str


@dataclass(frozen=True, slots=True)
class AdoptOrphan:
    """It takes the place of an instance that is to be swapped, once it is proven as any twin is."""

    swap: Swap
    reason: str


@dataclass(frozen=True, slots=True)
class EndOrphan:
    """It is ended."""

    reason: str


Judged = LeaveOrphan | DeferOrphan | AdoptOrphan | EndOrphan


def judge_orphan(
    instance: Instance,
    fleet: Fleet,
    journal: GroupJournal | None,
    planned: Iterable[PlannedSwap],
    *,
    unread_prices: str | None = None,
    grace_ms: int = GRACE_MS,
) -> Judged:
    """What becomes of an instance that the actuators launched and that no group has.

    Args:
        instance: It, with the tags of our launches.
        fleet: What the scan saw.
        journal: That of the group which it was launched for, None if there is none.
        planned: What the plan would have swapped in that group now.
        unread_prices: Why Spot prices could not be read, None if they could.
        grace_ms: How old it must be.
    """
    if instance.state in ENDED:
        return LeaveOrphan("it has ended")
    if journal and any(
        instance.swap_id == swap.swap_id or instance.instance_id == swap.twin_id for swap in journal.swaps
    ):
        return LeaveOrphan("its swap is under way")
    if fleet.at_ms < instance.launched_at_ms + grace_ms:
        return LeaveOrphan("it is younger than the grace period")
    for swap in planned:
        if _could_be_twin(instance, swap):
            return AdoptOrphan(_adopted(instance, swap, fleet.at_ms), f"it can take the place of {swap.original_id}")
    if unread_prices and _plan_is_blind(instance, fleet):
        return DeferOrphan(f"without a Spot price nobody can tell whether its group has use for it: {unread_prices}")
    ended = next((one for one in (journal.ended if journal else ()) if one.swap_id == instance.swap_id), None)
    return EndOrphan(f"its swap ended: {ended.reason}" if ended else "no swap is known that it was launched for")


def _plan_is_blind(instance: Instance, fleet: Fleet) -> bool:
    """Whether the plan of its group could have had it, had its price been known."""
    return (
        instance.purchase is Purchase.SPOT
        and any(group.name == instance.launched_for for group in fleet.groups)
        and fleet.spot_price(instance.pool, instance.platform) is None
    )


def _could_be_twin(instance: Instance, swap: PlannedSwap) -> bool:
    return (
        swap.purpose is Purpose.TO_SPOT
        and instance.stands_for in (instance.instance_type, swap.original_type)
        and instance.subnet_id == swap.subnet_id
        and any(
            (one.instance_type, one.purchase) == (instance.instance_type, instance.purchase) for one in swap.options
        )
    )


def _adopted(instance: Instance, planned: PlannedSwap, at_ms: int) -> Swap:
    options = tuple(option for option in planned.options if option.instance_type == instance.instance_type)
    return replace(
        open_swap(planned, at_ms),
        swap_id=instance.swap_id or instance.instance_id,
        options=options,
        phase=Phase.WARMING,
        asked_at_ms=at_ms,
        twin_id=instance.instance_id,
    )
