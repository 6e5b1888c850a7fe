"""Create Spot: launches the twin of an instance that the scan has chosen, if that is still to be done (P2).

Takes messages of the spot-creator queue. What is launched is journaled first; its health and its way into the group are
for `swap_instance`, over the instance-swapper queue.
"""

from dataclasses import replace
from typing import Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from connectors.actions import UnknownActionError
from connectors.swap_messages import CreateSpot, decode
from lambdas.spot.actuator import Actuator, ForeignError
from lambdas.spot.amazon import AmazonError, Refusal
from lambdas.spot.commitment_scan import CommitmentScan
from lambdas.spot.fleet import Fleet, Group
from lambdas.spot.invocation import actuator, work_off
from lambdas.spot.observe import is_managed
from lambdas.spot.plan import free_after, plan_group
from lambdas.spot.saga_step import Call
from lambdas.spot.scan import prices_of, with_images
from lambdas.spot.swap import GroupJournal, PlannedSwap, open_swap

CALLS: Final = frozenset({Call.LAUNCH, Call.END_TWIN})
"""What this actuator does; everything that touches a group is for `swap_instance`."""

logger = Logger(service="create-spot")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """The messages that go back to the queue.

    Raises:
        ActuatorSettingsError: The environment is not usable.
    """
    made = actuator("create-spot", context, logger)
    return work_off(made, event, context, lambda body: create(made, body))


def create(made: Actuator, body: bytes) -> None:
    """Launches a twin, or says why not.

    Raises:
        MalformedActionError: The message is none.
        UnknownActionError: It is another.
        ForeignError: The group is not ours to touch.
        AmazonError: It may do later.
        UndoneError: It was refused.
    """
    message = decode(body)
    if not isinstance(message, CreateSpot):
        reason = "this queue takes create_spot"
        raise UnknownActionError(reason)
    made.require_ours(message.account, message.region)
    about: dict[str, Any] = {"group": message.group, "original": message.original_id}
    if made.clock_ms() > message.not_after_ms:
        made.logger.info("create_expired", **about)
        return
    group = made.describe.groups([message.group]).get(message.group)
    if group is None:
        made.logger.info("create_not_wanted", **about, reason="the group is gone")
        return
    if not is_managed(group, made.environment.tag):
        reason = f"the group {group.name} does not have the tag {made.environment.tag}"
        raise ForeignError(reason)
    journal = made.store.load(group.name)
    planned = None if journal.swap_of(message.original_id) else _planned(made, message, group, journal)
    if isinstance(planned, str):
        made.logger.info("create_not_wanted", **about, reason=planned)
        return
    driven = made.driver().drive(
        group.name,
        change=lambda read: _opened(read, journal, planned, made.clock_ms()),
        may=CALLS,
        before_wait=made.wake,
    )
    if driven.is_busy:
        raise AmazonError(Refusal.TRANSIENT, "create_spot", "Busy", "another actuator is at work on the group")
    made.report(driven)


def _opened(journal: GroupJournal, planned_on: GroupJournal, planned: PlannedSwap | None, at_ms: int) -> GroupJournal:
    if planned is None or journal.swap_of(planned.original_id):
        return journal
    if [swap.swap_id for swap in journal.swaps] != [swap.swap_id for swap in planned_on.swaps]:
        # Beside other swaps it might be too many of a pool, too few On-Demand, or too many at a time.
        raise AmazonError(
            Refusal.TRANSIENT, "create_spot", "Overtaken", "the swaps of the group have changed meanwhile"
        )
    return replace(journal, swaps=(*journal.swaps, open_swap(planned, at_ms)))


def _planned(made: Actuator, message: CreateSpot, group: Group, journal: GroupJournal) -> PlannedSwap | str:
    """The swap as it is planned now, of the types that the message names; or why there is none."""
    fleet = _fleet(made, message, group)
    scan = CommitmentScan(made.describe, made.environment.region, fleet.prices, made.environment.compute_percent)
    paid, _ = scan.cover()  # the scan has told what could not be asked
    paid = replace(paid, free=free_after(paid.free, fleet, [journal]))
    settings = made.settings(paid)
    plan = plan_group(fleet, fleet.groups[0], journal, settings, only=message.original_id)
    for swap in plan.swaps:
        return swap
    kept = next((one.reason for one in plan.kept if one.instance_id == message.original_id), "it is not in service")
    return plan.refusal or kept


def _fleet(made: Actuator, message: CreateSpot, group: Group) -> Fleet:
    at_ms, describe = made.clock_ms(), made.describe
    instances = describe.instances(member.instance_id for member in group.members)
    original = instances.get(message.original_id)
    types = set(message.types.split()) | ({original.instance_type, original.stands_for} if original else set())
    facts = describe.types(types)
    prices = made.on_demand_prices().listed
    if original is not None:
        on_demand, region = made.on_demand_prices(), message.region
        prices, _, _ = prices_of(describe, on_demand, region, [original], at_ms, (types, original.zone))
    groups, images = with_images(describe, (group,), made.environment.tag)
    return Fleet(
        account=message.account,
        region=message.region,
        at_ms=at_ms,
        groups=groups,
        instances=instances,
        types=facts,
        prices=prices,
        markets=made.store.everything().markets,
        images=images,
    )
