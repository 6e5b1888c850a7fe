"""What goes back to a queue of Spot, and when it comes again."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdas.local_trigger import Queue, describe_queue, poll_once
from lambdas.spot import invocation
from lambdas.spot.actuator import Actuator
from lambdas.spot.amazon import AmazonError, Refusal, UnreadError
from lambdas.spot.invocation import work_off
from tests.spot_cloud import Cloud, cloud

VISIBILITY_S = 360
WARNING_S = 120
BUSY = AmazonError(Refusal.TRANSIENT, "replace", "Busy", "another actuator is at work on the group")


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def queue(aws: Cloud) -> Queue:
    attributes = {"FifoQueue": "true", "VisibilityTimeout": str(VISIBILITY_S)}
    url = aws.clients.sqs.create_queue(QueueName="actions.fifo", Attributes=attributes)["QueueUrl"]
    aws.clients.sqs.send_message(QueueUrl=url, MessageBody="{}", MessageGroupId="i-1", MessageDeduplicationId="1")
    return describe_queue(aws.clients.sqs, url)


def fails(_: bytes) -> None:
    raise BUSY


def receives(aws: Cloud, made: Actuator, queue: Queue) -> int:
    def handler(event: dict[str, Any], context: Any) -> object:
        return work_off(made, event, context, fails)

    return poll_once(aws.clients.sqs, queue, handler, wait_s=0).received


def test_an_order_that_goes_back_is_tried_four_times_within_the_two_minutes_of_a_warning() -> None:
    assert len(invocation.AGAIN_AFTER_S) == 3
    assert sum(invocation.AGAIN_AFTER_S) < WARNING_S


def test_an_order_that_goes_back_comes_again_long_before_its_queue_would_give_it_out(
    aws: Cloud, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation, "AGAIN_AFTER_S", (1, 1))
    made = aws.actuator(tmp_path)
    made = replace(made, environment=replace(made.environment, retry_queue=queue.url))
    assert receives(aws, made, queue) == 1
    assert receives(aws, made, queue) == 0  # a little later, so that what it waits for can end
    for _ in range(2):
        time.sleep(1.1)
        assert receives(aws, made, queue) == 1
    time.sleep(1.1)
    assert receives(aws, made, queue) == 0  # it does not use up its receives while an outage lasts


def test_without_a_queue_to_retry_in_messages_stay_out_of_sight_as_their_queue_says(
    aws: Cloud, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invocation, "AGAIN_AFTER_S", (0, 0))
    made = aws.actuator(tmp_path)
    assert receives(aws, made, queue) == 1
    assert receives(aws, made, queue) == 0


def test_a_message_that_cannot_be_brought_back_sooner_goes_back_all_the_same(
    aws: Cloud, queue: Queue, tmp_path: Path
) -> None:
    made = aws.actuator(tmp_path)
    made = replace(made, environment=replace(made.environment, retry_queue=f"{queue.url}-of-nobody"))
    answered: dict[str, Any] = {}

    def handler(event: dict[str, Any], context: Any) -> object:
        answered.update(work_off(made, event, context, fails))
        return answered

    assert poll_once(aws.clients.sqs, queue, handler, wait_s=0).deleted == 0
    assert len(answered["batchItemFailures"]) == 1


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (ClientError({"Error": {"Code": "Throttling", "Message": ""}}, "DescribeInstances"), True),
        (ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "DescribeInstances"), True),
        (UnreadError(Refusal.TRANSIENT, "GetItem", "Throttling", ""), True),
        (BUSY, False),
    ],
)
def test_a_call_that_fails_before_anything_is_begun_is_counted_and_waiting_for_others_is_not(
    error: Exception, counted: bool, aws: Cloud, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = aws.actuator(tmp_path)
    seen: list[str] = []
    monkeypatch.setattr(Actuator, "count", lambda _, name, value=1: seen.append(name))

    def handle(_: bytes) -> None:
        raise error

    def handler(event: dict[str, Any], context: Any) -> object:
        return work_off(made, event, context, handle)

    poll_once(aws.clients.sqs, queue, handler, wait_s=0)
    assert ("CallsFailed" in seen) == counted
