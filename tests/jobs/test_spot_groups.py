from dataclasses import replace

import pytest

from connectors.ec2.events import ActivityKind, GroupActivity
from jobs.settings.durations import DAY_MS
from jobs.spot.evidence import EvidenceKind, PoolEvidence
from jobs.spot.groups import GroupMemory, GroupRuns, follow_group, forget_group_at_ms
from jobs.spot.market import Pool
from tests.jobs.test_spot_market import FAILED

WHERE = {"account": FAILED.account, "region": FAILED.region}
RUNS = GroupRuns(**WHERE, at_ms=FAILED.at_ms - 5, group=FAILED.group, instance_type="m7g.large", zone="eu-west-1b")


def told(*events: GroupActivity | GroupRuns) -> list[PoolEvidence]:
    memory, found = GroupMemory(), list[PoolEvidence]()
    for event in events:
        memory, evidence = follow_group(memory, event)
        found += evidence
    return found


def test_a_refused_launch_is_an_error_of_each_type_that_the_group_runs_in_that_zone() -> None:
    xlarge, elsewhere = replace(RUNS, instance_type="m7g.xlarge"), replace(RUNS, zone="eu-west-1a")
    assert told(RUNS, xlarge, RUNS, elsewhere, FAILED) == [
        PoolEvidence(
            Pool(**WHERE, instance_type=instance_type, zone="eu-west-1b"),
            EvidenceKind.CAPACITY_ERROR,
            FAILED.at_ms,
            FAILED.at_ms,
            FAILED.event_id,
            group=FAILED.group,
        )
        for instance_type in ("m7g.large", "m7g.xlarge")
    ]


def test_a_refusal_before_any_scan_waits_for_what_the_group_runs_there() -> None:
    elsewhere = replace(RUNS, zone="eu-west-1a", at_ms=FAILED.at_ms + 1)
    [evidence] = told(FAILED, elsewhere, replace(RUNS, at_ms=FAILED.at_ms + 9), replace(RUNS, at_ms=FAILED.at_ms + 99))
    assert (evidence.pool.zone, evidence.at_ms, evidence.told_at_ms) == ("eu-west-1b", FAILED.at_ms + 9, FAILED.at_ms)


@pytest.mark.parametrize(
    "activity",
    [
        replace(FAILED, status_message="Max spot instance count exceeded."),
        replace(FAILED, zone=None),
        replace(FAILED, successful=True),
        replace(FAILED, kind=ActivityKind.TERMINATE),
    ],
    ids=["our quota", "no zone", "successful", "a termination"],
)
def test_anything_else_moves_no_pool(activity: GroupActivity) -> None:
    assert told(RUNS, activity) == []


@pytest.mark.parametrize(("later_ms", "known"), [(2 * DAY_MS - 1, True), (2 * DAY_MS, False), (2 * DAY_MS + 1, False)])
def test_what_a_group_ran_long_ago_is_forgotten(later_ms: int, known: bool) -> None:
    assert bool(told(RUNS, replace(FAILED, at_ms=RUNS.at_ms + later_ms))) is known


def test_a_memory_is_kept_for_two_days_after_the_last_word() -> None:
    memory, _ = follow_group(GroupMemory(), RUNS)
    memory, _ = follow_group(memory, replace(RUNS, at_ms=RUNS.at_ms - 1))
    assert forget_group_at_ms(memory) == RUNS.at_ms + 2 * DAY_MS
