"""Records to Data Firehose, on moto's server; what that server never does, a server that fails by a script does."""

import gzip
from collections.abc import Iterator

import boto3
import pytest

from connectors.firehose import MOST_BATCH_BYTES, MOST_RECORD_BYTES, MOST_RECORDS, FirehoseError, batches, put_records
from tests.aws_server import aws_server
from tests.unreliable_firehose import UnreliableFirehose

STREAM = "usage"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.fixture
def endpoint(credentials: None) -> Iterator[str]:
    with aws_server() as url:
        yield url


def delivered(endpoint: str) -> bytes:
    s3 = boto3.client("s3", endpoint_url=endpoint)
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="lake").get("Contents", [])]
    contents = [s3.get_object(Bucket="lake", Key=key)["Body"].read() for key in sorted(keys)]
    return b"".join(gzip.decompress(each) if each[:2] == b"\x1f\x8b" else each for each in contents)


def test_all_records_arrive_in_their_order(endpoint: str) -> None:
    location = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="lake", CreateBucketConfiguration=location)
    firehose = boto3.client("firehose", endpoint_url=endpoint)
    destination = {"RoleARN": "arn:aws:iam::123456789012:role/firehose", "BucketARN": "arn:aws:s3:::lake"}
    firehose.create_delivery_stream(DeliveryStreamName=STREAM, ExtendedS3DestinationConfiguration=destination)
    records = [f"{number}\n".encode() for number in range(1_201)]
    put_records(firehose, STREAM, records)
    assert sorted(delivered(endpoint).split()) == sorted(b"".join(records).split())


def test_a_stream_that_is_not_there_is_told_at_once(endpoint: str) -> None:
    firehose = boto3.client("firehose", endpoint_url=endpoint)
    with pytest.raises(FirehoseError, match=r"stream elsewhere: .*ResourceNotFound"):
        put_records(firehose, "elsewhere", [b"x"], pause=lambda _: pytest.fail("there is nothing to wait for"))


@pytest.fixture
def unreliable(credentials: None) -> Iterator[UnreliableFirehose]:
    with UnreliableFirehose() as server:
        yield server


def test_only_what_failed_is_sent_again_with_growing_pauses(unreliable: UnreliableFirehose) -> None:
    unreliable.script = [{1, 3}, {0}, set()]
    pauses: list[float] = []
    records = [b"a", b"b", b"c", b"d"]
    put_records(unreliable.client(), STREAM, records, pause=pauses.append)
    assert unreliable.calls == [records, [b"b", b"d"], [b"b"]]
    assert sorted(unreliable.accepted) == records
    assert len(pauses) == 2
    assert 0 < pauses[0] <= 0.1 <= 2 * pauses[1]


def test_an_outage_is_waited_for_and_one_that_lasts_is_an_error(unreliable: UnreliableFirehose) -> None:
    unreliable.script = ["cut", (503, "ServiceUnavailableException"), (400, "ThrottlingException")]
    put_records(unreliable.client(), STREAM, [b"a"], pause=lambda _: None)
    assert (len(unreliable.calls), unreliable.accepted) == (4, [b"a"])
    unreliable.script = ["cut"] * 50
    with pytest.raises(FirehoseError, match="1 records not accepted in 12 tries"):
        put_records(unreliable.client(), STREAM, [b"a"], pause=lambda _: None)


def test_a_server_that_is_not_there_is_an_outage(unreliable: UnreliableFirehose) -> None:
    client = unreliable.client()
    unreliable.close()
    with pytest.raises(FirehoseError, match=r"1 records not accepted in 12 tries: .*Could not connect"):
        put_records(client, STREAM, [b"a"], pause=lambda _: None)


def test_access_denied_is_told_at_once(unreliable: UnreliableFirehose) -> None:
    unreliable.script = [(400, "AccessDeniedException")]
    with pytest.raises(FirehoseError, match="AccessDenied"):
        put_records(unreliable.client(), STREAM, [b"a"], pause=lambda _: pytest.fail("there is nothing to wait for"))


@pytest.mark.parametrize(("count", "sizes"), [(499, [499]), (500, [500]), (501, [500, 1])])
def test_a_batch_has_at_most_500_records(count: int, sizes: list[int]) -> None:
    assert MOST_RECORDS == 500
    assert [len(batch) for batch in batches([b"x"] * count)] == sizes


@pytest.mark.parametrize(("last_bytes", "sizes"), [(-1, [5]), (0, [5]), (1, [4, 1])])
def test_a_batch_has_at_most_4_mebibytes(last_bytes: int, sizes: list[int]) -> None:
    record = b"x" * (MOST_RECORD_BYTES - 1)
    rest = b"x" * (MOST_BATCH_BYTES - 4 * len(record) + last_bytes)
    assert [len(batch) for batch in batches([record] * 4 + [rest])] == sizes


@pytest.mark.parametrize("more", [0, 1])
def test_a_record_has_at_most_1000_kibibytes(more: int) -> None:
    record = b"x" * (MOST_RECORD_BYTES + more)
    if not more:
        assert list(batches([record])) == [[record]]
        return
    with pytest.raises(FirehoseError, match="1,024,001 bytes"):
        list(batches([record]))
