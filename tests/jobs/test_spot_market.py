from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from connectors.ec2.events import ActivityKind, GroupActivity
from connectors.spot_action_messages import decode, encode
from connectors.spot_actions import FallBack, ReturnToSpot, SpotActionType, pool_action_id
from jobs.settings import MarketSettings
from jobs.settings.durations import HOUR_MS, MINUTE_MS
from jobs.spot.market import (
    Change,
    Evidence,
    InstanceFacts,
    Market,
    PlacementScore,
    Pool,
    PoolState,
    Sign,
    Signs,
    forget_at_ms,
    pool_of,
    refused_spot_capacity,
    step,
    wake_at_ms,
)

ARMED, SUSPECT, FALLBACK, PINNED = Market.ARMED, Market.SUSPECT, Market.FALLBACK, Market.PINNED
POOL = Pool(account="604418233907", region="eu-west-1", instance_type="m7g.2xlarge", zone="eu-west-1b")
DEFAULTS = MarketSettings()
START = 1_773_500_000_000
SOAK, COOL_DOWN = 12 * MINUTE_MS, 3 * HOUR_MS
GOOD, BAD = PlacementScore(3), PlacementScore(2)

Told = tuple[int, Evidence | None]


@dataclass
class Watched:
    """A pool, and all that became of it."""

    settings: MarketSettings = DEFAULTS
    state: PoolState = field(default_factory=PoolState.unknown)
    changes: list[Change] = field(default_factory=list)

    def tell(self, *told: Told) -> "Watched":
        """What is told, each some milliseconds after START."""
        for after_ms, evidence in told:
            self.state, changes = step(POOL, self.state, evidence, START + after_ms, self.settings)
            self.changes += changes
        return self

    @property
    def course(self) -> list[tuple[int, Market]]:
        return [(change.at_ms - START, change.after) for change in self.changes]

    @property
    def actions(self) -> list[FallBack | ReturnToSpot]:
        return [change.action for change in self.changes if change.action]


def course(*told: Told, settings: MarketSettings = DEFAULTS) -> list[tuple[int, Market]]:
    return Watched(settings).tell(*told).course


DROUGHT: tuple[Told, ...] = ((0, Sign.HEALTH_LOST), (SOAK, None))
FALLEN = Watched().tell(*DROUGHT).state


@pytest.mark.parametrize("sign", [Sign.INTERRUPTION, Sign.CAPACITY_ERROR, Sign.HEALTH_LOST])
def test_one_strong_sign_makes_a_pool_suspect(sign: Sign) -> None:
    watched = Watched().tell((0, sign))
    [change] = watched.changes
    assert (change.before, change.after, change.at_ms, change.cause) == (ARMED, SUSPECT, START, sign)
    assert change.action is None


@pytest.mark.parametrize("evidence", [Sign.HEALTH_REGAINED, Sign.RELEASED, GOOD, BAD, None], ids=str)
def test_nothing_else_changes_an_armed_pool(evidence: Evidence | None) -> None:
    assert course((0, evidence)) == []


@pytest.mark.parametrize(("count", "suspects"), [(3, False), (4, True), (5, True)])
def test_rebalance_recommendations_add_up_to_suspicion(count: int, suspects: bool) -> None:
    assert bool(course(*[(number, Sign.REBALANCE) for number in range(count)])) is suspects


@pytest.mark.parametrize(("percent", "count"), [(100, 1), (99, 2), (50, 2), (49, 3), (1, 100)])
def test_the_weight_of_a_recommendation_is_a_setting(percent: int, count: int) -> None:
    settings = MarketSettings(rebalance_percent=percent)
    told: list[Told] = [(number, Sign.REBALANCE) for number in range(count)]
    assert course(*told[1:], settings=settings) == []
    assert course(*told, settings=settings) == [(count - 1, SUSPECT)]


def test_recommendations_without_weight_are_not_even_remembered() -> None:
    watched = Watched(MarketSettings(rebalance_percent=0)).tell(*[(number, Sign.REBALANCE) for number in range(500)])
    assert watched.state == PoolState.unknown()


@pytest.mark.parametrize(
    ("after_ms", "suspects"), [(30 * MINUTE_MS - 1, True), (30 * MINUTE_MS, False), (30 * MINUTE_MS + 1, False)]
)
def test_recommendations_add_up_within_a_window(after_ms: int, suspects: bool) -> None:
    told: list[Told] = [(0, Sign.REBALANCE), *[(after_ms, Sign.REBALANCE)] * 3]
    assert bool(course(*told)) is suspects


