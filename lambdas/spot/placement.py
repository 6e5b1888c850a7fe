"""Placement: which placement scores a scan asks EC2 for, and what it tells the spot job of them. Pure.

EC2 scores a set of types in a zone, and gives a set of fewer than three types, or of sizes of one family, a low score
whatever there is. So a pool is scored by its type together with the two nearest types of other families that could take
its place: what the score says is whether capacity for such an instance can be had there.

Source: EC2 User Guide, spot-placement-score: besides, questions of ever new types and amounts are limited within a day,
and repeated ones are not. So the same fleet asks the same, and amounts go in powers of two.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from connectors.spot_facts import MOST_IN_RECORD, PlacementScores, PoolScore, Purchase, facts_id
from lambdas.spot.fleet import Fleet, Market, Pool, TypeFacts
from lambdas.spot.instance_size import family_of

LEAST_TYPES: Final = 3
MOST_QUESTIONS: Final = 10
"""As many calls a scan makes for scores; where there are more types, each has its turn."""

SCAN_MS: Final = 5 * 60_000

_ASKED_FIRST: Final = frozenset({Market.FALLBACK, Market.SUSPECT})


@dataclass(frozen=True, slots=True)
class ScoreQuestion:
    """One call.

    Attributes:
        instance_type: the type whose pools are scored.
        types: what is asked for, that type among them.
        capacity: for how many instances.
        zones: the names of the zones whose scores are wanted.
    """

    instance_type: str
    types: tuple[str, ...]
    capacity: int
    zones: frozenset[str]


def score_questions(fleet: Fleet) -> list[ScoreQuestion]:
    """What to ask: of the types that wait for their market first, then of those in use, in turn."""
    spots = [instance.pool for group in fleet.groups for _, instance in fleet.serving(group, Purchase.SPOT)]
    waiting = {pool for pool, market in fleet.markets.items() if market in _ASKED_FIRST}
    in_use = Counter(pool.instance_type for pool in spots)
    pools = waiting | set(spots)
    first = sorted({pool.instance_type for pool in waiting})
    others = sorted(set(in_use) - set(first))
    turn = fleet.at_ms // SCAN_MS * MOST_QUESTIONS % len(others) if len(others) > MOST_QUESTIONS else 0
    found = []
    for name in [*first, *others[turn:], *others[:turn]]:
        types = _with_kin(name, fleet.types)
        if len(types) >= LEAST_TYPES:
            found.append(ScoreQuestion(name, types, _amount(in_use[name]), _zones(name, pools)))
    return found[:MOST_QUESTIONS]


def _with_kin(name: str, types: Mapping[str, TypeFacts]) -> tuple[str, ...]:
    facts = types.get(name)
    if facts is None:
        return ()
    nearest: dict[str, TypeFacts] = {}
    for one in sorted(types.values(), key=lambda each: (each.vcpus, each.memory_mib, each.instance_type)):
        if one.spot and one.at_least(facts) and family_of(one.instance_type) != family_of(name):
            nearest.setdefault(family_of(one.instance_type), one)
    kin = [one.instance_type for one in nearest.values()][: LEAST_TYPES - 1]
    return tuple(sorted([name, *kin]))


def _amount(instances: int) -> int:
    return 1 << (max(1, instances) - 1).bit_length()


def _zones(name: str, pools: Iterable[Pool]) -> frozenset[str]:
    return frozenset(pool.zone for pool in pools if pool.instance_type == name)


def pool_scores(
    question: ScoreQuestion, answered: Mapping[str, int], zone_names: Mapping[str, str]
) -> Iterator[PoolScore]:
    """The scores of the pools in question; EC2 names the best ten zones, by ids that differ from account to account."""
    for zone_id, score in sorted(answered.items()):
        zone = zone_names.get(zone_id)
        if zone in question.zones:
            yield PoolScore(question.instance_type, zone, score)


def score_facts(fleet: Fleet, scores: Iterable[PoolScore]) -> Iterator[PlacementScores]:
    """What the spot job is told of them."""
    found = sorted(scores, key=lambda one: (one.instance_type, one.zone))
    for number, start in enumerate(range(0, len(found), MOST_IN_RECORD)):
        yield PlacementScores(
            event_id=facts_id("scores", fleet.account, fleet.region, fleet.at_ms, number),
            account=fleet.account,
            region=fleet.region,
            at_ms=fleet.at_ms,
            scores=tuple(found[start : start + MOST_IN_RECORD]),
        )
