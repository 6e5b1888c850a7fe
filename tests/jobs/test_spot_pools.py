import json
from dataclasses import replace

import pytest

from jobs.settings import MarketSettings
from jobs.settings.durations import HOUR_MS, MINUTE_MS
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.market import Market, Pool
from jobs.spot.pools import PoolChange, PoolMemory, forget_pool_at_ms, let_time_pass, weigh

SETTINGS = MarketSettings()
SOAK = SETTINGS.soak_ms
POOL = Pool("604418233907", "eu-west-1", "m7g.large", "eu-west-1b")


def evidence(kind: EvidenceKind, at_ms: int, **about: object) -> PoolEvidence:
    told = PoolEvidence(POOL, kind, at_ms, at_ms, f"{kind}-{at_ms}")
    return replace(told, **about)  # type: ignore[arg-type] # fields of PoolEvidence


def interruption(at_ms: int) -> PoolEvidence:
    return evidence(EvidenceKind.INTERRUPTION, at_ms, instance_id="i-0004be7a92c1d03f5")


def health(at_ms: int, *, healthy: bool) -> PoolEvidence:
    return evidence(EvidenceKind.HEALTH, at_ms, healthy=healthy)


def score(at_ms: int, score: int) -> PoolEvidence:
    return evidence(EvidenceKind.PLACEMENT_SCORE, at_ms, score=score)


def told(*events: PoolEvidence, until_ms: int = 0) -> list[PoolChange]:
    memory, changes = PoolMemory(), list[PoolChange]()
    for event in events:
        memory, more = weigh(POOL, memory, event, SETTINGS)
        changes += more
    _, more = let_time_pass(POOL, memory, until_ms, SETTINGS)
    return [*changes, *more]


def course(changes: list[PoolChange]) -> list[tuple[int, Market]]:
    return [(each.change.at_ms, each.change.after) for each in changes]


def test_a_pool_that_is_healthy_at_each_look_gives_no_news() -> None:
    looks = [health(minute * MINUTE_MS, healthy=True) for minute in range(3, 12)]
    assert course(told(interruption(1), interruption(2), *looks, until_ms=SOAK + 1)) == [
        (1, Market.SUSPECT),
        (SOAK + 1, Market.FALLBACK),
    ]


def test_health_that_is_lost_and_comes_back_is_news_each_time() -> None:
    assert course(told(health(5, healthy=False), health(6, healthy=False), health(7, healthy=True))) == [
        (5, Market.SUSPECT),
        (7, Market.ARMED),
    ]


def test_a_fall_back_tells_all_the_evidence_and_a_return_what_was_told_since() -> None:
    hours = [score(SOAK + hour * HOUR_MS, 5) for hour in (1, 2, 4)]
    suspect, fallen, armed = told(interruption(1), score(2, 1), interruption(3), *hours)
    assert (suspect.cause, suspect.heard) == (interruption(1), (interruption(1),))
    assert (fallen.cause, fallen.heard) == (None, (interruption(1), score(2, 1), interruption(3)))
    assert armed.cause == hours[-1]
    assert armed.heard == (*fallen.heard, *hours)


def test_evidence_before_a_pool_was_armed_again_is_not_told_of_later_changes() -> None:
    changes = told(interruption(1), score(2, 9), interruption(3))
    assert [each.heard for each in changes] == [
        (interruption(1),),
        (interruption(1), score(2, 9)),
        (interruption(3),),
    ]


def test_what_was_told_of_an_armed_pool_without_effect_is_no_evidence() -> None:
    [change] = told(score(1, 9), health(2, healthy=True), interruption(3))
    assert change.heard == (interruption(3),)


def test_recommendations_are_evidence_only_as_long_as_they_add_up() -> None:
    window = SETTINGS.rebalance_window_ms
    early, kept = evidence(EvidenceKind.REBALANCE, 0), evidence(EvidenceKind.REBALANCE, 1)
    [change] = told(early, kept, interruption(window))
    assert change.heard == (kept, interruption(window))
    assert change.change.signs.rebalances == 1


def test_only_the_newest_evidence_is_kept() -> None:
    [_, fallen] = told(*[interruption(at_ms) for at_ms in range(80)], until_ms=SOAK)
    assert [each.at_ms for each in fallen.heard] == list(range(30, 80))
    assert fallen.change.signs.interruptions == 80


def test_a_line_names_the_pool_the_change_its_cause_and_its_action() -> None:
    suspect, fallen = told(interruption(1), interruption(2), until_ms=SOAK + 1)
    assert json.loads(json.dumps(suspect.line())) == {
        "account": "604418233907",
        "region": "eu-west-1",
        "instance_type": "m7g.large",
        "zone": "eu-west-1b",
        "at_ms": 1,
        "before": "armed",
        "after": "suspect",
        "cause": interruption(1).line(),
        "signs": {
            "interruptions": 1,
            "capacity_errors": 0,
            "rebalances": 0,
            "unhealthy_since_ms": None,
            "placement_score": None,
        },
        "evidence": [interruption(1).line()],
        "action_id": None,
    }
    assert interruption(1).line() == {
        "kind": "interruption",
        "at_ms": 1,
        "source_id": "interruption-1",
        "instance_id": "i-0004be7a92c1d03f5",
    }
    assert fallen.change.action is not None
    assert fallen.line()["action_id"] == fallen.change.action.action_id
    assert fallen.line()["cause"] is None


@pytest.mark.parametrize("healthy", [True, False])
def test_a_pool_whose_health_is_lost_is_not_forgotten(healthy: bool) -> None:
    memory, _ = weigh(POOL, PoolMemory(), evidence(EvidenceKind.REBALANCE, 0), SETTINGS)
    memory = replace(memory, healthy=healthy)
    assert forget_pool_at_ms(memory, SETTINGS) == (SETTINGS.rebalance_window_ms if healthy else None)