def test_recommendations_before_the_first_strong_sign_are_part_of_the_evidence() -> None:
    watched = Watched().tell((0, Sign.REBALANCE), (1, Sign.REBALANCE), (2, Sign.INTERRUPTION), (3, Sign.REBALANCE))
    assert watched.state.signs == Signs(interruptions=1, rebalances=3)


@given(st.lists(st.tuples(st.integers(0, 3 * HOUR_MS), st.sampled_from([Sign.REBALANCE, BAD, None])), max_size=60))
def test_recommendations_alone_never_make_a_pool_fall_back(told: list[Told]) -> None:
    assert not {FALLBACK, PINNED} & {market for _, market in course(*sorted(told, key=lambda each: each[0]))}


@pytest.mark.parametrize(("after_ms", "falls_back"), [(SOAK - 1, False), (SOAK, True), (SOAK + 1, True)])
def test_a_pool_without_health_falls_back_when_the_soak_is_over(after_ms: int, falls_back: bool) -> None:
    assert ((SOAK, FALLBACK) in course((0, Sign.HEALTH_LOST), (after_ms, None))) is falls_back


@pytest.mark.parametrize("evidence", [None, *Sign, GOOD, BAD], ids=str)
def test_whatever_is_told_after_the_soak_comes_too_late(evidence: Evidence | None) -> None:
    assert course((0, Sign.HEALTH_LOST), (SOAK + 5, evidence)) == [(0, SUSPECT), (SOAK, FALLBACK)]


@pytest.mark.parametrize(("after_ms", "armed"), [(SOAK - 1, True), (SOAK, False), (SOAK + 1, False)])
def test_health_that_comes_back_in_the_soak_arms_the_pool(after_ms: int, armed: bool) -> None:
    found = course((0, Sign.HEALTH_LOST), (after_ms, Sign.HEALTH_REGAINED))
    assert (found[-1] == (after_ms, ARMED)) is armed


@pytest.mark.parametrize(("score", "armed"), [(2, False), (3, True), (4, True)])
def test_a_good_placement_score_in_the_soak_arms_the_pool(score: int, armed: bool) -> None:
    found = course((0, Sign.CAPACITY_ERROR), (1, Sign.CAPACITY_ERROR), (2, PlacementScore(score)), (SOAK, None))
    assert found[1] == ((2, ARMED) if armed else (SOAK, FALLBACK))


def test_a_good_placement_score_does_not_cure_lost_health() -> None:
    assert course((0, Sign.HEALTH_LOST), (1, GOOD), (SOAK, None)) == [(0, SUSPECT), (SOAK, FALLBACK)]


def test_health_lost_late_in_the_soak_counts_and_the_soak_is_not_begun_anew() -> None:
    watched = Watched().tell((0, Sign.INTERRUPTION), (SOAK - 1, Sign.HEALTH_LOST), (SOAK, None))
    assert watched.course == [(0, SUSPECT), (SOAK, FALLBACK)]
    [action] = watched.actions
    assert isinstance(action, FallBack)
    assert action.evidence.unhealthy_since_ms == START + SOAK - 1


@pytest.mark.parametrize("sign", [Sign.INTERRUPTION, Sign.CAPACITY_ERROR])
@pytest.mark.parametrize(("count", "after"), [(1, ARMED), (2, FALLBACK), (3, FALLBACK)])
def test_a_lone_sign_is_forgiven_at_the_end_of_the_soak(sign: Sign, count: int, after: Market) -> None:
    told: list[Told] = [(number, sign) for number in range(count)]
    assert course(*told, (SOAK, None)) == [(0, SUSPECT), (SOAK, after)]


def test_how_much_evidence_makes_a_pool_fall_back_is_a_setting() -> None:
    told: tuple[Told, ...] = ((0, Sign.INTERRUPTION), *[(1, Sign.REBALANCE)] * 3, (SOAK, None))
    for percent, after in ((189, FALLBACK), (190, FALLBACK), (191, ARMED)):
        assert course(*told, settings=MarketSettings(fall_back_percent=percent))[-1] == (SOAK, after)


@pytest.mark.parametrize(("score", "after"), [(BAD, FALLBACK), (None, ARMED)], ids=["bad score", "no score"])
def test_a_bad_score_bears_out_a_lone_sign(score: PlacementScore | None, after: Market) -> None:
    assert course((0, Sign.INTERRUPTION), (1, score), (SOAK, None))[-1] == (SOAK, after)


