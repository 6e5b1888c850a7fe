"""Sending to moto's SQS server, straight and through a front that fails."""

import itertools
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from connectors.sqs import send as sqs_send
from connectors.sqs.outbox import Message, Waiting
from connectors.sqs.send import QueueRefusesError, SqsClient, connect, require_fifo_queue, send
from tests.aws_server import aws_server
from tests.faulty_sqs import FaultySqs

numbers = itertools.count()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with aws_server() as url:
        yield url


@pytest.fixture
def front(endpoint: str) -> Iterator[FaultySqs]:
    between = FaultySqs(endpoint)
    yield between
    between.close()


@pytest.fixture
def client(front: FaultySqs, monkeypatch: pytest.MonkeyPatch) -> SqsClient:
    # A server that a busy machine keeps waiting is not what these tests are about.
    monkeypatch.setattr(sqs_send, "_READ_TIMEOUT_S", 60)
    return connect("eu-west-1", front.endpoint)


@pytest.fixture
def queue_url(endpoint: str) -> str:
    sqs = boto3.client("sqs", region_name="eu-west-1", endpoint_url=endpoint)
    created = sqs.create_queue(QueueName=f"actions-{next(numbers)}.fifo", Attributes={"FifoQueue": "true"})
    return str(created["QueueUrl"])


def batch(*names: str) -> list[Waiting]:
    return [
        Waiting(number, Message(f"group-{name}", name, f'{{"{name}": "ä"}}', 0)) for number, name in enumerate(names)
    ]


def received(endpoint: str, queue_url: str) -> list[dict[str, Any]]:
    sqs = boto3.client("sqs", region_name="eu-west-1", endpoint_url=endpoint)
    answer = sqs.receive_message(
        QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageSystemAttributeNames=["All"]
    )
    return list(answer.get("Messages", []))


def test_what_is_accepted_is_in_the_queue_with_group_and_deduplication_id(
    client: SqsClient, endpoint: str, queue_url: str
) -> None:
    waiting = batch("a", "b")
    assert send(client, queue_url, waiting).accepted == waiting
    assert send(client, queue_url, waiting).accepted == waiting  # the queue drops what comes again
    messages = received(endpoint, queue_url)
    assert [each["Body"] for each in messages] == ['{"a": "ä"}', '{"b": "ä"}']
    assert [each["Attributes"]["MessageGroupId"] for each in messages] == ["group-a", "group-b"]
    assert [each["Attributes"]["MessageDeduplicationId"] for each in messages] == ["a", "b"]


def test_a_partial_failure_postpones_or_refuses_the_entries_that_failed_and_no_other(
    client: SqsClient, front: FaultySqs, queue_url: str
) -> None:
    codes = {"b": "InternalError", "c": "InvalidMessageContents", "d": "RequestThrottled"}
    front.faults.entry_fails = lambda entry: codes.get(entry["MessageDeduplicationId"])
    a, b, c, d, e = batch("a", "b", "c", "d", "e")
    answer = send(client, queue_url, [a, b, c, d, e])
    assert (answer.accepted, answer.postponed) == ([a, e], [b, d])
    assert answer.refused == [(c, "InvalidMessageContents: no")]
    assert answer.outage is None


@pytest.mark.parametrize(
    ("status", "code"), [(500, "InternalFailure"), (503, "ServiceUnavailable"), (400, "ThrottlingException")]
)
def test_an_error_that_may_pass_is_an_outage_and_is_tried_once(
    client: SqsClient, front: FaultySqs, queue_url: str, status: int, code: str
) -> None:
    front.faults.error = (status, code)
    waiting = batch("a", "b")
    answer = send(client, queue_url, waiting)
    assert (answer.postponed, answer.accepted) == (waiting, [])
    assert code in str(answer.outage)
    assert len(front.tried) == 1


def test_a_queue_server_that_is_down_or_cuts_the_connection_is_an_outage(
    client: SqsClient, front: FaultySqs, queue_url: str
) -> None:
    front.faults.loses_answers = True
    assert send(client, queue_url, batch("a")).outage
    front.close()
    assert send(client, queue_url, batch("a")).outage


@pytest.mark.parametrize("code", ["AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "KmsAccessDenied"])
def test_what_no_further_try_can_mend_names_the_queue_and_the_reason(
    client: SqsClient, front: FaultySqs, queue_url: str, code: str
) -> None:
    front.faults.error = (403, code)
    with pytest.raises(QueueRefusesError, match=rf"{queue_url}: .*{code}"):
        send(client, queue_url, batch("a"))


def test_an_entry_that_is_denied_is_no_partial_failure(client: SqsClient, front: FaultySqs, queue_url: str) -> None:
    front.faults.entry_fails = lambda _: "AccessDenied"
    with pytest.raises(QueueRefusesError, match="AccessDenied"):
        send(client, queue_url, batch("a"))


def test_a_queue_that_is_gone_is_told_before_and_while_sending(client: SqsClient, endpoint: str) -> None:
    gone = f"{endpoint}/123456789012/gone.fifo"
    with pytest.raises(QueueRefusesError, match="QueueDoesNotExist: The specified queue does not exist"):
        send(client, gone, batch("a"))
    with pytest.raises(QueueRefusesError, match="QueueDoesNotExist: The specified queue does not exist"):
        require_fifo_queue(client, gone)


def test_a_queue_that_cannot_be_asked_now_may_be_there(client: SqsClient, front: FaultySqs, queue_url: str) -> None:
    require_fifo_queue(client, queue_url)
    front.close()
    require_fifo_queue(client, queue_url)


def test_without_credentials_nothing_can_be_sent(
    client: SqsClient, queue_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "nothing-here")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bare = boto3.session.Session().client("sqs", region_name="eu-west-1", endpoint_url="http://127.0.0.1:1")
    with pytest.raises(QueueRefusesError, match="NoCredentials"):
        send(bare, queue_url, batch("a"))
