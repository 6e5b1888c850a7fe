from dataclasses import dataclass, replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connectors.actions import decode, encode, suspend_action_id
from jobs.capacity.limits import Limit
from jobs.capacity.policy import (
    DELIVERY_ALLOWANCE_MS,
    Decision,
    DecisionKind,
    LeaseState,
    Level,
    WindowTotal,
    decide,
    forget_at_ms,
    level,
)
from jobs.settings import LeaseSettings, WindowSettings

LIMIT = Limit(wcu=1000, warn_wcu=800, rule="invoices/account-*")
EXEMPT = Limit(wcu=None, warn_wcu=None, rule="invoices/root")
WINDOW = WindowSettings(size_ms=60_000, step_ms=5_000)
LEASE = LeaseSettings(steps_ms=(20_000, 50_000, 100_000), decay_ms=600_000)


def total(step_end_ms: int, consumed_wcu: int = 1000) -> WindowTotal:
    return WindowTotal(
        table="invoices",
        partition_key="account-17",
        partition_key_type="S",
        window_start_ms=(step_end_ms - 1) // 60_000 * 60_000,
        step_end_ms=step_end_ms,
        consumed_wcu=consumed_wcu,
        writes=37,
    )


@dataclass(frozen=True)
class Act:
    """What one action says of the lease."""

    at_ms: int
    kind: DecisionKind
    lease_ms: int


def acts(over_at_ms: list[int], lease: LeaseSettings = LEASE) -> list[Act]:
    state = LeaseState.calm()
    found = []
    for step_end_ms in over_at_ms:
        state, decision = decide(state, total(step_end_ms), LIMIT, lease, WINDOW)
        if decision.action is not None and decision.kind is not None:
            found.append(Act(step_end_ms, decision.kind, decision.action.lease_ms))
    return found


def suspended(at_ms: int, lease_ms: int) -> Act:
    return Act(at_ms, DecisionKind.SUSPENDED, lease_ms)


def extended(at_ms: int, lease_ms: int) -> Act:
    return Act(at_ms, DecisionKind.EXTENDED, lease_ms)


@pytest.mark.parametrize(
    ("consumed_wcu", "reached"),
    [
        (0, None),
        (799, None),
        (800, Level.WARN),
        (801, Level.WARN),
        (999, Level.WARN),
        (1000, Level.OVER),
        (1001, Level.OVER),
    ],
)
def test_equal_to_the_warn_level_is_warn_and_equal_to_the_limit_is_over(
    consumed_wcu: int, reached: Level | None
) -> None:
    assert level(total(5_000, consumed_wcu), LIMIT) is reached


def test_a_limit_whose_warn_level_is_as_high_never_warns() -> None:
    limit = Limit(wcu=1, warn_wcu=1, rule="default")
    assert [level(total(5_000, wcu), limit) for wcu in (0, 1, 2)] == [None, Level.OVER, Level.OVER]


def test_an_exempt_key_is_at_no_level() -> None:
    assert level(total(5_000, 10**9), EXEMPT) is None


@pytest.mark.parametrize(
    ("consumed_wcu", "limit", "reached"),
    [(10**9, EXEMPT, None), (799, LIMIT, None), (800, LIMIT, Level.WARN), (999, LIMIT, Level.WARN)],
    ids=["exempt", "below warn", "at warn", "below the limit"],
)
@pytest.mark.parametrize("state", [LeaseState.calm(), LeaseState(1, 30_000, 10_000, 2)], ids=["calm", "leased"])
def test_only_over_changes_anything(state: LeaseState, consumed_wcu: int, limit: Limit, reached: Level | None) -> None:
    assert decide(state, total(25_000, consumed_wcu), limit, LEASE, WINDOW) == (state, Decision(reached))


def test_the_first_offence_takes_the_first_lease() -> None:
    state, decision = decide(LeaseState.calm(), total(65_000, 1234), LIMIT, LEASE, WINDOW)
    assert state == LeaseState(level_index=0, lease_end_ms=85_000, last_over_ms=65_000, decision_seq=1)
    assert (decision.level, decision.kind) == (Level.OVER, DecisionKind.SUSPENDED)


