"""Sending batches to a FIFO queue, and what its answers mean. I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from connectors.sqs.outbox import Waiting

# A try is bounded by these two, because a checkpoint waits while one is made.
_CONNECT_TIMEOUT_S: Final = 1
_READ_TIMEOUT_S: Final = 2

# What no further try can mend: somebody has to do something about the queue or the rights.
_FATAL_CODES: Final = frozenset(
    {
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDeletedRecently",
        "AWS.SimpleQueueService.QueueDeletedRecently",
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAddress",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidSignatureException",
        "IncompleteSignature",
        "KmsAccessDenied",
        "KMS.AccessDeniedException",
        "KmsDisabled",
        "KMS.DisabledException",
        "KmsInvalidKeyUsage",
        "KmsInvalidState",
        "KmsNotFound",
        "KMS.NotFoundException",
        "KmsOptInRequired",
        "MissingAuthenticationToken",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
        "UnsupportedOperation",
        "AWS.SimpleQueueService.UnsupportedOperation",
    }
)

# What a single message can be refused for, and will be each time.
_REFUSING_CODES: Final = frozenset(
    {"InvalidMessageContents", "InvalidParameterValue", "InvalidAttributeValue", "MissingParameter", "MessageTooLong"}
)


class QueueRefusesError(Exception):
    """A queue that is not there, or may not be written to; the message names it and says what it answered."""


class SqsClient(Protocol):
    """The calls made of a boto3 client."""

    def send_message_batch(self, **request: Any) -> dict[str, Any]:
        """Which of the messages were accepted, and which were not."""

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        """What the queue is set to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a batch.

    Attributes:
        accepted: Messages that are in the queue now.
        postponed: Those that may be accepted another time.
        refused: Those that never will be, each with the reason.
        outage: Why nothing of the batch was accepted, where the queue did not answer as it should; None where it did.
    """

    accepted: list[Waiting] = field(default_factory=list)
    postponed: list[Waiting] = field(default_factory=list)
    refused: list[tuple[Waiting, str]] = field(default_factory=list)
    outage: str | None = None


def connect(region: str | None, endpoint_url: str | None) -> SqsClient:
    """A client whose calls take three seconds at most and are not tried again, for the outbox does that."""
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"total_max_attempts": 1},
        tcp_keepalive=True,
    )
    client: SqsClient = boto3.client("sqs", region_name=region, endpoint_url=endpoint_url, config=config)
    return client


def send(client: SqsClient, queue_url: str, batch: Sequence[Waiting]) -> Answer:
    """What the queue answered to a batch of at most ten messages.

    Raises:
        QueueRefusesError: The queue is gone, or this account may not write to it.
    """
    entries = [
        {
            "Id": str(place),
            "MessageBody": waiting.message.body,
            "MessageGroupId": waiting.message.group_id,
            "MessageDeduplicationId": waiting.message.deduplication_id,
        }
        for place, waiting in enumerate(batch)
    ]
    try:
        response = client.send_message_batch(QueueUrl=queue_url, Entries=entries)
    except (BotoCoreError, ClientError) as error:
        require_transient(error, queue_url)
        return Answer(postponed=list(batch), outage=_shown(error))
    return _read_answer(batch, response, queue_url)


def require_fifo_queue(client: SqsClient, queue_url: str) -> None:
    """Makes sure that a queue is there, as far as it can be told now.

    Raises:
        QueueRefusesError: It is not.
    """
    try:
        client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])
    except (BotoCoreError, ClientError) as error:
        # Whoever may send need not be allowed to ask.
        if _code(error) not in {"AccessDenied", "AccessDeniedException"}:
            require_transient(error, queue_url)


def require_transient(error: BotoCoreError | ClientError, queue_url: str) -> None:
    """Lets an error pass that another try may not meet.

    Raises:
        QueueRefusesError: No further try can mend it.
    """
    if isinstance(error, NoCredentialsError | PartialCredentialsError) or _code(error) in _FATAL_CODES:
        message = f"{queue_url}: {_shown(error)}"
        raise QueueRefusesError(message) from error


def _read_answer(batch: Sequence[Waiting], response: Mapping[str, Any], queue_url: str) -> Answer:
    answer = Answer()
    failed = {entry["Id"]: entry for entry in response.get("Failed", ())}
    accepted = {entry["Id"] for entry in response.get("Successful", ())}
    for place, waiting in enumerate(batch):
        entry = failed.get(str(place))
        if entry is None and str(place) in accepted:
            answer.accepted.append(waiting)
            continue
        code, reason = (entry["Code"], entry.get("Message", "")) if entry else ("", "")
        if code in _FATAL_CODES:
            message = f"{queue_url}: {code}: {reason}"
            raise QueueRefusesError(message)
        if code in _REFUSING_CODES:
            answer.refused.append((waiting, f"{code}: {reason}"))
        else:
            # Throttled, an error inside SQS, or an answer that does not mention the message.
            answer.postponed.append(waiting)
    return answer


def _code(error: BotoCoreError | ClientError) -> str | None:
    return str(error.response.get("Error", {}).get("Code")) if isinstance(error, ClientError) else None


def _shown(error: BotoCoreError | ClientError) -> str:
    if isinstance(error, ClientError):
        return f"{_code(error)}: {error.response.get('Error', {}).get('Message', '')}"
    return " ".join(f"{type(error).__name__}: {error}".split())
