"""Invocation: how a batch of messages is worked off.

At least once: a message is done when its work is, and goes back to the queue if that may do later. What can never
succeed goes to the dead-letter queue at once, with the reason beside it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from connectors.actions import MalformedActionError, UnknownActionError
from lambdas.spot.actuator import Actuator, ForeignError, UndoneError
from lambdas.spot.amazon import CALL_FAILED, AmazonError, Clients, Refusal, UnreadError, amazon_error, connect
from lambdas.spot.environment import Environment, read_environment
from lambdas.spot.journal import JournalCorruptError

NAMESPACE: Final = "Headroom"

AGAIN_AFTER_S: Final = (15, 30, 60)
"""After how long a message that goes back to a queue in a hurry comes again; from then on as the queue has it."""

_NEVER: Final = (MalformedActionError, UnknownActionError, ForeignError, UndoneError)


@lru_cache(maxsize=1)
def _clients(region: str) -> Clients:
    return connect(boto3.session.Session(region_name=region))


def actuator(service: str, context: Any, logger: Logger) -> Actuator:
    """The actuator of an invocation.

    Raises:
        ActuatorSettingsError: The environment is not usable.
    """
    environment = read_environment(os.environ)
    if environment.account is None:
        account = str(context.invoked_function_arn).split(":")[4]
        environment = Environment(**{**_fields(environment), "account": account})
    return Actuator(
        environment, _clients(environment.region), logger, EphemeralMetrics(namespace=NAMESPACE, service=service)
    )


def _fields(environment: Environment) -> dict[str, Any]:
    return {name: getattr(environment, name) for name in Environment.__dataclass_fields__}


def work_off(
    made: Actuator, event: dict[str, Any], context: Any, handle: Callable[[bytes], None]
) -> PartialItemFailureResponse:
    """The messages of a batch that go back to the queue, after `handle` has had each."""

    def one(record: SQSRecord) -> None:
        try:
            _handle(made, record, handle)
        except Exception:
            _bring_back_soon(made, record)
            raise

    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    try:
        return process_partial_response(event, one, processor, context)
    finally:
        made.count("MessagesReturned", len(processor.fail_messages))
        made.metrics.flush_metrics()


def _handle(made: Actuator, record: SQSRecord, handle: Callable[[bytes], None]) -> None:
    try:
        handle(_bytes(record.body))
    except _NEVER as error:
        _refuse(made, record, error)
    except (UnreadError, *CALL_FAILED) as error:
        # Nothing has been begun by this message; of what was begun, failures are counted where they are reported.
        failed = error if isinstance(error, UnreadError) else amazon_error(error, "describe")
        made.count("CallsFailed")
        if failed.refusal is Refusal.DENIED:
            return _refuse(made, record, failed)  # no later time gives the right
        made.logger.warning("message_returned", message_id=record.message_id, error=str(failed))
        raise failed from error
    except (AmazonError, JournalCorruptError) as error:
        made.logger.warning("message_returned", message_id=record.message_id, error=str(error))
        raise
    return None


def _bring_back_soon(made: Actuator, record: SQSRecord) -> None:
    """A queue keeps a message out of sight for six times as long as its function may take: no warning waits so long."""
    if made.environment.retry_queue is None:
        return
    received = int(record.attributes.approximate_receive_count)
    if received > len(AGAIN_AFTER_S):
        return
    try:
        made.clients.sqs.change_message_visibility(
            QueueUrl=made.environment.retry_queue,
            ReceiptHandle=record.receipt_handle,
            VisibilityTimeout=AGAIN_AFTER_S[received - 1],
        )
    except CALL_FAILED as error:
        made.logger.warning("message_comes_late", message_id=record.message_id, error=str(error))


@contextmanager
def failure_told(made: Actuator) -> Iterator[None]:
    """What runs on a schedule in here: the call at which it stops is logged and counted; the next run does the rest.

    Raises:
        AmazonError: A call failed.
    """
    try:
        yield
    except (AmazonError, *CALL_FAILED) as error:
        failed = error if isinstance(error, AmazonError) else amazon_error(error)
        made.count("RunsFailed")
        made.logger.error("run_failed", reason=str(failed), means=failed.refusal)
        raise failed from error


def _bytes(body: str) -> bytes:
    try:
        return body.encode()
    except UnicodeEncodeError as error:
        reason = f"not text: {error.reason}"
        raise MalformedActionError(reason) from error


def _refuse(made: Actuator, record: SQSRecord, error: Exception) -> None:
    """To the dead-letter queue with the reason; without one, the message is tried until the redrive takes it."""
    made.count("MessagesRefused")
    made.logger.error("message_refused", message_id=record.message_id, kind=type(error).__name__, reason=str(error))
    if made.environment.dead_letter_queue is None:
        raise error
    url = made.environment.dead_letter_queue
    # The dead-letter queue of a FIFO queue is one too.
    one_of = {"MessageGroupId": record.message_id, "MessageDeduplicationId": record.message_id}
    made.clients.sqs.send_message(
        QueueUrl=url,
        **(one_of if url.endswith(".fifo") else {}),
        MessageBody=record.body,
        MessageAttributes={"Reason": {"DataType": "String", "StringValue": f"{type(error).__name__}: {error}"[:1_024]}},
    )
