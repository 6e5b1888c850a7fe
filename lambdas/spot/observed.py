"""Observed: what the saga is told of a group before it decides. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.spot_facts import Purchase
from lambdas.spot.fleet import ENDED, Group, Instance
from lambdas.spot.group_policy import GroupPolicy
from lambdas.spot.swap import Swap


@dataclass(frozen=True, slots=True)
class Observed:
    """What is true of a group now.

    Attributes:
        group: None if there is no such group any more.
        managed: whether it has the tag that lets it be changed.
        policy: what its tags ask for.
        busy: why it must be left alone for now (a deployment, an instance refresh), None if it need not.
        instances: originals and twins, and what was launched for its swaps. One that is not there no longer exists.
            Once a twin may be in the group, its other members too.
        passed_checks: instances whose status checks are passed.
        serving: of the instances in the group that have load balancers, those that these find healthy.
        weaker: what each twin lacks that its original has; a twin that was not compared is not there.
        guarded: instances that are protected from being ended through the API.
    """

    group: Group | None
    managed: bool = True
    policy: GroupPolicy = field(default_factory=GroupPolicy)
    busy: str | None = None
    instances: Mapping[str, Instance] = field(default_factory=dict)
    passed_checks: frozenset[str] = frozenset()
    serving: frozenset[str] = frozenset()
    weaker: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    guarded: frozenset[str] = frozenset()

    def twin_of(self, swap: Swap) -> Instance | None:
        """The twin, known by its id or by the tag of the swap."""
        if swap.twin_id is not None:
            return self.instances.get(swap.twin_id)
        launched = [one for one in self.instances.values() if one.swap_id == swap.swap_id and one.state not in ENDED]
        return min(launched, key=lambda one: one.instance_id, default=None)

    def serves(self, instance_id: str) -> bool:
        """Whether a member serves, and its load balancers agree."""
        member = self.group.member(instance_id) if self.group else None
        return member is not None and member.serves and instance_id in self.serving

    def serving_without(self, instance_id: str | None) -> int:
        """How many members serve, this one not counted, nor any that has ended though the group still lists it."""
        members = self.group.members if self.group else ()
        return sum(
            member.serves and member.instance_id != instance_id and not self._has_ended(member.instance_id)
            for member in members
        )

    def is_on_demand(self, instance_id: str) -> bool:
        """Whether an instance is On-Demand, and has not ended."""
        instance = self.instances.get(instance_id)
        return instance is not None and instance.purchase is Purchase.ON_DEMAND and instance.state not in ENDED

    def _has_ended(self, instance_id: str) -> bool:
        instance = self.instances.get(instance_id)
        return instance is not None and instance.state in ENDED