def test_a_leased_key_that_is_still_over_is_remembered_and_nothing_else() -> None:
    leased = LeaseState(level_index=0, lease_end_ms=85_000, last_over_ms=65_000, decision_seq=1)
    found = decide(leased, total(70_000), LIMIT, LEASE, WINDOW)
    assert found == (replace(leased, last_over_ms=70_000), Decision(Level.OVER))


def test_an_action_says_what_was_decided_and_why() -> None:
    _, decision = decide(LeaseState.calm(), total(65_000, 1234), LIMIT, LEASE, WINDOW)
    assert decision.action is not None
    action_id = suspend_action_id(
        table="invoices",
        partition_key="account-17",
        partition_key_type="S",
        window_start_ms=60_000,
        issued_at_ms=65_000,
        lease_ms=20_000,
    )
    assert encode(decision.action).decode() == (
        f'{{"version": 1, "type": "suspend", "action_id": "{action_id}", "decision_seq": 1, '
        '"issued_at_ms": 65000, "not_after_ms": 85000, '
        '"table": "invoices", "partition_key": "account-17", "partition_key_type": "S", "lease_ms": 20000, '
        '"evidence": {"window_start_ms": 60000, "window_end_ms": 120000, "consumed_wcu": 1234, '
        '"writes": 37, "limit_wcu": 1000, "rule": "invoices/account-*"}}'
    )


def test_a_job_that_lost_its_state_decides_the_same_under_another_number() -> None:
    remembered = LeaseState(level_index=2, lease_end_ms=40_000, last_over_ms=30_000, decision_seq=9)
    _, kept = decide(remembered, total(655_000), LIMIT, LEASE, WINDOW)
    _, lost = decide(LeaseState.calm(), total(655_000), LIMIT, LEASE, WINDOW)
    assert kept.action is not None
    assert lost.action is not None
    assert (kept.action.decision_seq, lost.action.decision_seq) == (10, 1)
    assert replace(kept.action, decision_seq=1) == lost.action


@pytest.mark.parametrize(
    ("over_at_ms", "expected"),
    [
        ([5_000], [suspended(5_000, 20_000)]),
        ([5_000, 10_000, 15_000], [suspended(5_000, 20_000)]),
        # the lease to 25 s is extended to 40 s at its last evaluation, that one to 55 s at 35 s
        (
            list(range(5_000, 40_000, 5_000)),
            [suspended(5_000, 20_000), extended(20_000, 20_000), extended(35_000, 20_000)],
        ),
        # calm at the last evaluation lets the lease lapse
        ([5_000, 10_000, 15_000, 25_000], [suspended(5_000, 20_000), suspended(25_000, 50_000)]),
        # escalation, of which the last lease repeats
        (
            [5_000, 25_000, 75_000, 175_000, 275_000],
            [
                suspended(5_000, 20_000),
                suspended(25_000, 50_000),
                suspended(75_000, 100_000),
                suspended(175_000, 100_000),
                suspended(275_000, 100_000),
            ],
        ),
        # an extension keeps the lease of its offence and does not escalate
        (
            [5_000, 25_000, 70_000, 120_000],
            [
                suspended(5_000, 20_000),
                suspended(25_000, 50_000),
                extended(70_000, 50_000),
                suspended(120_000, 100_000),
            ],
        ),
        # after decay it begins again
        (
            [5_000, 25_000, 675_000, 695_000],
            [
                suspended(5_000, 20_000),
                suspended(25_000, 50_000),
                suspended(675_000, 20_000),
                suspended(695_000, 50_000),
            ],
        ),
    ],
    ids=["once", "still over", "over for long", "lapsed", "escalation", "escalation and extension", "decay"],
)
def test_leases(over_at_ms: list[int], expected: list[Act]) -> None:
    assert acts(over_at_ms) == expected


