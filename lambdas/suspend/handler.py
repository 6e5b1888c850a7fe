"""The handler that Lambda calls with messages of the actions queue.

At least once: an action is done when the cache has answered, and its message goes back to the queue if it has not.
"""

import os
import time
from functools import lru_cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse, PartialItemFailures
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from redis import Redis
from redis.exceptions import ConnectionError as CacheConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as CacheTimeoutError

from connectors.actions import MalformedActionError, SuspendAction, UnknownActionError, decode
from lambdas.suspend.cache import CacheSettings, connect, connection_period, read_cache_settings
from lambdas.suspend.lease import LeaseResult, Outcome, apply_lease, require_plausible

NAMESPACE = "Headroom"
SERVICE = "suspend"

METRIC_OF_OUTCOME = {
    Outcome.APPLIED: "ActionsApplied",
    Outcome.REPEATED: "ActionsRepeated",
    Outcome.OVERTAKEN: "ActionsOvertaken",
    Outcome.EXPIRED: "ActionsExpired",
}
MALFORMED, UNKNOWN, RETURNED, APPLY_DELAY = "ActionsMalformed", "ActionsUnknown", "ActionsReturned", "ApplyDelay"

logger = Logger(service=SERVICE)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
    """The messages that go back to the queue.

    Raises:
        CacheSettingsError: The environment names no usable cache.
        BatchProcessingError: The cache took nothing of the batch.
    """
    client = _client(read_cache_settings(os.environ), connection_period(time.time()))
    return Batch(client).apply(event, context)


@lru_cache(maxsize=1)
def _client(settings: CacheSettings, _period: int) -> Redis:
    return connect(settings)


class Batch:
    """One invocation.

    What can never succeed is reported alone, so that the queue moves it to its dead-letter queue and the rest of its
    group is not held up or taken along. Any other failure ends its group for this invocation, so that a group's
    actions are applied in their order. A cache that gave no answer is not asked again.
    """

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
        self._refused_ids: list[str] = []
        self._outage: RedisError | None = None

    def apply(self, event: dict[str, Any], context: LambdaContext) -> PartialItemFailureResponse:
        """The messages of `event` that go back to the queue, after all that can be has been done."""
        processor = SqsFifoPartialProcessor(skip_group_on_error=True)
        try:
            response = process_partial_response(event, self._apply_record, processor, context)
        finally:
            self._count(RETURNED, len(processor.fail_messages))
            self._metrics.flush_metrics()
        refused: list[PartialItemFailures] = [{"itemIdentifier": message_id} for message_id in self._refused_ids]
        return {"batchItemFailures": [*response["batchItemFailures"], *refused]}

    def _apply_record(self, record: SQSRecord) -> None:
        try:
            action, message = _read(record.body)
        except (MalformedActionError, UnknownActionError) as error:
            self._refuse(record, error)
        else:
            self._report(action, self._ask(action, message))

    def _refuse(self, record: SQSRecord, error: MalformedActionError | UnknownActionError) -> None:
        self._refused_ids.append(record.message_id)
        self._count(UNKNOWN if isinstance(error, UnknownActionError) else MALFORMED)
        logger.error(
            "action_refused",
            reason=str(error),
            message_id=record.message_id,
            message_group_id=record.attributes.message_group_id,
            receive_count=record.attributes.approximate_receive_count,
        )

    def _ask(self, action: SuspendAction, message: bytes) -> LeaseResult:
        if self._outage:
            raise self._outage
        try:
            return apply_lease(self._client, action, message)
        except Exception as error:
            logger.warning("action_returned", action_id=action.action_id, error=f"{type(error).__name__}: {error}")
            if isinstance(error, CacheConnectionError | CacheTimeoutError):
                self._outage = error
            raise

    def _report(self, action: SuspendAction, result: LeaseResult) -> None:
        delay_ms = result.at_ms - action.issued_at_ms
        self._count(METRIC_OF_OUTCOME[result.outcome])
        if result.outcome is Outcome.APPLIED:
            self._metrics.add_metric(APPLY_DELAY, MetricUnit.Milliseconds, delay_ms)
        logger.info(
            f"action_{result.outcome}",
            action_id=action.action_id,
            decision_seq=action.decision_seq,
            table=action.table,
            partition_key=action.partition_key,
            lease_ends_at_ms=result.ends_at_ms,
            delay_ms=delay_ms,
        )

    def _count(self, name: str, value: int = 1) -> None:
        self._metrics.add_metric(name, MetricUnit.Count, value)


def _read(body: str) -> tuple[SuspendAction, bytes]:
    try:
        message = body.encode()
    except UnicodeEncodeError as error:
        reason = f"not text: {error.reason}"
        raise MalformedActionError(reason) from error
    action = decode(message)
    require_plausible(action)
    return action, message
