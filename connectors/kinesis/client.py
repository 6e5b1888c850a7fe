"""A client for Kinesis that reads GetRecords' answers in one pass, and words for what AWS refuses. I/O."""

from collections.abc import Iterator
from typing import Any, Final

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from connectors.kinesis.config import KinesisConfig
from connectors.kinesis.records import KinesisRecord
from connectors.kinesis.shards import Shard, parse_shard

_CONNECT_TIMEOUT_S: Final = 5
_READ_TIMEOUT_S: Final = 20  # an answer can have 10 MiB
_HTTP_OK: Final = 200

_CREDENTIALS: Final = (NoCredentialsError, PartialCredentialsError)
_REFUSED_CODES: Final = {
    "AccessDeniedException": "access denied",
    "UnrecognizedClientException": "the credentials are not valid",
    "InvalidClientTokenId": "the credentials are not valid",
    "InvalidSignatureException": "the credentials are not valid",
    "IncompleteSignature": "the credentials are not valid",
    "MissingAuthenticationTokenException": "the credentials are not valid",
    "ExpiredTokenException": "the credentials have expired",
    "KMSAccessDeniedException": "access to the stream's KMS key is denied",
    "KMSDisabledException": "the stream's KMS key is disabled",
    "KMSNotFoundException": "the stream's KMS key does not exist",
    "KMSInvalidStateException": "the stream's KMS key cannot be used",
    "KMSOptInRequired": "the stream's KMS key cannot be used",
}


class KinesisError(Exception):
    """A stream that cannot be read, and would not be if it were tried again; the message says which and why."""


class Answer(msgspec.Struct, frozen=True):
    """What GetRecords answers.

    Attributes:
        next_iterator: None at the end of a shard that was closed.
        behind_ms: How far the end of the records is behind the newest of the shard.
    """

    records: list[KinesisRecord] = msgspec.field(name="Records")
    next_iterator: str | None = msgspec.field(name="NextShardIterator", default=None)
    behind_ms: int = msgspec.field(name="MillisBehindLatest", default=0)


_ANSWER: Final = msgspec.json.Decoder(Answer, strict=False)


class KinesisClient:
    """A stream's client. It makes each call once: whoever calls knows when to call again.

    Args:
        config: Which stream, and where.
        connections: How many calls are made at the same time.
    """

    def __init__(self, config: KinesisConfig, connections: int = 1) -> None:
        self.stream = config.stream
        settings = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            max_pool_connections=connections,
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
        )
        try:
            self._client = boto3.session.Session().client(
                "kinesis", region_name=config.region, endpoint_url=config.endpoint_url, config=settings
            )
        except NoRegionError as error:
            raise KinesisError(_NO_REGION) from error
        except ValueError as error:
            message = f"kinesis.endpoint: {error}"
            raise KinesisError(message) from error
        self._client.meta.events.register("before-parse.kinesis.GetRecords", _read_answer)

    def shards(self) -> list[Shard]:
        """All shards that the stream still holds records of, closed ones included."""
        return [parse_shard(listed) for page in self._pages() for listed in page["Shards"]]

    def _pages(self) -> Iterator[dict[str, Any]]:
        page = self._client.list_shards(StreamName=self.stream)
        yield page
        while token := page.get("NextToken"):
            page = self._client.list_shards(NextToken=token)
            yield page

    def retention_ms(self) -> int:
        """How long the stream holds its records."""
        return int(self._summary()["RetentionPeriodHours"]) * 3_600_000

    def arn(self) -> str:
        """The stream's Amazon Resource Name.

        Raises:
            KinesisError: The stream cannot be asked for it.
        """
        try:
            return str(self._summary()["StreamARN"])
        except (BotoCoreError, ClientError) as error:
            raise KinesisError(refusal(error, self.stream) or f"stream {self.stream}: {error}") from error

    def _summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = self._client.describe_stream_summary(StreamName=self.stream)
        described: dict[str, Any] = summary["StreamDescriptionSummary"]
        return described

    def iterator(self, shard_id: str, arguments: dict[str, Any]) -> str:
        """An iterator of a shard at a position."""
        given = self._client.get_shard_iterator(StreamName=self.stream, ShardId=shard_id, **arguments)
        return str(given["ShardIterator"])

    def records(self, iterator: str, limit: int) -> Answer:
        """The records at an iterator, at most so many."""
        answer: Answer = self._client.get_records(ShardIterator=iterator, Limit=limit)["Answer"]
        return answer


def _read_answer(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Read the body in botocore's place, which takes several times as long and is left an empty one."""
    if response_dict["status_code"] == _HTTP_OK:
        customized_response_dict["Answer"] = _ANSWER.decode(response_dict["body"])
        response_dict["body"] = b"{}"


_NO_REGION: Final = 'no AWS Region is set: give kinesis.region, such as "eu-west-1", or the variable AWS_REGION'


def code_of(error: BotoCoreError | ClientError) -> str:
    """AWS's own name of what went wrong, nothing where the answer has none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def refusal(error: BotoCoreError | ClientError, stream: str) -> str | None:
    """What a person must put right before the call can succeed; None where it may succeed by itself."""
    if isinstance(error, _CREDENTIALS):
        return f"stream {stream}: no AWS credentials were found: configure them as for the AWS CLI, or give a role"
    if isinstance(error, NoRegionError):
        return _NO_REGION
    if isinstance(error, ConnectionError | HTTPClientError):
        return None
    code = code_of(error)
    if code == "ResourceNotFoundException":
        return f"stream {stream}: no such stream in this account and Region"
    if code in _REFUSED_CODES:
        said = error.response["Error"].get("Message") or code
        return f"stream {stream}: {_REFUSED_CODES[code]}: {said}"
    return None