@pytest.mark.parametrize(
    ("lease_ms", "second"),
    [
        (5_000, suspended(10_000, 99_000)),  # ended with this evaluation: a new offence
        (5_001, extended(10_000, 5_001)),
        (13_499, extended(10_000, 13_499)),
        (13_500, extended(10_000, 13_500)),  # would end as what is decided at 15 s comes into the cache: at 18.5 s
        (13_501, None),
    ],
)
def test_a_lease_is_extended_when_the_next_decision_would_come_into_the_cache_too_late(
    lease_ms: int, second: Act | None
) -> None:
    lease = LeaseSettings(steps_ms=(lease_ms, 99_000))
    expected = [suspended(5_000, lease_ms)] + ([] if second is None else [second])
    assert acts([5_000, 10_000], lease) == expected


@pytest.mark.parametrize("step_ms", [500, 1_000, 5_000])
@pytest.mark.parametrize("out_of_orderness_ms", [0, 2_000])
def test_a_key_that_stays_over_is_never_free_in_a_cache_that_hears_of_it_late(
    step_ms: int, out_of_orderness_ms: int
) -> None:
    window = WindowSettings(size_ms=120_000, step_ms=step_ms, out_of_orderness_ms=out_of_orderness_ms)
    heard_after_ms = out_of_orderness_ms + DELIVERY_ALLOWANCE_MS
    state, entry_ends_ms = LeaseState.calm(), None
    for step_end_ms in range(step_ms, 120_001, step_ms):
        state, decision = decide(state, total(step_end_ms), LIMIT, LEASE, window)
        if decision.action is not None:
            assert entry_ends_ms is None or step_end_ms + heard_after_ms <= entry_ends_ms
            entry_ends_ms = decision.action.not_after_ms


@pytest.mark.parametrize(("calm_ms", "lease_ms"), [(599_999, 50_000), (600_000, 20_000), (600_001, 20_000)])
def test_escalation_decays_once_the_lease_has_ended_for_long_enough(calm_ms: int, lease_ms: int) -> None:
    assert acts([5_000, 25_000 + calm_ms])[1] == suspended(25_000 + calm_ms, lease_ms)


def test_without_decay_time_every_offence_is_the_first() -> None:
    lease = LeaseSettings(steps_ms=(20_000, 50_000), decay_ms=0)
    assert acts([5_000, 25_000], lease) == [suspended(5_000, 20_000), suspended(25_000, 20_000)]


def test_a_single_lease_length_repeats() -> None:
    lease = LeaseSettings(steps_ms=(20_000,))
    assert acts([5_000, 25_000, 45_000], lease) == [suspended(at_ms, 20_000) for at_ms in (5_000, 25_000, 45_000)]


@pytest.mark.parametrize(
    ("step_end_ms", "expected"),
    [(40_000, None), (95_000, extended(95_000, 20_000)), (100_000, suspended(100_000, 20_000))],
    ids=["leased", "lapsing", "lapsed"],
)
def test_a_state_from_settings_with_more_leases_takes_the_last(step_end_ms: int, expected: Act | None) -> None:
    restored = LeaseState(level_index=2, lease_end_ms=100_000, last_over_ms=30_000, decision_seq=4)
    lease = LeaseSettings(steps_ms=(20_000,))
    _, decision = decide(restored, total(step_end_ms), LIMIT, lease, WINDOW)
    found = decision.action and decision.kind and Act(step_end_ms, decision.kind, decision.action.lease_ms)
    assert found == expected


@pytest.mark.parametrize("lease_ms", [4_000, 5_000], ids=["shorter", "equal"])
def test_a_state_from_settings_with_longer_leases_keeps_what_was_given(lease_ms: int) -> None:
    restored = LeaseState(level_index=0, lease_end_ms=15_000, last_over_ms=5_000, decision_seq=1)
    lease = LeaseSettings(steps_ms=(lease_ms,))
    state, decision = decide(restored, total(10_000), LIMIT, lease, WINDOW)
    assert decision == Decision(Level.OVER)
    assert state.lease_end_ms == 15_000


@pytest.mark.parametrize(("early_ms", "lease_ms"), [(1, 50_000), (0, 20_000), (-1, 20_000)])
def test_a_state_is_forgotten_exactly_when_it_stops_to_matter(early_ms: int, lease_ms: int) -> None:
    state, _ = decide(LeaseState.calm(), total(5_000), LIMIT, LEASE, WINDOW)
    assert forget_at_ms(state, LEASE) == 5_000 + 20_000 + 600_000
    assert acts([5_000, forget_at_ms(state, LEASE) - early_ms])[1].lease_ms == lease_ms


