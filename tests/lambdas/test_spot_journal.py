"""The journal in its table."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from moto.core.models import botocore_stubber

from lambdas.spot.journal import JournalConflictError
from lambdas.spot.swap import GroupJournal
from tests.spot_cloud import Cloud, cloud


@pytest.fixture
def aws() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def unanswered(aws: Cloud) -> Iterator[None]:
    """The first write is made, and its answer lost, so that botocore asks again."""
    left = [1]

    def lose(request: Any, **_: Any) -> None:
        if left and left.pop():
            botocore_stubber("before-send", request)
            raise ReadTimeoutError(endpoint_url=request.url)

    events = aws.clients.dynamodb.meta.events
    events.register_first("before-send.dynamodb.PutItem", lose)
    yield
    events.unregister("before-send.dynamodb.PutItem", lose)
    assert not left


@pytest.mark.usefixtures("unanswered")
def test_a_write_whose_answer_was_lost_is_not_taken_for_that_of_somebody_else(aws: Cloud) -> None:
    aws.store.save(GroupJournal("web", version=1))
    assert aws.journal().version == 1
    aws.store.save(GroupJournal("web", version=2))


@pytest.mark.usefixtures("unanswered")
def test_the_same_write_by_somebody_else_is_a_conflict(aws: Cloud) -> None:
    aws.store.save(GroupJournal("web", version=1))
    with pytest.raises(JournalConflictError):
        aws.store.save(GroupJournal("web", version=1))
