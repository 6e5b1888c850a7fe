"""Records to Amazon Data Firehose, in batches, with retry of the failed part only. I/O through a client that is given.

At least once: what Firehose accepted just before a crash is sent again after it. Each row of the ledger has a key of
its own (see `docs/usage.md`), by which the reader of the stream can leave the second one out.

Source: Amazon Data Firehose API Reference, PutRecordBatch: at most 500 records and 4 MiB a call, and a response may
report that some records failed; Developer Guide, "Quota": a record has at most 1,000 KiB.
"""

from collections.abc import Callable, Iterator, Sequence
from random import uniform
from time import sleep
from typing import Any, Final

MOST_RECORDS: Final = 500
MOST_BATCH_BYTES: Final = 4 << 20
MOST_RECORD_BYTES: Final = 1000 << 10
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 20.0
_MOST_TRIES: Final = 12
_TRANSIENT: Final = frozenset(
    {
        "ServiceUnavailableException",
        "InternalFailure",
        "ThrottlingException",
        "LimitExceededException",
        "RequestTimeout",
    }
)


class FirehoseError(Exception):
    """Records were not accepted, and trying again is of no use; the message names the stream and the cause."""


def batches(records: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The records in their order, in batches that Firehose takes.

    Raises:
        FirehoseError: A record is larger than Firehose takes.
    """
    batch: list[bytes] = []
    batch_bytes = 0
    for record in records:
        if len(record) > MOST_RECORD_BYTES:
            message = f"a record of {len(record):,} bytes: Firehose takes at most {MOST_RECORD_BYTES:,}"
            raise FirehoseError(message)
        if len(batch) == MOST_RECORDS or batch_bytes + len(record) > MOST_BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(record)
        batch_bytes += len(record)
    if batch:
        yield batch


def put_records(client: Any, stream: str, records: Sequence[bytes], pause: Callable[[float], None] = sleep) -> None:
    """Send records, again and again those that were not accepted, with growing pauses.

    Args:
        client: A Firehose client of boto3.
        stream: The delivery stream's name.
        records: What to send.
        pause: Waits for so many seconds.

    Raises:
        FirehoseError: The stream is not there or may not be written to, or an outage lasts for minutes.
    """
    for batch in batches(records):
        left, pause_s, told = batch, _FIRST_PAUSE_S, ""
        for _ in range(_MOST_TRIES):
            left, told = _put(client, stream, left)
            if not left:
                break
            pause(uniform(pause_s / 2, pause_s))  # noqa: S311 - spreads retries, keeps no secret
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        else:
            message = f"Firehose stream {stream}: {len(left):,} records not accepted in {_MOST_TRIES} tries: {told}"
            raise FirehoseError(message)


def _put(client: Any, stream: str, batch: Sequence[bytes]) -> tuple[list[bytes], str]:
    """The records that were not accepted, and why."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    try:
        answer = client.put_record_batch(DeliveryStreamName=stream, Records=[{"Data": record} for record in batch])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _TRANSIENT or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            return list(batch), code
        message = f"Firehose stream {stream}: {error}"
        raise FirehoseError(message) from error
    except (ConnectionError, HTTPClientError) as error:
        return list(batch), str(error)
    if not answer["FailedPutCount"]:
        return [], ""
    failed = [
        (record, each["ErrorCode"])
        for record, each in zip(batch, answer["RequestResponses"], strict=True)
        if each.get("ErrorCode")
    ]
    return [record for record, _ in failed], failed[0][1] if failed else ""