class Leases(RuleBasedStateMachine):
    """One key over a long time, beside a twin whose state is dropped as soon as it may be."""

    @initialize(
        step_ms=st.integers(1, 20).map(lambda tenths: tenths * 100),
        lengths_in_tenth_steps=st.lists(st.integers(10, 80), min_size=1, max_size=4).map(sorted),
        decay_ms=st.integers(0, 20_000),
    )
    def settle(self, step_ms: int, lengths_in_tenth_steps: list[int], decay_ms: int) -> None:
        self.window = WindowSettings(size_ms=step_ms * 6, step_ms=step_ms)
        steps_ms = tuple(max(100, length * step_ms // 10) for length in lengths_in_tenth_steps)
        self.lease = LeaseSettings(steps_ms=steps_ms, decay_ms=decay_ms)
        self.now_ms = 0
        self.state = LeaseState.calm()
        self.forgetful = LeaseState.calm()
        self.history: list[tuple[WindowTotal, Limit]] = []
        self.messages: list[bytes] = []

    @rule(steps=st.integers(1, 60), consumed_wcu=st.sampled_from([799, 800, 999, 1000]))
    def later(self, steps: int, consumed_wcu: int) -> None:
        self.evaluate(steps, consumed_wcu, LIMIT)

    @rule(count=st.integers(1, 12))
    def stay_over(self, count: int) -> None:
        for _ in range(count):
            self.evaluate(1, 1000, LIMIT)

    @rule(steps=st.integers(1, 5))
    def over_but_exempt(self, steps: int) -> None:
        self.evaluate(steps, 10**6, EXEMPT)

    def evaluate(self, steps: int, consumed_wcu: int, limit: Limit) -> None:
        self.now_ms += steps * self.window.step_ms
        newest = total(self.now_ms, consumed_wcu)
        before = self.state
        self.state, decision = decide(before, newest, limit, self.lease, self.window)
        self.history.append((newest, limit))
        assert (decision.kind is None) == (decision.action is None)
        if decision.kind is DecisionKind.SUSPENDED:
            assert before.lease_end_ms <= self.now_ms  # never two live leases
        if decision.kind is DecisionKind.EXTENDED:
            assert self.now_ms < before.lease_end_ms < self.state.lease_end_ms
        assert self.state.lease_end_ms >= before.lease_end_ms
        assert self.state.decision_seq == before.decision_seq + (decision.action is not None)
        if decision.level is Level.OVER:
            # over at the next evaluation as well, it would find the key suspended without a gap
            assert self.state.lease_end_ms >= self.now_ms + self.window.step_ms
        if decision.action is not None:
            message = encode(decision.action)
            assert decode(message).not_after_ms == self.state.lease_end_ms
            self.messages.append(message)
        self.forget_and_compare(newest, limit, decision)

    def forget_and_compare(self, newest: WindowTotal, limit: Limit, decision: Decision) -> None:
        if newest.step_end_ms >= forget_at_ms(self.forgetful, self.lease):
            self.forgetful = LeaseState.calm()
        self.forgetful, again = decide(self.forgetful, newest, limit, self.lease, self.window)
        if again.action is not None and decision.action is not None:
            again = replace(again, action=replace(again.action, decision_seq=decision.action.decision_seq))
        assert again == decision

    @invariant()
    def a_lease_always_ends(self) -> None:
        if self.history:
            assert self.state.lease_end_ms <= self.state.last_over_ms + max(self.lease.steps_ms)

    def teardown(self) -> None:
        if not hasattr(self, "history"):
            return
        state = LeaseState.calm()
        messages = []
        for newest, limit in self.history:
            state, decision = decide(state, newest, limit, self.lease, self.window)
            messages += [encode(decision.action)] if decision.action is not None else []
        assert messages == self.messages
        assert len({decode(message).action_id for message in messages}) == len(messages)


TestLeases = Leases.TestCase
