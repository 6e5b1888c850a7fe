"""Group refusal: why a group is left alone as a whole. Pure."""

from lambdas.spot.fleet import Group
from lambdas.spot.group_policy import GroupPolicy


def group_refusal(group: Group, changing_stacks: frozenset[str], *, enabled: bool = True) -> str | None:
    """Why nothing of a group may be changed, None if it may."""
    if not enabled:
        return "its tag says off"
    if group.deleting:
        return "it is being deleted"
    if group.template is None:
        return "it launches from a launch configuration; a launch template is needed"
    if group.on_demand_percentage not in (None, 100):
        return f"its mixed instances policy buys Spot itself ({group.on_demand_percentage} % On-Demand above its base)"
    if group.weighted:
        return "its mixed instances policy counts capacity by weight"
    return group_busy(group, changing_stacks)


def group_busy(group: Group, changing_stacks: frozenset[str]) -> str | None:
    """Why a group must be left alone for now, None if it need not."""
    if group.suspended:
        return f"processes are suspended, as in a deployment: {', '.join(sorted(group.suspended))}"
    if group.stack in changing_stacks:
        return f"its stack {group.stack} is being changed"
    return None


def not_now(policy: GroupPolicy, at_ms: int) -> str | None:
    """Why a group's schedule holds it up, None if it does not."""
    return "its schedule does not allow it now" if policy.schedule and not policy.schedule.is_open(at_ms) else None
