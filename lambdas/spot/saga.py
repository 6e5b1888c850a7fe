"""Saga: the next step of a group's swaps, from what the journal remembers and what is observed. Pure.

The twin is launched outside the group, attached once it is healthy and equivalent, and the original ends once the twin
serves. No process is suspended. MaxSize is raised by as much as is needed, only if the group is at it, and put back.

Every step is such that asking for it again does no harm, or that what is observed tells whether it took effect. So a
run that died anywhere is taken up by the next: `next_step` is given the same journal and what is true by then.
"""

from dataclasses import dataclass, replace
from typing import Final

from connectors.ec2.events import InstanceState
from lambdas.spot.circumstances import Circumstances
from lambdas.spot.fleet import ENDED, Group, Instance, Member
from lambdas.spot.observed import Observed
from lambdas.spot.saga_step import Call, Intent, Rest, SagaSettings, Step, Wait
from lambdas.spot.swap import GroupJournal, Outcome, Phase, RaisedMaxSize, Swap


@dataclass(frozen=True, slots=True)
class _Moved:
    """A swap that came further without a call: look again."""

    journal: GroupJournal


_Decision = Step | _Moved | Wait

_IN_THE_GROUP: Final = frozenset({Phase.ATTACHING, Phase.JOINING, Phase.ENDING, Phase.DRAINING})
"""The twin may be in the group, and goes with it when it is deleted; one that does not is ended."""


def next_step(journal: GroupJournal, seen: Observed, at_ms: int, settings: SagaSettings) -> Step:
    """What to do next: the first swap that can do something does it."""
    waits: list[Wait] = []
    # Whether a desired capacity was lowered is seen from what it is, so that is settled before another swap changes it.
    for swap_id in [swap.swap_id for swap in sorted(journal.swaps, key=lambda swap: swap.lower_to is None)]:
        while swap := next((one for one in journal.swaps if one.swap_id == swap_id), None):
            decision = _decide(journal, swap, seen, at_ms, settings)
            if isinstance(decision, Step):
                return decision
            if isinstance(decision, Wait):
                waits.append(decision)
                break
            journal = decision.journal
    restored = _restore_max_size(journal, seen, settings)
    if isinstance(restored, Step):
        return restored
    if isinstance(restored, Wait):
        waits.append(restored)
    else:
        journal = restored
    return Step(journal, min(waits, key=lambda wait: wait.delay_ms, default=Rest()))


def _decide(journal: GroupJournal, swap: Swap, seen: Observed, at_ms: int, settings: SagaSettings) -> _Decision:
    decided = _Deciding(journal, swap, seen, at_ms, settings)
    if (seen.group is None or seen.group.deleting) and swap.phase in _IN_THE_GROUP:
        return decided.undo("the group is gone")
    return {
        Phase.LAUNCHING: decided.launching,
        Phase.WARMING: decided.warming,
        Phase.ATTACHING: decided.attaching,
        Phase.JOINING: decided.joining,
        Phase.ENDING: decided.ending,
        Phase.DRAINING: decided.draining,
        Phase.UNDOING: decided.undoing,
    }[swap.phase]()


def _restore_max_size(journal: GroupJournal, seen: Observed, settings: SagaSettings) -> Step | Wait | GroupJournal:
    """MaxSize put back, unless a twin still needs the room; what the user has set since then stays."""
    raised, group = journal.raised, seen.group
    if raised is None or any(swap.crowds for swap in journal.swaps):
        return journal
    if group is None or group.deleting or group.max_size == raised.before or not raised.is_ours(group.max_size):
        return replace(journal, raised=None)
    if group.min_size > raised.before:
        return replace(journal, raised=None)  # whoever raised MinSize meanwhile took MaxSize as it was
    if group.desired > raised.before and seen.serving_without(None) < group.desired:
        # Below the desired capacity MaxSize makes the group end an instance: only once all of them serve.
        return Wait(settings.poll_ms, "the group to serve in full before MaxSize is put back")
    return Step(journal, Intent(Call.RESTORE_MAX_SIZE, size=raised.before))


