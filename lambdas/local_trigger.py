"""Lambda's SQS trigger on one machine: polls a queue, calls a handler with Lambda's events, deletes what was done.

At least once, and in the order of each group, as far as the queue gives it. What a handler does not do is left to the
queue: it is received again after the visibility timeout, and the queue's redrive policy moves it to the dead-letter
queue. Unlike Lambda it ends no handler that takes too long, and calls one at a time.

    python -m lambdas.local_trigger QUEUE_URL MODULE:HANDLER
"""

import base64
import json
import pkgutil
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import boto3
import click
from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

logger = Logger(service="local-trigger", stream=sys.stderr)

BATCH_SIZE = 10  # the most that SQS gives at once, and that Lambda takes from a FIFO queue
OUTAGE_PAUSE_S = 1.0
FUNCTION_TIMEOUT_MS = 30_000

Handler = Callable[[dict[str, Any], Any], object]


class SqsClient(Protocol):
    """The calls made of a boto3 client."""

    def receive_message(self, **request: Any) -> dict[str, Any]:
        """Messages, which are then out of the sight of others for the visibility timeout."""

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        """Which of them are gone, and which are not."""

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        """What the queue is set to."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The queue that is polled."""

    url: str
    arn: str

    @property
    def region(self) -> str:
        """The region in the ARN."""
        return self.arn.split(":")[3]


@dataclass(frozen=True, slots=True)
class Polled:
    """How many messages a poll received, and how many of them were done and deleted."""

    received: int
    deleted: int


@dataclass(frozen=True, slots=True)
class LocalContext:
    """What a handler may ask about its invocation."""

    function_name: str = "local"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:local:000000000000:function:local"
    memory_limit_in_mb: int = 256
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def get_remaining_time_in_millis(self) -> int:
        """The whole of the time, for none of it is enforced."""
        return FUNCTION_TIMEOUT_MS


class InvalidResponseError(ValueError):
    """A handler's answer that Lambda counts as the failure of the whole batch."""


def lambda_event(messages: Iterable[Mapping[str, Any]], queue: Queue) -> dict[str, Any]:
    """The event that Lambda makes of messages as ReceiveMessage gives them.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    return {"Records": [_record(message, queue) for message in messages]}


def failed_ids(response: object, message_ids: frozenset[str]) -> frozenset[str]:
    """Which messages of a batch Lambda would leave in the queue after a handler's answer.

    Raises:
        InvalidResponseError: All of them, for the answer is none, or names a message that was not in the batch.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if response is None:
        return frozenset()
    if not isinstance(response, dict):
        reason = "not an object"
        raise InvalidResponseError(reason)
    failures = response.get("batchItemFailures")
    if failures is None:
        return frozenset()
    if not isinstance(failures, list):
        reason = "batchItemFailures is not a list"
        raise InvalidResponseError(reason)
    return frozenset(_failed_id(failure, message_ids) for failure in failures)


def describe_queue(sqs: SqsClient, url: str) -> Queue:
    """The queue at a URL."""
    answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return Queue(url=url, arn=answer["Attributes"]["QueueArn"])


def poll_once(sqs: SqsClient, queue: Queue, handler: Handler, *, wait_s: int) -> Polled:
    """What came of one poll, which waits up to `wait_s` (0 to 20) for a message.

    Raises:
        BotoCoreError: The queue does not answer.
        ClientError: It refuses.
    """
    answer = sqs.receive_message(
        QueueUrl=queue.url,
        MaxNumberOfMessages=BATCH_SIZE,
        WaitTimeSeconds=wait_s,
        MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    messages = answer.get("Messages", [])
    if not messages:
        return Polled(received=0, deleted=0)
    failed = _invoke(handler, lambda_event(messages, queue), frozenset(message["MessageId"] for message in messages))
    done = [message for message in messages if message["MessageId"] not in failed]
    return Polled(received=len(messages), deleted=_delete(sqs, queue, done))


def run(sqs: SqsClient, queue: Queue, handler: Handler, stop: threading.Event, *, wait_s: int = 1) -> None:
    """Polls until `stop` is set, which it sees within `wait_s` when the queue is empty."""
    while not stop.is_set():
        try:
            poll_once(sqs, queue, handler, wait_s=wait_s)
        except (BotoCoreError, ClientError) as error:
            logger.warning("queue_unavailable", queue=queue.url, error=str(error))
            stop.wait(OUTAGE_PAUSE_S)


def _record(message: Mapping[str, Any], queue: Queue) -> dict[str, Any]:
    record = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": dict(message.get("Attributes", {})),
        "messageAttributes": {
            name: _message_attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue.arn,
        "awsRegion": queue.region,
    }
    if "MD5OfMessageAttributes" in message:
        record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"]
    return record


def _message_attribute(attribute: Mapping[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = {"stringListValues": [], "binaryListValues": [], "dataType": attribute["DataType"]}
    if "StringValue" in attribute:
        value["stringValue"] = attribute["StringValue"]
    if "BinaryValue" in attribute:
        value["binaryValue"] = base64.b64encode(attribute["BinaryValue"]).decode()
    return value


def _failed_id(failure: object, message_ids: frozenset[str]) -> str:
    identifier = failure.get("itemIdentifier") if isinstance(failure, dict) else None
    if not isinstance(identifier, str) or identifier not in message_ids:
        reason = f"no message of the batch: {failure!r:.100}"
        raise InvalidResponseError(reason)
    return identifier


def _invoke(handler: Handler, event: dict[str, Any], message_ids: frozenset[str]) -> frozenset[str]:
    try:
        # Through JSON, as from a function to Lambda.
        response = json.loads(json.dumps(handler(event, LocalContext())))
        return failed_ids(response, message_ids)
    except Exception as error:
        # Whatever a function raises, Lambda fails the batch and goes on.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        logger.warning("batch_failed", messages=len(message_ids), error=reason)
        return message_ids


def _delete(sqs: SqsClient, queue: Queue, messages: list[Mapping[str, Any]]) -> int:
    if not messages:
        return 0
    entries = [
        {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)
    ]
    answer = sqs.delete_message_batch(QueueUrl=queue.url, Entries=entries)
    not_deleted = answer.get("Failed", [])
    if not_deleted:
        # They come again, and a handler must bear that.
        logger.warning("messages_not_deleted", codes=sorted({entry["Code"] for entry in not_deleted}))
    return len(messages) - len(not_deleted)


@click.command()
@click.argument("queue_url")
@click.argument("handler")
@click.option("--wait", "wait_s", default=1, show_default=True, type=click.IntRange(0, 20), help="Seconds of a poll.")
def main(queue_url: str, handler: str, wait_s: int) -> None:
    """Call HANDLER (module:function) with the messages of the queue at QUEUE_URL, until SIGTERM or SIGINT.

    Region, credentials and endpoint are those of any AWS client (AWS_REGION, AWS_ENDPOINT_URL_SQS, ...).
    """
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    sqs = boto3.client("sqs")
    run(sqs, describe_queue(sqs, queue_url), pkgutil.resolve_name(handler), stop, wait_s=wait_s)


if __name__ == "__main__":
    main()