def test_an_action_says_what_was_decided_and_why() -> None:
    told: tuple[Told, ...] = (
        (0, Sign.REBALANCE),
        (1, Sign.INTERRUPTION),
        (2, Sign.CAPACITY_ERROR),
        (3, BAD),
        (4, Sign.HEALTH_LOST),
        (5, Sign.HEALTH_LOST),
    )
    [action] = Watched().tell(*told, (SOAK + 999, None)).actions
    at_ms = START + 1 + SOAK
    about = {"account": "604418233907", "region": "eu-west-1", "instance_type": "m7g.2xlarge", "zone": "eu-west-1b"}
    action_id = pool_action_id(SpotActionType.FALL_BACK, **about, issued_at_ms=at_ms)
    assert encode(action).decode() == (
        f'{{"version": 1, "type": "fall_back", "action_id": "{action_id}", "issued_at_ms": {at_ms}, '
        f'"not_after_ms": {at_ms + HOUR_MS}, "account": "604418233907", "region": "eu-west-1", '
        f'"instance_type": "m7g.2xlarge", "zone": "eu-west-1b", "evidence": {{"suspect_since_ms": {START + 1}, '
        f'"interruptions": 1, "capacity_errors": 1, "rebalances": 1, "unhealthy_since_ms": {START + 4}, '
        f'"placement_score": 2, "fall_backs": 1, "pinned": false}}}}'
    )


def test_a_storm_is_one_suspicion_and_one_fall_back() -> None:
    storm: list[Told] = [(number * 50, Sign.INTERRUPTION) for number in range(200)]
    watched = Watched().tell(*storm, (SOAK, None))
    assert watched.course == [(0, SUSPECT), (SOAK, FALLBACK)]
    [action] = watched.actions
    assert isinstance(action, FallBack)
    assert action.evidence.interruptions == 200


@pytest.mark.parametrize("after_ms", [COOL_DOWN - 1, COOL_DOWN, COOL_DOWN + 1])
def test_a_pool_returns_with_the_first_good_score_after_the_cool_down(after_ms: int) -> None:
    watched = Watched(state=FALLEN).tell((SOAK + 1, GOOD), (SOAK + HOUR_MS, GOOD), (SOAK + after_ms, PlacementScore(9)))
    assert watched.course == ([(SOAK + after_ms, ARMED)] if after_ms >= COOL_DOWN else [])
    assert [
        (action.evidence.good_scores, action.evidence.placement_score)
        for action in watched.actions
        if isinstance(action, ReturnToSpot)
    ] == [(2 if after_ms == COOL_DOWN - 1 else 3, 9)] * len(watched.course)


def test_time_alone_never_returns_a_pool() -> None:
    assert course(*DROUGHT, (SOAK + 1, GOOD), (SOAK + HOUR_MS, GOOD), (1_000 * HOUR_MS, None))[-1] == (SOAK, FALLBACK)


@pytest.mark.parametrize(
    ("apart_ms", "returns"), [(30 * MINUTE_MS - 1, False), (30 * MINUTE_MS, True), (30 * MINUTE_MS + 1, True)]
)
def test_good_scores_count_when_far_enough_apart(apart_ms: int, returns: bool) -> None:
    first = SOAK + COOL_DOWN
    assert bool(Watched(state=FALLEN).tell((first, GOOD), (first + apart_ms, GOOD)).course) is returns


def test_good_scores_between_the_counted_ones_do_not_hinder_them() -> None:
    first = SOAK + COOL_DOWN
    told: list[Told] = [(first + minutes * MINUTE_MS, GOOD) for minutes in range(0, 31, 5)]
    assert Watched(state=FALLEN).tell(*told).course == [(first + 30 * MINUTE_MS, ARMED)]


def test_a_bad_score_breaks_the_row() -> None:
    first, apart = SOAK + COOL_DOWN, 30 * MINUTE_MS
    told: list[Told] = [(first, GOOD), (first + apart, BAD), (first + 2 * apart, GOOD), (first + 3 * apart, GOOD)]
    assert Watched(state=FALLEN).tell(*told).course == [(first + 3 * apart, ARMED)]


def test_after_a_bad_score_a_row_begins_with_the_next_good_one() -> None:
    first, apart = SOAK + COOL_DOWN, 30 * MINUTE_MS
    told: list[Told] = [(first, GOOD), (first + 1, BAD), (first + 2, GOOD), (first + 2 + apart, GOOD)]
    assert Watched(state=FALLEN).tell(*told).course == [(first + 2 + apart, ARMED)]


