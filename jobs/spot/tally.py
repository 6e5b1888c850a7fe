"""What a replay of the Spot job found, for the summary and for the person who reads it. Pure."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from connectors.spot_actions import FallBack, ReplaceInstance, ReturnToSpot, SpotAction
from jobs.recorded.malformed_reasons import MalformedReasons
from jobs.spot.market import Market, Pool


@dataclass(slots=True)
class Counts:
    """What a recording holds.

    Attributes:
        kinds: How many of each kind of event and fact.
        duplicates: Events and facts that were there before, by their id.
        instances: Different instances that an event is about.
        without_facts: Those of them that were interrupted or at risk, and that no scan tells anything of.
    """

    read_bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    malformed: int = 0
    ignored: int = 0
    duplicates: int = 0
    instances: int = 0
    without_facts: int = 0
    first_event_ms: int | None = None
    last_event_ms: int | None = None

    @property
    def events(self) -> int:
        """All records, of whatever outcome."""
        return sum(self.kinds.values()) + self.malformed + self.ignored


@dataclass(slots=True)
class PoolCourse:
    """What became of a pool: how often it was suspected and given up, and its market in the end."""

    suspected: int = 0
    fell_back: int = 0
    market: Market = Market.ARMED
    since_ms: int = 0
    newest: tuple[int, bool, str] = (0, False, "")


def change_order(line: dict[str, Any]) -> tuple[int, bool, str]:
    """What puts the lines of one pool in the order in which its market changed.

    At the same time what time alone brings comes before what evidence does, and that goes from armed to suspect before
    it goes back: what is bad counts first.
    """
    return line["at_ms"], line["cause"] is not None, line["before"]


@dataclass(slots=True)
class Tally:
    """What was read, the actions, and what became of each pool."""

    counts: Counts = field(default_factory=Counts)
    malformed_reasons: MalformedReasons = field(default_factory=MalformedReasons)
    replacements: list[ReplaceInstance] = field(default_factory=list)
    fall_backs: int = 0
    returns: int = 0
    pool_changes: int = 0
    pools: dict[Pool, PoolCourse] = field(default_factory=dict)

    def add_action(self, action: SpotAction) -> None:
        """Take note of an action."""
        match action:
            case ReplaceInstance():
                self.replacements.append(action)
            case FallBack():
                self.fall_backs += 1
            case ReturnToSpot():
                self.returns += 1

    def add_change(self, line: dict[str, Any]) -> None:
        """Take note of a line of `pools.jsonl`; they come in any order."""
        pool = Pool(line["account"], line["region"], line["instance_type"], line["zone"])
        course = self.pools.setdefault(pool, PoolCourse())
        self.pool_changes += 1
        after, order = Market(line["after"]), change_order(line)
        course.suspected += after is Market.SUSPECT
        course.fell_back += after in (Market.FALLBACK, Market.PINNED)
        if order >= course.newest:
            course.market, course.since_ms, course.newest = after, line["at_ms"], order

    def summary(self, wall_s: float) -> dict[str, Any]:
        """The fields of `summary.json`."""
        counts = self.counts
        announced = sum(action.evidence.announced for action in self.replacements)
        return {
            "events": counts.events,
            "kinds": dict(sorted(counts.kinds.items())),
            "malformed": counts.malformed,
            "ignored": counts.ignored,
            "duplicates": counts.duplicates,
            "instances": counts.instances,
            "instances_without_facts": counts.without_facts,
            "replacements": len(self.replacements),
            "replacements_unannounced": len(self.replacements) - announced,
            "fall_backs": self.fall_backs,
            "returns": self.returns,
            "pools": len(self.pools),
            "pool_changes": self.pool_changes,
            "first_event_ms": counts.first_event_ms,
            "last_event_ms": counts.last_event_ms,
            "wall_s": round(wall_s, 3),
            "events_per_s": round(counts.events / wall_s, 1),
        }