@dataclass(frozen=True, slots=True)
class _Deciding:
    """One swap, in one of its phases."""

    journal: GroupJournal
    swap: Swap
    seen: Observed
    at_ms: int
    settings: SagaSettings

    @property
    def met(self) -> Circumstances:
        """What it meets in its group."""
        return Circumstances(self.journal, self.swap, self.seen)

    def launching(self) -> _Decision:
        swap = self.swap
        twin = self.seen.twin_of(swap)
        if twin is not None:
            return self._moved(Phase.WARMING, twin_id=twin.instance_id)
        obstacle = self.met.obstacle()
        if swap.asked_at_ms is None:
            if obstacle:
                return self._ended(Outcome.UNDONE, obstacle)
            return self._call(Call.LAUNCH, replace(swap, asked_at_ms=self.at_ms))
        if self.at_ms >= swap.asked_at_ms + self.settings.launch_ms:
            return self._ended(Outcome.UNDONE, obstacle or "nothing was seen of its launch")
        if obstacle:
            # It may be there and not be seen yet; asking again could launch what nobody needs.
            return self._wait("whether a twin was launched")
        return self._call(Call.LAUNCH, swap)

    def warming(self) -> _Decision:
        swap, twin = self.swap, self.seen.twin_of(self.swap)
        if twin is None and self.at_ms < swap.since_ms + self.settings.launch_ms:
            return self._wait("the twin to be seen")
        if twin is None or twin.state in ENDED:
            return self._ended(Outcome.UNDONE, "the twin ended before it was attached")
        if obstacle := self.met.obstacle():
            return self.undo(obstacle)
        if reason := self.met.not_ready(twin):
            late = self.at_ms >= swap.since_ms + self.settings.warm_ms
            return self.undo(f"too late for {reason}") if late else self._wait(reason)
        if weaker := self.seen.weaker[twin.instance_id]:
            return self.undo(f"the twin is weaker than the original: {'; '.join(weaker)}")
        return self._attach(twin)

    def _attach(self, twin: Instance) -> _Decision:
        group = self.seen.group
        assert group is not None, "a group that is gone is an obstacle"  # noqa: S101 - for the type checker
        if not self.swap.urgent and any(one.crowds and one.swap_id != self.swap.swap_id for one in self.journal.swaps):
            return self._wait("another swap of the group to leave room")
        if group.desired + 1 > group.max_size:
            return self._raise_max_size(group)
        since_ms = self.swap.since_ms if self.swap.phase is Phase.ATTACHING else self.at_ms
        attaching = replace(self.swap, phase=Phase.ATTACHING, since_ms=since_ms, desired_before=group.desired)
        return self._call(Call.ATTACH, attaching, twin.instance_id)

    def _raise_max_size(self, group: Group) -> _Decision:
        raised, size = self.journal.raised, group.desired + 1
        if raised is None or not raised.is_ours(group.max_size):
            raised = RaisedMaxSize(before=group.max_size, raised_to=size)
        raised = replace(raised, raised_to=max(raised.raised_to, size))
        return Step(replace(self.journal, raised=raised), Intent(Call.RAISE_MAX_SIZE, size=size))

    def attaching(self) -> _Decision:
        twin, group = self.seen.twin_of(self.swap), self.seen.group
        if twin is not None and group is not None and group.member(twin.instance_id):
            return self._moved(Phase.JOINING)
        if twin is None or twin.state in ENDED:
            return self._give_back(Outcome.UNDONE, "the twin ended while it was attached")
        if obstacle := self.met.obstacle():
            return self.undo(obstacle)
        if self.at_ms >= self.swap.since_ms + self.settings.join_ms:
            return self.undo("the twin could not be attached in time")
        return self._attach(twin)

    def joining(self) -> _Decision:
        swap, group = self.swap, self.seen.group
        assert group is not None, "without its group a twin is undone"  # noqa: S101 - for the type checker
        twin, original = group.member(swap.twin_id), group.member(swap.original_id)
        if twin is None or twin.leaves:
            return self._give_back(Outcome.UNDONE, "the group ended the twin")
        if original is None or original.leaves:
            return self._give_back(Outcome.DONE, "the original ended by itself, and the twin is in its place")
        return self._both_are_members(group)

    def _both_are_members(self, group: Group) -> _Decision:
        swap = self.swap
        if obstacle := self.met.obstacle():
            return self.undo(obstacle)
        if swap.urgent and self.met.original_ended() and group.desired > group.min_size:
            return self._end_original(group)  # before the group notices, and launches one more
        late = self.at_ms >= swap.since_ms + self.settings.join_ms
        if not self.seen.serves(swap.twin_id or ""):
            return self.undo("the twin did not serve in time") if late else self._wait("the twin to serve")
        if self.met.gives_way():
            return self._wait("a replacement in the group to be over")
        if reason := self.met.scaled(group):
            return self._ended(Outcome.KEPT, f"{reason}, and the group keeps both")
        if self.seen.serving_without(swap.original_id) < group.desired - 1:
            reason = "others of the group do not serve"
            return self._ended(Outcome.KEPT, f"{reason}, and it keeps both") if late else self._wait(reason)
        if reason := self.met.needed_on_demand(group):
            return self.undo(reason)
        return self._end_original(group)

    def _end_original(self, group: Group) -> Step:
        ending = replace(self.swap, phase=Phase.ENDING, lower_to=group.desired - 1)
        return self._call(Call.END_ORIGINAL, ending, self.swap.original_id)

    def ending(self) -> _Decision:
        group = self.seen.group
        original = group.member(self.swap.original_id) if group else None
        if (original is None or original.leaves) and not self.met.ended_by_itself(group):
            return self._moved(Phase.DRAINING)
        # It was not ended by us. What is to be done is decided as before that was asked for.
        return _Moved(self.journal.with_swap(replace(self.swap, phase=Phase.JOINING, lower_to=None)))

    def draining(self) -> _Decision:
        group, original = self.seen.group, self.seen.instances.get(self.swap.original_id)
        if group is not None and group.member(self.swap.original_id):
            return self._wait("the original to leave the group")
        if original is not None and original.state is InstanceState.SHUTTING_DOWN:
            return self._wait("the original to end")
        return self._ended(Outcome.DONE, "the twin serves in place of the original")

    def undoing(self) -> _Decision:
        swap, group, twin = self.swap, self.seen.group, self.seen.twin_of(self.swap)
        why = swap.why or ""
        if twin is None and swap.twin_id and self.at_ms < swap.since_ms + self.settings.launch_ms:
            # Not seen yet is not the same as gone.
            if swap.asked_to_end:
                return self._wait("the twin to be seen")
            return self._call(Call.END_TWIN, replace(swap, asked_to_end=True), swap.twin_id)
        member = group.member(swap.twin_id) if group else None
        if group is not None and swap.lower_to is not None and (member is None or member.leaves):
            return self._settled(group)
        if twin is None or twin.state in ENDED:
            return self._give_back(Outcome.UNDONE, why)
        if group is None or member is None:
            return self._call(Call.END_TWIN, swap, twin.instance_id)
        return self._twin_is_member(group, member, why)

    def _settled(self, group: Group) -> _Moved:
        """Whether the desired capacity was lowered when that was asked for is known now, and not asked again."""
        swap = self.swap
        before = None if group.desired == swap.lower_to else swap.desired_before
        return _Moved(self.journal.with_swap(replace(swap, desired_before=before, lower_to=None)))

    def _twin_is_member(self, group: Group, twin: Member, why: str) -> _Decision:
        if group.deleting:
            return self._ended(Outcome.UNDONE, f"{why}; the twin goes with it")
        if twin.leaves:
            return self._wait("the twin to leave the group")
        if self.met.gives_way():
            return self._wait("a replacement in the group to be over")
        if reason := self.met.scaled(group):
            return self._ended(Outcome.KEPT, f"{why}; but {reason}, and it keeps the twin")
        if self.seen.serving_without(twin.instance_id) < group.desired - 1:
            if self.at_ms < self.swap.since_ms + self.settings.join_ms:
                return self._wait("others of the group to serve before the twin leaves it")
            return self._ended(Outcome.KEPT, f"{why}; but too few others serve, and the group keeps the twin")
        removing = replace(self.swap, lower_to=group.desired - 1)
        return self._call(Call.REMOVE_TWIN, removing, twin.instance_id)

    def _give_back(self, outcome: Outcome, reason: str) -> _Decision:
        """The end of a swap of which one instance went by itself, while the group may still count both."""
        swap, group = self.swap, self.seen.group
        if group is None or group.deleting or swap.desired_before is None or not self.met.was_attached():
            return self._ended(outcome, reason)
        if self.met.gives_way():
            return self._wait("a replacement in the group to be over")
        to = swap.lower_to
        if to is None:
            to = group.desired - 1 if swap.urgent else swap.desired_before
        if group.desired != to + 1 or to < group.min_size:
            return self._ended(outcome, reason)
        staying = [member for member in group.members if not member.leaves]
        late = self.at_ms >= swap.since_ms + self.settings.join_ms
        if len(staying) > to and not all(member.serves for member in staying) and not late:
            # The group has launched one more. Lowered now, it might end one that serves, and keep one that does not.
            return self._wait("the group to serve in full before its desired capacity is put back")
        return self._call(Call.LOWER_DESIRED, replace(swap, lower_to=to), size=to)

    def _moved(self, phase: Phase, *, twin_id: str | None = None) -> _Moved:
        moved = replace(self.swap, phase=phase, since_ms=self.at_ms, twin_id=twin_id or self.swap.twin_id)
        return _Moved(self.journal.with_swap(moved))

    def undo(self, why: str) -> _Moved:
        """The twin is to go, wherever it is."""
        undoing = replace(self.swap, phase=Phase.UNDOING, since_ms=self.at_ms, why=why)
        return _Moved(self.journal.with_swap(undoing))

    def _ended(self, outcome: Outcome, reason: str) -> _Moved:
        return _Moved(self.journal.without(self.swap, outcome, reason, self.at_ms))

    def _call(self, call: Call, swap: Swap, instance_id: str | None = None, size: int | None = None) -> Step:
        return Step(self.journal.with_swap(swap), Intent(call, swap, instance_id, size))

    def _wait(self, reason: str) -> Wait:
        waited_ms = self.at_ms - self.swap.since_ms
        delay_ms = self.settings.urgent_poll_ms if self.swap.urgent else self.settings.poll_ms
        if self.swap.phase is Phase.DRAINING:
            delay_ms = max(self.settings.poll_ms, min(waited_ms, self.settings.most_poll_ms))
        elif self.swap.phase is Phase.WARMING and not self.swap.urgent:
            delay_ms = max(delay_ms, self.settings.checks_ms - waited_ms)
        return Wait(delay_ms, reason)