@pytest.mark.parametrize("sign", list(Sign))
def test_no_sign_moves_a_pool_that_fell_back(sign: Sign) -> None:
    assert Watched(state=FALLEN).tell((SOAK + COOL_DOWN, sign)).state == FALLEN


DAY = 24 * HOUR_MS


def after_a_return(second_ms: int) -> Watched:
    """A pool that fell back, returned, and falls back again so many milliseconds after the first time."""
    watched = Watched(state=FALLEN).tell((SOAK + COOL_DOWN, GOOD), (SOAK + 2 * COOL_DOWN, GOOD))
    assert watched.state.market is ARMED
    return watched.tell((second_ms, Sign.HEALTH_LOST), (second_ms + SOAK, None))


@pytest.mark.parametrize(("apart_ms", "market"), [(DAY - 1, PINNED), (DAY, FALLBACK), (DAY + 1, FALLBACK)])
def test_a_second_fall_back_within_a_day_pins_the_pool(apart_ms: int, market: Market) -> None:
    watched = after_a_return(apart_ms)
    assert watched.course[-1] == (SOAK + apart_ms, market)
    action = watched.actions[-1]
    assert isinstance(action, FallBack)
    assert action.evidence.pinned is (market is PINNED)
    assert action.evidence.fall_backs == (2 if market is PINNED else 1)


@pytest.mark.parametrize("pin_after", [1, 3])
def test_how_many_fall_backs_pin_is_a_setting(pin_after: int) -> None:
    watched = Watched(MarketSettings(pin_after=pin_after)).tell(*DROUGHT)
    assert watched.state.market is (PINNED if pin_after == 1 else FALLBACK)


PIN_EVIDENCE = st.sampled_from([*(sign for sign in Sign if sign is not Sign.RELEASED), GOOD, PlacementScore(10), None])


@given(st.lists(st.tuples(st.integers(0, 1_000 * HOUR_MS), PIN_EVIDENCE), max_size=30))
def test_a_pinned_pool_never_leaves_by_itself(told: list[Told]) -> None:
    pinned = after_a_return(6 * HOUR_MS + MINUTE_MS * 30).state
    assert pinned.market is PINNED
    assert Watched(state=pinned).tell(*told).state == pinned


def test_a_person_releases_a_pinned_pool_and_its_past_is_forgotten() -> None:
    pinned = after_a_return(7 * HOUR_MS).state
    watched = Watched(state=pinned).tell((8 * HOUR_MS, Sign.RELEASED))
    assert watched.course == [(8 * HOUR_MS, ARMED)]
    [action] = watched.actions
    assert isinstance(action, ReturnToSpot)
    assert action.evidence.by_hand
    assert watched.state == PoolState(ARMED, START + 8 * HOUR_MS)


def test_a_change_that_was_due_comes_before_what_is_told_later() -> None:
    told: list[Told] = [(0, Sign.INTERRUPTION), (5 * HOUR_MS, Sign.CAPACITY_ERROR)]
    assert course(*told) == [(0, SUSPECT), (SOAK, ARMED), (5 * HOUR_MS, SUSPECT)]


def test_what_is_told_of_before_the_last_change_counts_as_of_the_change() -> None:
    assert course((1_000, Sign.HEALTH_LOST), (0, Sign.HEALTH_REGAINED)) == [(1_000, SUSPECT), (1_000, ARMED)]


class TestTimers:
    @pytest.mark.parametrize("evidence", [None, Sign.REBALANCE])
    def test_an_armed_pool_needs_no_waking(self, evidence: Evidence | None) -> None:
        assert wake_at_ms(Watched().tell((0, evidence)).state, DEFAULTS) is None

    def test_a_suspect_pool_is_woken_at_the_end_of_the_soak(self) -> None:
        assert wake_at_ms(Watched().tell((0, Sign.INTERRUPTION)).state, DEFAULTS) == START + SOAK

    def test_a_pool_that_fell_back_is_neither_woken_nor_forgotten(self) -> None:
        assert wake_at_ms(FALLEN, DEFAULTS) is None
        assert forget_at_ms(FALLEN, DEFAULTS) is None

    def test_a_pool_that_was_never_told_of_can_be_forgotten(self) -> None:
        assert forget_at_ms(PoolState.unknown(), DEFAULTS) == 0

    def test_recommendations_are_remembered_while_they_count(self) -> None:
        state = Watched().tell((0, Sign.REBALANCE), (7, Sign.REBALANCE)).state
        assert forget_at_ms(state, DEFAULTS) == START + 7 + 30 * MINUTE_MS

    def test_fall_backs_are_remembered_while_they_count(self) -> None:
        state = Watched(state=FALLEN).tell((SOAK + COOL_DOWN, GOOD), (SOAK + 2 * COOL_DOWN, GOOD)).state
        assert forget_at_ms(state, DEFAULTS) == START + SOAK + DAY


