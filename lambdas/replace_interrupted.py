"""Replace interrupted: brings up a replacement before a Spot Instance is taken away; remembers which markets are bad.

Takes the actions of the spot job. They tell of every Spot Instance in the account, so most are about instances that are
not ours to touch: what is true of an instance is asked of EC2 and Auto Scaling, and never taken from a message.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse

from connectors.actions import MalformedActionError, UnknownActionError
from connectors.spot_action_messages import decode
from connectors.spot_actions import FallBack, ReplaceInstance, ReturnToSpot, SpotAction
from connectors.spot_facts import Purchase
from lambdas.spot.actuator import Actuator
from lambdas.spot.amazon import AmazonError, Refusal
from lambdas.spot.fleet import ASG_TAG, ENDED, Fleet, Group, Instance, Market, Pool
from lambdas.spot.invocation import actuator, work_off
from lambdas.spot.observe import is_managed
from lambdas.spot.plan import Kept, PlanSettings
from lambdas.spot.replacement import plan_replacement
from lambdas.spot.scan import prices_of
from lambdas.spot.swap import GroupJournal, Phase, PlannedSwap, Purpose, Swap, open_swap

_ANY_AGE_MS = 10 * 365 * 86_400_000
_OUTSIDE = frozenset({Phase.LAUNCHING, Phase.WARMING, Phase.ATTACHING})
_BOTH = frozenset({Phase.JOINING, Phase.UNDOING})
"""The group may hold twin and original."""

logger = Logger(service="replace-interrupted")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: Any) -> PartialItemFailureResponse:
    """The messages that go back to the queue.

    Raises:
        ActuatorSettingsError: The environment is not usable.
    """
    made = actuator("replace-interrupted", context, logger)
    batch = Batch(made, tuple(_replacements(event)))
    return work_off(made, event, context, batch.apply)


def _replacements(event: dict[str, Any]) -> list[ReplaceInstance]:
    """What a batch is about, so that all of it is asked for at once; what cannot be read is refused later."""
    found = []
    for record in event.get("Records", []):
        try:
            action = decode(str(record.get("body", "")).encode(errors="replace"))
        except (MalformedActionError, UnknownActionError):
            continue
        if isinstance(action, ReplaceInstance):
            found.append(action)
    return found


@dataclass
class Batch:
    """One invocation, which asks once for all that its messages are about."""

    made: Actuator
    actions: tuple[ReplaceInstance, ...]

    def apply(self, body: bytes) -> None:
        """Does what an action asks for, as far as it is ours to do.

        Raises:
            MalformedActionError: The message is none.
            UnknownActionError: It is of another release.
            ForeignError: It is about another account or Region.
            AmazonError: It may do later.
            UndoneError: It was refused.
        """
        action = decode(body)
        self.made.require_ours(action.account, action.region)
        if self.made.clock_ms() > action.not_after_ms:
            self._skip(action, "it is too late")
        elif isinstance(action, ReplaceInstance):
            self._replace(action)
        else:
            self._remember(action)

    def _remember(self, action: FallBack | ReturnToSpot) -> None:
        market = Market.ARMED
        if isinstance(action, FallBack):
            market = Market.PINNED if action.evidence.pinned else Market.FALLBACK
        pool = Pool(action.instance_type, action.zone)
        if self.made.environment.dry_run:
            self._skip(action, f"dry run: would remember that {pool} is {market}")
        elif self.made.store.remember_market(pool, market, action.issued_at_ms):
            self.made.count("MarketsChanged")
            self.made.logger.info(
                "market", instance_type=pool.instance_type, zone=pool.zone, market=market, action_id=action.action_id
            )

    def _replace(self, action: ReplaceInstance) -> None:
        instance = self._instances.get(action.instance_id)
        if not action.evidence.announced:
            return self._skip(action, "it has ended already, and its group replaces it")
        if instance is None or instance.state in ENDED:
            return self._skip(action, "it is gone")
        name = instance.tags.get(ASG_TAG) or instance.launched_for
        group = self._groups.get(name or "")
        if group is None and name:
            return self._skip(action, f"the group is gone: {name}")
        if group is None or instance.purchase is not Purchase.SPOT or not is_managed(group, self.made.environment.tag):
            self.made.count("InstancesNotManaged")
            return self._skip(action, "it is not a Spot Instance of a group with the tag")
        journal = self.made.store.load(group.name)
        planned = self._planned(group, instance, journal)
        if isinstance(planned, str):
            return self._skip(action, planned)

        def change(read: GroupJournal) -> GroupJournal:
            planned = self._planned(group, instance, read)  # beside the swaps that there are by now
            now_ms = self.made.clock_ms()
            return read if isinstance(planned, str) else with_replacement(read, group, instance, planned, now_ms)

        driven = self.made.driver().drive(group.name, change=change, before_wait=self.made.wake)
        if driven.is_busy:
            raise AmazonError(Refusal.TRANSIENT, "replace", "Busy", "another actuator is at work on the group")
        self.made.report(driven)
        return None

    def _planned(self, group: Group, instance: Instance, journal: GroupJournal) -> PlannedSwap | str | None:
        """What replaces it; None where a swap that is under way will do; or why nothing does."""
        if any(_will_do(swap, group, instance) for swap in journal.swaps):
            return None
        if group.member(instance.instance_id) is None:
            return "it is in no group"
        settings = PlanSettings(tag=self.made.environment.tag)
        planned = plan_replacement(self._fleet, group, instance, journal, settings)
        return planned.reason if isinstance(planned, Kept) else planned

    @cached_property
    def _instances(self) -> dict[str, Instance]:
        return self.made.describe.instances(action.instance_id for action in self.actions)

    @cached_property
    def _groups(self) -> dict[str, Group]:
        names = [one.tags.get(ASG_TAG) or one.launched_for for one in self._instances.values()]
        return self.made.describe.groups(name for name in names if name)

    @cached_property
    def _fleet(self) -> Fleet:
        """What is known of the groups of the batch: as a scan has it, but of them alone."""
        made = self.made
        at_ms, environment = made.clock_ms(), made.environment
        managed = [group for group in self._groups.values() if is_managed(group, environment.tag)]
        instances = made.describe.instances(member.instance_id for group in managed for member in group.members)
        # There is no time to ask for what is known, however old.
        on_demand = made.on_demand_prices(fresh_ms=_ANY_AGE_MS)
        prices, notes, _ = prices_of(made.describe, on_demand, environment.region, instances.values(), at_ms)
        for note in notes:
            made.logger.warning("prices", note=note)
        return Fleet(
            account=environment.account or "",
            region=environment.region,
            at_ms=at_ms,
            groups=tuple(managed),
            instances=instances,
            types=made.types(),
            prices=prices,
            markets=made.store.everything().markets,
        )

    def _skip(self, action: SpotAction, reason: str) -> None:
        self.made.count("ActionsSkipped")
        instance_id = action.instance_id if isinstance(action, ReplaceInstance) else None
        self.made.logger.info("action_skipped", action_id=action.action_id, instance=instance_id, reason=reason)


def with_replacement(
    journal: GroupJournal, group: Group, instance: Instance, planned: PlannedSwap | None, at_ms: int
) -> GroupJournal:
    """The journal with what an interruption changes: a swap more, one that becomes urgent, or one that is given up."""
    for swap in journal.swaps:
        if not _will_do(swap, group, instance):
            continue
        if swap.original_id == instance.instance_id:
            return journal.with_swap(replace(swap, purpose=Purpose.REPLACE))
        return _given_up(journal, swap, at_ms)
    if planned is None:
        return journal
    return replace(journal, swaps=(*journal.swaps, open_swap(planned, at_ms)))


def _will_do(swap: Swap, group: Group, instance: Instance) -> bool:
    """Whether a swap under way answers an interruption: of its original by going on, of its twin by being given up."""
    if swap.original_id == instance.instance_id:
        return swap.phase is not Phase.UNDOING
    if swap.twin_id != instance.instance_id:
        return False
    original = group.member(swap.original_id)
    if swap.phase is Phase.JOINING and swap.urgent:
        return False  # its original ends sooner than the twin
    return swap.phase in _OUTSIDE or (swap.phase in _BOTH and original is not None and original.serves)


def _given_up(journal: GroupJournal, swap: Swap, at_ms: int) -> GroupJournal:
    """The journal with a swap undone whose twin is interrupted; an original that is so too is given another twin."""
    if swap.phase is Phase.UNDOING:
        return journal
    undoing = replace(swap, phase=Phase.UNDOING, since_ms=at_ms, why="the twin itself is interrupted")
    again = swap.begun_again(at_ms) if swap.urgent else None
    journal = journal.with_swap(undoing)
    return replace(journal, swaps=(*journal.swaps, again)) if again else journal
