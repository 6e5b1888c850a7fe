"""Actions as a job decides them, messages of them, and the events that bring these to the handler."""

import hashlib
import time
from collections.abc import Iterable
from typing import Any

from connectors.actions import Evidence, SuspendAction, encode

TABLE = "subscriptions"
LEASE_MS = 60_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def suspend(
    partition_key: str = "account-17",
    *,
    decision_seq: int = 1,
    issued_at_ms: int | None = None,
    lease_ms: int = LEASE_MS,
    not_after_ms: int | None = None,
    action_id: str | None = None,
    table: str = TABLE,
) -> SuspendAction:
    issued = now_ms() if issued_at_ms is None else issued_at_ms
    decided = repr((table, partition_key, decision_seq, issued, lease_ms))
    return SuspendAction(
        action_id=action_id or hashlib.sha256(decided.encode()).hexdigest()[:32],
        decision_seq=decision_seq,
        issued_at_ms=issued,
        not_after_ms=issued + lease_ms if not_after_ms is None else not_after_ms,
        table=table,
        partition_key=partition_key,
        partition_key_type="S",
        lease_ms=lease_ms,
        evidence=Evidence(
            window_start_ms=0, window_end_ms=120_000, consumed_wcu=7_400, writes=6_100, limit_wcu=6_000, rule="default"
        ),
    )


def text(action: SuspendAction) -> str:
    return encode(action).decode()


def record(message_id: str, body: str, group: str = "a-group") -> dict[str, Any]:
    return {
        "messageId": message_id,
        "receiptHandle": f"receipt-of-{message_id}",
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1790000000000",
            "SequenceNumber": "18850000000000000000",
            "MessageGroupId": group,
            "SenderId": "AROAEXAMPLE:job",
            "MessageDeduplicationId": message_id,
            "ApproximateFirstReceiveTimestamp": "1790000000100",
        },
        "messageAttributes": {},
        "md5OfBody": hashlib.md5(body.encode("utf-8", "replace"), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:actions.fifo",
        "awsRegion": "eu-west-1",
    }


def event_of(actions: Iterable[SuspendAction]) -> dict[str, Any]:
    """Messages m0, m1, ... each in the group of its partition key."""
    return {
        "Records": [record(f"m{place}", text(action), action.partition_key) for place, action in enumerate(actions)]
    }


def ids(response: Any) -> list[str]:
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