def test_a_pool_is_known_by_the_facts_of_its_instance() -> None:
    facts = InstanceFacts(instance_type="m7g.2xlarge", zone="eu-west-1b", group="inbox-workers")
    assert pool_of("604418233907", "eu-west-1", facts) == POOL
    assert pool_of("604418233907", "eu-west-1", None) is None


REFUSED = "There is no Spot capacity available that matches your request. Launching EC2 instance failed."
FAILED = GroupActivity(
    event_id="launch",
    account="604418233907",
    region="eu-west-1",
    at_ms=START,
    kind=ActivityKind.LAUNCH,
    successful=False,
    group="inbox-workers",
    instance_id=None,
    started_at_ms=START,
    zone="eu-west-1b",
    destination=None,
    status_message=REFUSED,
)


@pytest.mark.parametrize(
    ("activity", "refused"),
    [
        (FAILED, True),
        (
            replace(
                FAILED, status_message=f"Could not launch Spot Instances. InsufficientInstanceCapacity - {REFUSED}"
            ),
            True,
        ),
        (
            replace(
                FAILED,
                status_message="Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity "
                "due to your request configuration. Launching EC2 instance failed.",
            ),
            True,
        ),
        (
            replace(FAILED, status_message="Could not launch Spot Instances. InvalidParameterCombination - The type."),
            False,
        ),
        (replace(FAILED, successful=True), False),
        (replace(FAILED, kind=ActivityKind.TERMINATE), False),
        (
            replace(FAILED, status_message="We currently do not have sufficient m7g.2xlarge capacity in the zone."),
            False,
        ),
        (replace(FAILED, status_message="Max spot instance count exceeded. Launching EC2 instance failed."), False),
    ],
    ids=[
        "refused",
        "refused in other words",
        "unfulfillable",
        "our mistake",
        "successful",
        "termination",
        "On-Demand",
        "our limit",
    ],
)
def test_only_a_launch_refused_for_want_of_spot_capacity_is_a_capacity_error(
    activity: GroupActivity, refused: bool
) -> None:
    assert refused_spot_capacity(activity) is refused


# Short times, so that random ones often meet the boundaries.
SHORT = MarketSettings(
    soak_ms=12,
    rebalance_window_ms=30,
    scores_apart_ms=30,
    cool_down_ms=60,
    pin_window_ms=150,
    action_valid_ms=60,
)
evidence_of_any_kind = st.sampled_from([*Sign, BAD, GOOD, PlacementScore(1), PlacementScore(10)])
stories = st.lists(st.tuples(st.integers(0, 15), evidence_of_any_kind), max_size=40)


@given(stories, st.data())
def test_watching_the_clock_more_often_changes_nothing(story: list[tuple[int, Evidence]], data: st.DataObject) -> None:
    now, told, watched = 0, list[Told](), list[Told]()
    for after, evidence in story:
        glances = sorted(data.draw(st.lists(st.integers(now, now + after), max_size=3)))
        watched += [(glance, None) for glance in glances]
        now += after
        told.append((now, evidence))
        watched.append((now, evidence))
    end: Told = (now + 100, None)
    assert Watched(SHORT).tell(*watched, end).changes == Watched(SHORT).tell(*told, end).changes


@given(st.lists(st.tuples(st.integers(-50, 50), st.none() | evidence_of_any_kind), max_size=40))
def test_changes_follow_one_another_whatever_the_order_of_times(told: list[Told]) -> None:
    changes = Watched(SHORT).tell(*told).changes
    assert [change.before for change in changes] == [ARMED, *(change.after for change in changes)][: len(changes)]
    assert [change.at_ms for change in changes] == sorted(change.at_ms for change in changes)


