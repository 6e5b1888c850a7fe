"""Snapshot: a fleet in a file, in the words of EC2 and Auto Scaling, so that a plan can be tried without an account.

One JSON object: `account`, `region`, `at` (ISO 8601), and what these commands of the AWS CLI print, each under its own
name, merged: `autoscaling describe-auto-scaling-groups`, `ec2 describe-instances`, `ec2 describe-instance-types`,
`ec2 describe-spot-price-history`. There may be what `ec2 describe-reserved-instances` and `savingsplans
describe-savings-plans` print, and `savingsPlanRates`, a list of what `savingsplans describe-savings-plan-rates` prints
for each of these plans. `Markets` (`InstanceType`, `Zone`, `Market`) may say what the spot job said of pools.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from connectors.prices import Prices
from lambdas.spot.cover import Cover, cover
from lambdas.spot.described import group_of, instances_of, types_of
from lambdas.spot.described_market import plans_of, rates_of, reservations_of, spot_prices_of
from lambdas.spot.fleet import Fleet, Market, Pool
from lambdas.spot.scan import Scanned

_LISTS: Final = ("AutoScalingGroups", "Reservations", "InstanceTypes", "SpotPriceHistory")
_TIMES: Final = {"LaunchTime", "Timestamp"}


class SnapshotError(ValueError):
    """A file that is no snapshot; the text says what of it is wrong."""


def read_snapshot(path: Path, listed: Prices, tag: str, compute_percent: int = 100) -> Scanned:
    """The fleet in a file, with the On-Demand prices of a list, and what is paid for of it.

    Raises:
        OSError: It cannot be read.
        SnapshotError: It is no snapshot.
    """
    try:
        values = json.loads(path.read_bytes(), object_hook=_with_times)
    except ValueError as error:
        reason = f"it is not JSON: {error}"
        raise SnapshotError(reason) from error
    if not isinstance(values, dict):
        reason = "it is not a JSON object"
        raise SnapshotError(reason)
    missing = [name for name in ("account", "region", "at", *_LISTS) if name not in values]
    if missing:
        reason = f"it lacks {', '.join(missing)}"
        raise SnapshotError(reason)
    try:
        fleet = _fleet(values, listed, tag)
        return Scanned(fleet, _cover(values, fleet, compute_percent))
    except KeyError as error:
        reason = f"something in it lacks the field {error}"
        raise SnapshotError(reason) from error
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        reason = f"something in it is not as AWS says it: {error}"
        raise SnapshotError(reason) from error


def _fleet(values: Mapping[str, Any], listed: Prices, tag: str) -> Fleet:
    types = types_of([values])
    instances = instances_of([values])
    groups = sorted((group_of(one) for one in values["AutoScalingGroups"]), key=lambda group: group.name)
    return Fleet(
        account=values["account"],
        region=values["region"],
        at_ms=int(_time(values["at"]).timestamp() * 1_000),
        groups=tuple(group for group in groups if tag in group.tags),
        instances=instances,
        types=types,
        prices=listed.with_spot(spot_prices_of([values])),
        markets={
            Pool(one["InstanceType"], one["Zone"]): Market(one["Market"].lower()) for one in values.get("Markets", [])
        },
        changing_stacks=frozenset(values.get("ChangingStacks", [])),
    )


def _cover(values: Mapping[str, Any], fleet: Fleet, compute_percent: int) -> Cover:
    rates = {one["savingsPlanId"]: rates_of([one], fleet.region) for one in values.get("savingsPlanRates", [])}
    plans = plans_of([{"savingsPlans": values.get("savingsPlans", [])}], fleet.region)
    return cover(
        reservations_of({"ReservedInstances": values.get("ReservedInstances", [])}),
        [replace(plan.usable(compute_percent), rates=rates.get(plan.plan_id, {})) for plan in plans],
        fleet.instances.values(),
        lambda name, platform: fleet.on_demand_price(name, platform),
    )


def _with_times(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _time(value) if name in _TIMES and isinstance(value, str) else value for name, value in values.items()
    }


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)
