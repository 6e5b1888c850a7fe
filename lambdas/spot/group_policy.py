"""Group policy: what the tags of a group ask for, over the defaults of the deployment. Pure.

A tag that cannot be read leaves its group alone: what its owner meant is not guessed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from lambdas.spot.schedule import Schedule, parse_schedule

DEFAULT_TAG: Final = "AsgOptimiser"

_ON: Final = frozenset({"", "true", "on", "yes", "enabled", "1"})
_OFF: Final = frozenset({"false", "off", "no", "disabled", "0"})
_MOST_PARALLEL: Final = 20


class PolicyError(ValueError):
    """A tag of a group that cannot be read; the text begins with its name."""


@dataclass(frozen=True, slots=True)
class GroupPolicy:
    """What a group allows.

    Attributes:
        enabled: whether it may be changed at all.
        min_on_demand: the least number of On-Demand Instances.
        min_on_demand_percent: the least share of On-Demand Instances, of the desired capacity, rounded up.
        schedule: when it may be changed; always, if None. A replacement of an interrupted instance does not wait.
        allowed_types: patterns of the Spot Instance types to use; `current` is the type of the original.
        refused_types: patterns of types that are never used.
        max_pool_percent: the most of the desired capacity that may be Spot Instances of one pool; one always may.
        max_price_percent: the most that a Spot Instance may cost, of the On-Demand price of the original.
        parallel: how many of its instances may be swapped at a time.
        roll_out: whether instances of another image than the launch template's are replaced.
    """

    enabled: bool = True
    min_on_demand: int = 0
    min_on_demand_percent: int = 0
    schedule: Schedule | None = None
    allowed_types: tuple[str, ...] = ("*",)
    refused_types: tuple[str, ...] = ()
    max_pool_percent: int = 50
    max_price_percent: int = 99
    parallel: int = 1
    roll_out: bool = False

    def least_on_demand(self, desired: int) -> int:
        """How many On-Demand Instances there must be among `desired`."""
        share = -(-desired * self.min_on_demand_percent // 100)
        return min(desired, max(self.min_on_demand, share))

    def most_in_pool(self, desired: int) -> int:
        """How many Spot Instances may be of one pool."""
        return max(1, desired * self.max_pool_percent // 100)

    def allows(self, instance_type: str, original_type: str) -> bool:
        """Whether a Spot Instance of a type may take the place of one of another."""
        return _matches(instance_type, self.allowed_types, original_type) and not _matches(
            instance_type, self.refused_types, original_type
        )


def read_policy(tags: Mapping[str, str], tag: str = DEFAULT_TAG, defaults: GroupPolicy | None = None) -> GroupPolicy:
    """What the tags of a group say: `AsgOptimiser` itself, and `AsgOptimiser:MinOnDemand` and its like.

    Raises:
        PolicyError: One of them is not a setting, or its value cannot be read.
    """
    policy = replace(defaults or GroupPolicy(), enabled=_flag(tag, tags.get(tag, "off")))
    time_zone = tags.get(f"{tag}:TimeZone", "UTC")
    for name, value in sorted(tags.items()):
        if not name.startswith(f"{tag}:") or name == f"{tag}:TimeZone":
            continue
        if name.removeprefix(f"{tag}:") not in _READERS:
            reason = f"{name} is no setting; there are {', '.join(sorted([*_READERS, 'TimeZone']))}"
            raise PolicyError(reason)
        field, read = _READERS[name.removeprefix(f"{tag}:")]
        policy = replace(policy, **{field: read(name, value.strip(), time_zone)})
    return policy


def _flag(name: str, value: str) -> bool:
    if value.strip().lower() not in _ON | _OFF:
        reason = f"{name} is {value!r}; it takes true or false"
        raise PolicyError(reason)
    return value.strip().lower() in _ON


def _number(least: int, most: int) -> Callable[[str, str, str], int]:
    def read(name: str, value: str, _time_zone: str) -> int:
        if not (value.isascii() and value.isdigit()) or not least <= int(value) <= most:
            reason = f"{name} is {value!r}; it takes a whole number from {least} to {most:,}"
            raise PolicyError(reason)
        return int(value)

    return read


def _patterns(name: str, value: str, _time_zone: str) -> tuple[str, ...]:
    patterns = tuple(value.replace(",", " ").split())
    if not patterns:
        reason = f"{name} is empty; it takes types such as `m6i.* c6i.large`, or `current`"
        raise PolicyError(reason)
    return patterns


def _schedule(name: str, value: str, time_zone: str) -> Schedule:
    try:
        return parse_schedule(value, time_zone)
    except ValueError as error:
        reason = f"{name}: {error}"
        raise PolicyError(reason) from error


def _matches(instance_type: str, patterns: tuple[str, ...], original_type: str) -> bool:
    return any(fnmatchcase(instance_type, original_type if one == "current" else one) for one in patterns)


_READERS: Final[Mapping[str, tuple[str, Callable[[str, str, str], Any]]]] = {
    "MinOnDemand": ("min_on_demand", _number(0, 10_000)),
    "MinOnDemandPercent": ("min_on_demand_percent", _number(0, 100)),
    "Schedule": ("schedule", _schedule),
    "AllowedTypes": ("allowed_types", _patterns),
    "RefusedTypes": ("refused_types", _patterns),
    "MaxPoolPercent": ("max_pool_percent", _number(1, 100)),
    "MaxPricePercent": ("max_price_percent", _number(1, 100)),
    "Parallel": ("parallel", _number(1, _MOST_PARALLEL)),
    "RollOut": ("roll_out", lambda name, value, _time_zone: _flag(name, value)),
}