class MarketMachine(RuleBasedStateMachine):
    """A pool under random evidence, and what must hold of its course."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.watched = Watched(SHORT)

    @rule(evidence=evidence_of_any_kind, after=st.integers(0, 40))
    def tell(self, evidence: Evidence, after: int) -> None:
        self.now += after
        self.watched.tell((self.now - START, evidence))

    @rule(sign=st.sampled_from([Sign.HEALTH_LOST, Sign.INTERRUPTION]))
    def drought(self, sign: Sign) -> None:
        for _ in range(2):
            self.tell(sign, 0)
        self.pass_time(SHORT.soak_ms)

    @rule(count=st.integers(1, 4))
    def recovery(self, count: int) -> None:
        for _ in range(count):
            self.tell(GOOD, SHORT.scores_apart_ms)

    @rule(after=st.integers(0, 80))
    def pass_time(self, after: int) -> None:
        self.now += after
        self.watched.tell((self.now - START, None))

    @invariant()
    def changes_go_the_ways_there_are(self) -> None:
        ways = {
            (ARMED, SUSPECT),
            (SUSPECT, ARMED),
            (SUSPECT, FALLBACK),
            (SUSPECT, PINNED),
            (FALLBACK, ARMED),
            (PINNED, ARMED),
        }
        assert {(change.before, change.after) for change in self.watched.changes} <= ways

    @invariant()
    def only_a_person_ends_a_pin(self) -> None:
        causes = {change.cause for change in self.watched.changes if change.before is PINNED}
        assert causes <= {Sign.RELEASED}

    @invariant()
    def a_fall_back_comes_exactly_when_the_soak_is_over_and_of_time(self) -> None:
        changes = self.watched.changes
        for before, change in pairwise(changes):
            if change.after in (FALLBACK, PINNED):
                assert change.at_ms - before.at_ms == SHORT.soak_ms
                assert change.cause is None
                assert change.signs.interruptions + change.signs.capacity_errors or change.signs.unhealthy_since_ms

    @invariant()
    def actions_are_given_with_every_fall_back_and_every_return_and_with_nothing_else(self) -> None:
        for change in self.watched.changes:
            kind = type(change.action)
            if change.after in (FALLBACK, PINNED):
                assert kind is FallBack
            elif change.before in (FALLBACK, PINNED):
                assert kind is ReturnToSpot
            else:
                assert change.action is None

    @invariant()
    def actions_are_messages_each_with_its_own_id(self) -> None:
        actions = self.watched.actions
        assert len({action.action_id for action in actions}) == len(actions)
        for action in actions[-1:]:
            assert decode(encode(action)) == action

    @invariant()
    def a_return_waits_for_the_cool_down_and_for_good_scores(self) -> None:
        for action in self.watched.actions:
            if isinstance(action, ReturnToSpot) and not action.evidence.by_hand:
                assert action.issued_at_ms - action.evidence.fell_back_at_ms >= SHORT.cool_down_ms
                assert action.evidence.good_scores >= SHORT.good_scores

    @invariant()
    def fall_backs_are_no_faster_than_the_cool_down_and_a_soak(self) -> None:
        last_ms, released = None, False
        for action in self.watched.actions:
            if isinstance(action, ReturnToSpot):
                released = action.evidence.by_hand
            elif last_ms is not None and not released:
                assert action.issued_at_ms - last_ms >= SHORT.cool_down_ms + SHORT.soak_ms
            if isinstance(action, FallBack):
                last_ms = action.issued_at_ms

    @invariant()
    def a_pool_that_is_not_pinned_has_not_fallen_back_too_often(self) -> None:
        state = self.watched.state
        recent = [at_ms for at_ms in state.fall_backs_ms if at_ms > state.since_ms - SHORT.pin_window_ms]
        assert (len(recent) >= SHORT.pin_after) is (state.market is PINNED)

    @invariant()
    def what_is_remembered_is_bounded(self) -> None:
        state = self.watched.state
        assert len(state.rebalances_ms) <= 3
        assert len(state.fall_backs_ms) <= SHORT.pin_after

    @invariant()
    def forgetting_an_armed_pool_that_may_be_forgotten_changes_nothing(self) -> None:
        until_ms = forget_at_ms(self.watched.state, SHORT)
        if until_ms is not None and self.now >= until_ms:
            for evidence in (Sign.INTERRUPTION, Sign.REBALANCE):
                kept, _ = step(POOL, self.watched.state, evidence, self.now, SHORT)
                new, _ = step(POOL, PoolState.unknown(), evidence, self.now, SHORT)
                assert (kept.market, kept.signs, kept.rebalances_ms) == (new.market, new.signs, new.rebalances_ms)


TestMarketMachine = MarketMachine.TestCase
