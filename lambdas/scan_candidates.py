"""Scan candidates: looks at the whole fleet, and sends what is to be swapped to the spot-creator queue (P1).

Called on a schedule. It also tells the spot job what no event of EC2 says, and wakes groups whose message was lost.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from aws_lambda_powertools import Logger

from connectors.spot_facts import (
    MOST_IN_RECORD,
    DescribedInstance,
    Facts,
    PoolHealth,
    PoolScore,
    PoolsHealth,
    Purchase,
    describe_instances,
    facts_id,
)
from connectors.swap_messages import MAX_TYPES, CreateSpot, encode
from lambdas.spot.actuator import Actuator
from lambdas.spot.amazon import CALL_FAILED, amazon_error
from lambdas.spot.cover import Cover
from lambdas.spot.fleet import ASG_TAG, Fleet
from lambdas.spot.invocation import actuator, failure_told
from lambdas.spot.placement import pool_scores, score_facts, score_questions
from lambdas.spot.plan import GroupPlan, plan_fleet
from lambdas.spot.saga_step import Wait
from lambdas.spot.swap import GroupJournal, PlannedSwap

VALID_MS: Final = 30 * 60_000
"""How long a choice is worth acting on; prices and groups change."""

LOST_MS: Final = 20 * 60_000
"""After how long without a move a group's message must have been lost: no wait is longer than 15 minutes."""

_BATCH: Final = 10

logger = Logger(service="scan-candidates")


@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """How many groups, instances and swaps there were.

    Raises:
        ActuatorSettingsError: The environment is not usable.
        AmazonError: A call failed.
    """
    made = actuator("scan-candidates", context, logger)
    try:
        return scan(made)
    finally:
        made.metrics.flush_metrics()


def scan(made: Actuator) -> dict[str, int]:
    """Looks, plans, and sends; how many of what.

    Raises:
        AmazonError: A call failed; the next scan does the rest.
    """
    with failure_told(made):
        return _scan(made)


def _scan(made: Actuator) -> dict[str, int]:
    environment = made.environment
    remembered = made.store.everything()
    scanned = made.scan(remembered.markets)
    for note in scanned.notes:
        made.logger.warning("scan_note", note=note)
    plans = plan_fleet(scanned.fleet, remembered.groups, made.settings(scanned.cover))
    _log(made, plans)
    swaps = [swap for plan in plans for swap in plan.swaps]
    lost = [one for one in remembered.groups.values() if _is_lost(one, scanned.fleet.at_ms)]
    if not environment.dry_run:
        _send(made, swaps, scanned.fleet.at_ms)
        for journal in lost:
            made.wake(journal, Wait(0, "a lost message"))
        made.tell(facts_of(scanned.fleet, scanned.cover))
        if environment.events_stream:
            made.tell(score_facts(scanned.fleet, scores_of(made, scanned.fleet)))
    counts = {"groups": len(plans), "instances": len(scanned.fleet.instances), "swaps": len(swaps), "woken": len(lost)}
    for name, count in counts.items():
        made.count(f"Scan{name.title()}", count)
    return counts


def scores_of(made: Actuator, fleet: Fleet) -> Iterator[PoolScore]:
    """The placement scores of pools, as far as EC2 gives them; without them only a person brings a pool back."""
    try:
        questions = score_questions(fleet)
        names = made.zone_names() if questions else {}
        for question in questions:
            answered = made.describe.market.zone_scores(question.types, question.capacity, fleet.region)
            yield from pool_scores(question, answered, names)
    except CALL_FAILED as error:
        made.logger.warning("no_placement_scores", reason=str(amazon_error(error, "scores")))


def facts_of(fleet: Fleet, paid: Cover) -> Iterable[Facts]:
    """What a scan tells the spot job."""
    instances = [
        DescribedInstance(
            instance_id=one.instance_id,
            instance_type=one.instance_type,
            zone=one.zone,
            group=one.tags.get(ASG_TAG),
            purchase=Purchase.COVERED if one.instance_id in paid.covered else one.purchase,
            platform=one.platform,
            launched_at_ms=one.launched_at_ms,
            stands_for=None if one.stands_for == one.instance_type else one.stands_for,
        )
        for one in fleet.instances.values()
        if one.state == "running"
    ]
    yield from describe_instances(account=fleet.account, region=fleet.region, at_ms=fleet.at_ms, instances=instances)
    all_spots: Counter[tuple[str, str]] = Counter()
    healthy: Counter[tuple[str, str]] = Counter()
    for member in (member for group in fleet.groups for member in group.members):
        instance = fleet.instances.get(member.instance_id)
        if instance is not None and instance.purchase is Purchase.SPOT:
            all_spots[instance.instance_type, instance.zone] += 1
            healthy[instance.instance_type, instance.zone] += member.serves
    pools = [PoolHealth(*pool, instances=count, healthy=healthy[pool]) for pool, count in sorted(all_spots.items())]
    for number, start in enumerate(range(0, len(pools), MOST_IN_RECORD)):
        yield PoolsHealth(
            event_id=facts_id("pools", fleet.account, fleet.region, fleet.at_ms, number),
            account=fleet.account,
            region=fleet.region,
            at_ms=fleet.at_ms,
            pools=tuple(pools[start : start + MOST_IN_RECORD]),
        )


def _is_lost(journal: GroupJournal, at_ms: int) -> bool:
    return journal.is_open and at_ms >= journal.last_moved_ms + LOST_MS


def _send(made: Actuator, swaps: list[PlannedSwap], at_ms: int) -> None:
    bodies = [
        encode(message_of(swap, made.environment.account or "", made.environment.region, at_ms)) for swap in swaps
    ]
    for start in range(0, len(bodies), _BATCH):
        entries = [{"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies[start : start + _BATCH])]
        answer = made.clients.sqs.send_message_batch(QueueUrl=made.environment.creator_queue, Entries=entries)
        for failed in answer.get("Failed", []):
            made.logger.warning("candidate_not_sent", code=failed["Code"])  # the next scan sends it again


def message_of(swap: PlannedSwap, account: str, region: str, at_ms: int) -> CreateSpot:
    """The message that asks for a swap."""
    return CreateSpot(
        account=account,
        region=region,
        group=swap.group,
        original_id=swap.original_id,
        types=" ".join(sorted({option.instance_type for option in swap.options})[:MAX_TYPES]),
        issued_at_ms=at_ms,
        not_after_ms=at_ms + VALID_MS,
    )


def _log(made: Actuator, plans: Iterable[GroupPlan]) -> None:
    for plan in plans:
        if plan.refusal:
            made.logger.info("group_left_alone", group=plan.group, reason=plan.refusal)
        for swap in plan.swaps:
            made.logger.info(
                "candidate",
                group=swap.group,
                original=swap.original_id,
                purpose=swap.purpose,
                reason=swap.reason,
                options=json.dumps([f"{option.instance_type} {option.purchase}" for option in swap.options]),
                saving_per_hour=str(swap.saving_per_hour),
            )
        for kept in plan.kept:
            made.logger.debug("kept", group=plan.group, instance=kept.instance_id, reason=kept.reason)
