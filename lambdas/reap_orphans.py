"""Reap orphans: adopts or ends what the actuators launched and what no group has.

Called on a schedule. The saga leaves no orphans; what is found here was launched by a call whose answer was lost for
good, or was taken out of its group by somebody.
"""

from dataclasses import replace
from typing import Any, Final

from aws_lambda_powertools import Logger

from lambdas.spot.actuator import Actuator, UndoneError
from lambdas.spot.amazon import CALL_FAILED, AmazonError, amazon_error
from lambdas.spot.drive import ALL_CALLS, LAUNCH_CALLS
from lambdas.spot.fleet import ENDED, Fleet, Instance
from lambdas.spot.invocation import actuator, failure_told
from lambdas.spot.orphans import AdoptOrphan, DeferOrphan, Judged, LeaveOrphan, judge_orphan
from lambdas.spot.plan import PlanSettings, plan_group
from lambdas.spot.swap import GroupJournal, PlannedSwap

CALLS: Final = ALL_CALLS - LAUNCH_CALLS
"""What this actuator does: it launches nothing, and leaves that to `swap_instance` where it meets it."""

logger = Logger(service="reap-orphans")


@logger.inject_lambda_context
def handler(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """How many were left, adopted and ended.

    Raises:
        ActuatorSettingsError: The environment is not usable.
        AmazonError: The instances could not be seen.
    """
    made = actuator("reap-orphans", context, logger)
    try:
        return reap(made)
    finally:
        made.metrics.flush_metrics()


def reap(made: Actuator) -> dict[str, int]:
    """Judges every orphan; how many were left, adopted and ended.

    Raises:
        AmazonError: The instances, or what to judge them by, could not be seen.
    """
    with failure_told(made):
        return _reap(made)


def _reap(made: Actuator) -> dict[str, int]:
    counts = {"left": 0, "adopted": 0, "ended": 0, "failed": 0}
    orphans = _orphans(made)
    if not orphans:
        return counts
    remembered = made.store.everything()
    scanned = made.scan(remembered.markets)
    for note in scanned.notes:
        made.logger.warning("scan_note", note=note)
    fleet, settings = scanned.fleet, made.settings(scanned.cover)
    for instance in orphans:
        journal = remembered.groups.get(instance.launched_for or "")
        planned = _planned(settings, fleet, instance, journal)
        judged = judge_orphan(instance, fleet, journal, planned, unread_prices=scanned.unread_prices)
        try:
            done = _carry_out(made, instance, judged)
        except (AmazonError, UndoneError, *CALL_FAILED) as error:
            made.logger.error("orphan_failed", instance=instance.instance_id, reason=str(error))
            done = "failed"
        counts[done] += 1
    for name, count in counts.items():
        made.count(f"Orphans{name.title()}", count)
    return counts


def _orphans(made: Actuator) -> list[Instance]:
    try:
        launched = [one for one in made.describe.launched_instances().values() if one.state not in ENDED]
        # The tag of a group outlives the membership, so Auto Scaling itself is asked.
        grouped = made.describe.grouped(one.instance_id for one in launched)
    except CALL_FAILED as error:
        raise amazon_error(error, "describe") from error
    return [one for one in launched if one.instance_id not in grouped and one.launched_for]


def _planned(
    settings: PlanSettings, fleet: Fleet, instance: Instance, journal: GroupJournal | None
) -> tuple[PlannedSwap, ...]:
    group = next((one for one in fleet.groups if one.name == instance.launched_for), None)
    if group is None:
        return ()
    return plan_group(fleet, group, journal or GroupJournal(group.name), settings).swaps


def _carry_out(made: Actuator, instance: Instance, judged: Judged) -> str:
    about: dict[str, Any] = {"instance": instance.instance_id, "group": instance.launched_for, "reason": judged.reason}
    if isinstance(judged, LeaveOrphan):
        made.logger.info("orphan_left", **about)
        return "left"
    if isinstance(judged, DeferOrphan):
        made.logger.error("orphan_failed", **about)
        return "failed"
    done = "adopted" if isinstance(judged, AdoptOrphan) else "ended"
    made.logger.info(f"orphan_{done}", **about, dry_run=made.environment.dry_run)
    if made.environment.dry_run:
        return done
    if isinstance(judged, AdoptOrphan):
        made.report(
            made.driver().drive(
                instance.launched_for or "",
                change=lambda read: _adopted(read, judged),
                may=CALLS,
                before_wait=made.wake,
            )
        )
    else:
        try:
            made.act.end(instance.instance_id)
        except CALL_FAILED as error:
            raise amazon_error(error, "end_orphan") from error
    return done


def _adopted(journal: GroupJournal, judged: AdoptOrphan) -> GroupJournal:
    if journal.swap_of(judged.swap.original_id):
        return journal
    return replace(journal, swaps=(*journal.swaps, judged.swap))
