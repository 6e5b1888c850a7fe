"""Observe: what the saga must know of a group now, and no more than that."""

from collections.abc import Iterable

from connectors.ec2.events import InstanceState
from lambdas.spot.describe import Describe
from lambdas.spot.equivalence import lacks
from lambdas.spot.fleet import Group, Instance
from lambdas.spot.group_policy import GroupPolicy, PolicyError, read_policy
from lambdas.spot.group_refusal import group_busy
from lambdas.spot.observed import Observed
from lambdas.spot.swap import GroupJournal, Phase, Swap

_JOINING = frozenset({Phase.ATTACHING, Phase.JOINING, Phase.ENDING})
_IN_THE_GROUP = _JOINING | {Phase.UNDOING}


def observe(describe: Describe, journal: GroupJournal, tag: str, compared: dict[str, tuple[str, ...]]) -> Observed:
    """What is true of a group, and of the instances in its swaps. Two calls, and more before a step that needs them.

    Args:
        describe: Who is asked.
        journal: What is remembered of the group.
        tag: The tag that puts a group under our care.
        compared: What each twin was found to lack in this run, which is added to: twins are compared once.
    """
    group = describe.groups([journal.group]).get(journal.group)
    stays = group is not None and not group.deleting
    policy = _policy(group, tag) if group else None
    others = group.members if group and stays and any(swap.phase in _IN_THE_GROUP for swap in journal.swaps) else ()
    instances = describe.instances([*_known(journal.swaps), *(member.instance_id for member in others)])
    unanswered = [swap.swap_id for swap in journal.swaps if swap.twin_id is None and swap.asked_at_ms is not None]
    if unanswered:
        instances = instances | describe.launched_for(unanswered)
    warming = _running_twins(journal.swaps, instances, {Phase.WARMING})
    passed = describe.passed_checks(warming) if warming else frozenset()
    ready = {twin: swap for twin, swap in warming.items() if twin in passed or swap.urgent}
    for twin in ready.keys() - compared.keys() if stays else ():  # what ends with its group cannot be asked everything
        compared[twin] = _weaker(describe, ready[twin], instances, twin)
    about_to = [swap for swap in journal.swaps if swap.phase is Phase.LAUNCHING and swap.asked_at_ms is None]
    careful = [swap for swap in (*about_to, *ready.values()) if not swap.urgent]
    joining = _running_twins(journal.swaps, instances, _JOINING)
    return Observed(
        group=group,
        managed=policy is not None and policy.enabled,
        policy=policy or GroupPolicy(),
        busy=_busy(describe, group) if group and stays and careful else None,
        instances=instances,
        passed_checks=passed,
        serving=frozenset(twin for twin in joining if group and stays and _serves(describe, group, twin)),
        weaker={twin: compared[twin] for twin in ready if twin in compared},
        guarded=frozenset(swap.original_id for swap in careful if _is_guarded(describe, instances, swap.original_id)),
    )


def is_managed(group: Group, tag: str) -> bool:
    """Whether the tags of a group let it be changed."""
    policy = _policy(group, tag)
    return policy is not None and policy.enabled


def _policy(group: Group, tag: str) -> GroupPolicy | None:
    try:
        return read_policy(group.tags, tag)
    except PolicyError:
        return None


def _known(swaps: Iterable[Swap]) -> list[str]:
    return [one for swap in swaps for one in (swap.original_id, swap.twin_id) if one is not None]


def _running_twins(swaps: Iterable[Swap], instances: dict[str, Instance], phases: Iterable[Phase]) -> dict[str, Swap]:
    return {
        swap.twin_id: swap
        for swap in swaps
        if swap.phase in phases and swap.twin_id in instances and instances[swap.twin_id].state is InstanceState.RUNNING
    }


def _busy(describe: Describe, group: Group) -> str | None:
    if busy := group_busy(group, frozenset()):
        return busy
    if group.stack and describe.is_stack_changing(group.stack):
        return f"its stack {group.stack} is being changed"
    return "an instance refresh is going on" if describe.is_refreshing(group.name) else None


def _serves(describe: Describe, group: Group, instance_id: str) -> bool:
    member = group.member(instance_id)
    return member is not None and member.serves and describe.is_serving(group, instance_id)


def _weaker(describe: Describe, swap: Swap, instances: dict[str, Instance], twin_id: str) -> tuple[str, ...]:
    original = instances.get(swap.original_id)
    if original is None:
        return ("there is no original any more to compare it with",)
    details = describe.details([swap.original_id, twin_id])
    return lacks(swap, original, details[swap.original_id], instances[twin_id], details[twin_id])


def _is_guarded(describe: Describe, instances: dict[str, Instance], instance_id: str) -> bool:
    instance = instances.get(instance_id)
    return instance is not None and instance.state is InstanceState.RUNNING and describe.is_guarded(instance_id)
