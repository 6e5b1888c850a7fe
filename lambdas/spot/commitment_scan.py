"""Commitment scan: what Reserved Instances and Savings Plans pay for, asked of AWS."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from connectors.prices import Prices
from lambdas.spot.amazon import CALL_FAILED, AmazonError, amazon_error
from lambdas.spot.commitments import Reservation, SavingsPlan
from lambdas.spot.cover import Cover, cover
from lambdas.spot.describe import Describe
from lambdas.spot.fleet import Instance

Rates = Mapping[tuple[str, str], Decimal]

_known_rates: dict[tuple[str, str, frozenset[str]], Rates] = {}
"""The rates of plans, which hold for their whole term, so a warm function asks once."""


@dataclass(frozen=True, slots=True)
class CommitmentScan:
    """Looks for cover.

    Attributes:
        describe: who is asked.
        region: ours.
        prices: On-Demand prices, and for Savings Plans whose rates cannot be asked those of covered hours.
        compute_percent: how much of each Compute Savings Plan is left for the instances of this Region.
    """

    describe: Describe
    region: str
    prices: Prices
    compute_percent: int = 100

    def cover(self) -> tuple[Cover, tuple[str, ...]]:
        """What commitments pay for, and why something of it could not be asked. Two calls where there are none."""
        notes: list[str] = []
        reservations: list[Reservation] = []
        plans: list[SavingsPlan] = []
        try:
            reservations = self.describe.market.reservations()
        except CALL_FAILED as error:
            notes.append(f"Reserved Instances are not looked at: {amazon_error(error, 'reservations')}")
        try:
            plans = self.describe.market.savings_plans(self.region)
        except CALL_FAILED as error:
            notes.append(f"Savings Plans are not looked at: {amazon_error(error, 'plans')}")
        if not reservations and not plans:
            return Cover(), tuple(notes)
        try:
            running = list(self.describe.running_instances().values())
        except CALL_FAILED as error:
            return Cover(), (*notes, f"commitments are not counted: {amazon_error(error, 'instances')}")
        rated, problems = self._with_rates(plans, running)
        paid = cover(reservations, rated, running, self._on_demand)
        return paid, (*notes, *problems)

    def _with_rates(
        self, plans: Iterable[SavingsPlan], running: Iterable[Instance]
    ) -> tuple[list[SavingsPlan], list[str]]:
        platforms = frozenset(one.platform for one in running)
        types = {(one.instance_type, one.platform) for one in running}
        found, problems = [], []
        for plan in plans:
            try:
                rates = self._rates(plan, platforms) if platforms else {}
            except AmazonError as error:
                rates = self._listed_rates(types)
                problems.append(f"rates of Savings Plan {plan.plan_id} are those of the price file: {error}")
            found.append(replace(plan.usable(self.compute_percent), rates=rates))
        return found, problems

    def _rates(self, plan: SavingsPlan, platforms: frozenset[str]) -> Rates:
        key = (plan.plan_id, self.region, platforms)
        if key not in _known_rates:
            try:
                _known_rates[key] = self.describe.market.savings_plan_rates(plan.plan_id, self.region, platforms)
            except CALL_FAILED as error:
                raise amazon_error(error, "rates") from error
        return _known_rates[key]

    def _listed_rates(self, types: Iterable[tuple[str, str]]) -> Rates:
        return {
            (name, platform): rate
            for name, platform in types
            if (rate := self.prices.covered(region=self.region, instance_type=name, platform=platform)) is not None
        }

    def _on_demand(self, instance_type: str, platform: str) -> Decimal | None:
        return self.prices.on_demand(region=self.region, instance_type=instance_type, platform=platform)
