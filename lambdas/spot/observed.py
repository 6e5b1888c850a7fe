"""Observed: what the saga is told of a group before it decides. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lambdas.spot.fleet import ENDED, Group, Instance
from lambdas.spot.swap import Swap


@dataclass(frozen=True, slots=True)
class Observed:
    """What is true of a group now.

    Attributes:
        group: None if there is no such group any more.
        managed: whether it has the tag that lets it be changed.
        busy: why it must be left alone for now (a deployment, an instance refresh), None if it need not.
        instances: originals and twins, and what was launched for its swaps. One that is not there no longer exists.
        passed_checks: instances whose status checks are passed.
        serving: of the instances in the group that have load balancers, those that these find healthy.
        weaker: what each twin lacks that its original has; a twin that was not compared is not there.
        guarded: instances that are protected from being ended through the API.
    """

    group: Group | None
    managed: bool = True
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
