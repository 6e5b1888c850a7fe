"""What a replay says became of a pool, in whatever order its changes are told: subtasks know no order among them."""

from itertools import pairwise, permutations
from typing import Any

from jobs.settings import MarketSettings
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.market import Market, Pool
from jobs.spot.pools import PoolMemory, weigh
from jobs.spot.tally import Tally, change_order

POOL = Pool("123456789012", "eu-west-1", "m5.large", "eu-west-1a")
SETTINGS = MarketSettings()
START_MS = 1_770_000_000_000


def lines_of(*told: tuple[int, EvidenceKind, dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a pool that is told of these after so many milliseconds, in their order."""
    memory, lines = PoolMemory(), []
    for after_ms, kind, more in told:
        at_ms = START_MS + after_ms
        memory, changes = weigh(POOL, memory, PoolEvidence(POOL, kind, at_ms, at_ms, f"e-{after_ms}", **more), SETTINGS)
        lines += [change.line() for change in changes]
    return lines


def test_an_interruption_just_when_the_soak_of_another_ends_follows_it_in_every_order() -> None:
    soaked_ms = SETTINGS.soak_ms
    lines = lines_of(
        (0, EvidenceKind.INTERRUPTION, {"instance_id": "i-00000001"}),
        (soaked_ms, EvidenceKind.INTERRUPTION, {"instance_id": "i-00000002"}),
        (soaked_ms, EvidenceKind.PLACEMENT_SCORE, {"score": 9}),
        (soaked_ms + 1, EvidenceKind.CAPACITY_ERROR, {}),
    )
    assert [line["after"] for line in lines] == ["suspect", "armed", "suspect", "armed", "suspect"]
    for told in permutations(lines):
        in_order = sorted(told, key=change_order)
        assert [line["after"] for line in in_order] == [line["after"] for line in lines]
        assert all(before["after"] == after["before"] for before, after in pairwise(in_order))
        tally = Tally()
        for line in told:
            tally.add_change(line)
        course = tally.pools[POOL]
        assert (course.market, course.since_ms) == (Market.SUSPECT, START_MS + soaked_ms + 1)
        assert (course.suspected, course.fell_back) == (3, 0)
