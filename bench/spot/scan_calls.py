"""AWS API calls of a scan of 140 groups and 1,400 instances, and of a completed swap; beside asking for each instance.

Counted at botocore's clients, against moto. The per-instance approach is the one that rivals take: for each group its
instances, and for each instance its description, its status and its protection, and the price of its type.
"""

from collections.abc import Mapping
from typing import Final

from lambdas.spot.describe import Describe
from lambdas.spot.plan import PlanSettings, plan_fleet
from lambdas.spot.scan import scan_fleet
from lambdas.spot.swap import Outcome
from tests.spot_cloud import ACCOUNT, REGION, TAG, Cloud, cloud

GROUPS: Final = 140
SIZE: Final = 10
COUNTED: Final = 5
"""Groups over which the per-instance approach is counted; it takes the same calls for each."""


def measure() -> Mapping[str, Mapping[str, str | int | float]]:
    """Calls, by approach."""
    with cloud() as aws:
        for number in range(GROUPS):
            aws.make_group(f"group-{number:03}", size=SIZE)
        pages = _scan(aws)
        each = _each(aws)
    return {
        "a scan, in pages": {"calls": pages, "instances": GROUPS * SIZE},
        f"a scan, instance by instance ({COUNTED} groups, times {GROUPS // COUNTED})": {
            "calls": each,
            "instances": GROUPS * SIZE,
        },
        "times fewer": {"calls": each / pages},
        **{f"a swap, {name}": {"calls": calls} for name, calls in _swaps().items()},
    }


def _scan(aws: Cloud) -> int:
    aws.calls.clear()
    remembered = aws.store.everything()
    fleet = scan_fleet(
        Describe(aws.clients), account=ACCOUNT, region=REGION, at_ms=aws.now_ms, tag=TAG, markets=remembered.markets
    ).fleet
    plans = plan_fleet(fleet, remembered.groups, PlanSettings())
    if len(plans) != GROUPS or len(fleet.instances) != GROUPS * SIZE:
        reason = f"the scan saw {len(plans)} groups and {len(fleet.instances)} instances"
        raise RuntimeError(reason)
    return len(aws.calls)


def _each(aws: Cloud) -> int:
    aws.calls.clear()
    describe = Describe(aws.clients)
    for group in describe.tagged_groups(TAG)[:COUNTED]:
        for member in group.members:
            (instance,) = describe.instances([member.instance_id]).values()
            describe.passed_checks([member.instance_id])
            describe.is_guarded(member.instance_id)
            describe.market.spot_prices([instance.platform], aws.now_ms, [instance.instance_type], instance.zone)
    return len(aws.calls) * GROUPS // COUNTED


def _swaps() -> Mapping[str, int]:
    found = {}
    for name, room in (("room below MaxSize", 1), ("group at its MaxSize", 0)):
        with cloud() as aws:
            original = aws.make_group(size=3, most=3 + room)[0]
            aws.calls.clear()
            aws.begin(aws.planned(original))
            journal = aws.finish()
            if [ended.outcome for ended in journal.ended] != [Outcome.DONE]:
                reason = f"the swap came to {journal.ended}"
                raise RuntimeError(reason)
            found[name] = len(aws.calls)
    return found
