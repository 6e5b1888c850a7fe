"""Circumstances: what a swap meets in its group as that is by now, which its next step goes by. Pure."""

from dataclasses import dataclass

from connectors.ec2.events import InstanceState
from connectors.spot_facts import Purchase
from lambdas.spot.fleet import ASG_TAG, ENDED, Group, Instance
from lambdas.spot.observed import Observed
from lambdas.spot.swap import GroupJournal, Phase, Swap


@dataclass(frozen=True, slots=True)
class Circumstances:
    """A swap, what is remembered of its group, and what is seen of it."""

    journal: GroupJournal
    swap: Swap
    seen: Observed

    def obstacle(self) -> str | None:
        """Why the swap must not go on, None if it may."""
        swap, seen, group = self.swap, self.seen, self.seen.group
        if group is None or group.deleting:
            return "the group is gone"
        if not seen.managed:
            return "the group no longer has the tag"
        original = group.member(swap.original_id)
        if swap.urgent:
            return None if original is not None else "the original has left the group"
        if seen.busy:
            return seen.busy
        if original is None or not original.serves or self.original_ended():
            return "the original no longer serves"
        if original.protected_from_scale_in or swap.original_id in seen.guarded:
            return "the original is protected"
        return None

    def not_ready(self, twin: Instance) -> str | None:
        """What the twin is waited for before it may be attached, None if for nothing."""
        if twin.state is not InstanceState.RUNNING:
            return "the twin to run"
        if not self.swap.urgent and twin.instance_id not in self.seen.passed_checks:
            return "the twin to pass its status checks"
        return None if twin.instance_id in self.seen.weaker else "the twin to be compared with the original"

    def gives_way(self) -> bool:
        """Whether it lets the replacement of an interrupted instance be over first.

        Until then the group gives up nothing, and its desired capacity does not tell whether anybody scaled it.
        """
        return not self.swap.urgent and any(
            one.urgent and one.phase is not Phase.DRAINING for one in self.journal.swaps
        )

    def scaled(self, group: Group) -> str | None:
        """How the group was scaled while it held both, so that neither is one too many; None if it was not."""
        swap = self.swap
        if not swap.urgent and swap.desired_before is not None and group.desired != swap.desired_before + 1:
            return f"the group was scaled from {swap.desired_before + 1} to {group.desired}"
        if group.desired - 1 < group.min_size:
            return f"MinSize is {group.min_size} by now"
        return None

    def needed_on_demand(self, group: Group) -> str | None:
        """Why the original must stay On-Demand, as the group is by now; None if it need not."""
        swap, seen = self.swap, self.seen
        original = seen.instances.get(swap.original_id)
        if not swap.option.is_spot or original is None or original.purchase is not Purchase.ON_DEMAND:
            return None
        others = [one for one in self.journal.swaps if not one.cannot_be_undone]
        uncounted = {swap.original_id, *(one.twin_id for one in others)}  # others are asked this at their own end
        left = sum(
            member.serves and member.instance_id not in uncounted and seen.is_on_demand(member.instance_id)
            for member in group.members
        )
        least = seen.policy.least_on_demand(group.desired - 1)
        return f"the group must have {least} On-Demand, and would have {left}" if left < least else None

    def ended_by_itself(self, group: Group | None) -> bool:
        """Whether the group still counts an original that is gone, and that was to end by itself in any case."""
        swap = self.swap
        return swap.urgent and group is not None and swap.lower_to is not None and group.desired == swap.lower_to + 1

    def original_ended(self) -> bool:
        """Whether the original no longer runs, whatever its group says of it."""
        original = self.seen.instances.get(self.swap.original_id)
        return original is None or original.state in ENDED

    def was_attached(self) -> bool:
        """Whether the twin was ever in the group; Auto Scaling tags what is in a group, and the tag stays."""
        twin = self.seen.twin_of(self.swap)
        if self.swap.phase is Phase.JOINING:
            return True
        return twin is not None and ASG_TAG in twin.tags
