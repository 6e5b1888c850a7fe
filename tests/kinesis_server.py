"""Kinesis over HTTP for tests: shards that end and name their children, iterators that expire, and faults on demand.

It speaks the service's JSON protocol to any client, keeps what it is given in memory, and holds to AWS's documented
behaviour where readers depend on it. Targets that begin with `Test.` set faults and retention; they are no part of AWS.
`python -m tests.kinesis_server` serves on a port that it prints, until its input ends.
"""

import json
import re
import sys
from base64 import b64decode, b64encode
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import RLock, Thread
from time import time
from typing import Any

Request = dict[str, Any]
HASH_KEYS = 1 << 128
FIRST_SEQUENCE_NUMBER = 49_600_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000
RETENTION_HOURS = 24
SHARDS_ON_A_PAGE = 3


class AwsError(Exception):
    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass
class StoredShard:
    shard_id: str
    first_key: int
    last_key: int
    parents: tuple[str, ...] = ()
    closed_at: int | None = None
    numbers: list[int] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    encoded: list[str] = field(default_factory=list)

    def listed(self) -> Request:
        numbers = {"StartingSequenceNumber": str(FIRST_SEQUENCE_NUMBER)}
        if self.closed_at is not None:
            numbers["EndingSequenceNumber"] = str(self.closed_at)
        names = ("ParentShardId", "AdjacentParentShardId")
        return {
            "ShardId": self.shard_id,
            **dict(zip(names, self.parents, strict=False)),
            "HashKeyRange": {"StartingHashKey": str(self.first_key), "EndingHashKey": str(self.last_key)},
            "SequenceNumberRange": numbers,
        }


@dataclass
class StoredStream:
    shards: dict[str, StoredShard] = field(default_factory=dict)
    made: int = 0

    def add(self, first_key: int, last_key: int, parents: tuple[str, ...] = ()) -> None:
        shard_id = f"shardId-{self.made:012d}"
        self.made += 1
        self.shards[shard_id] = StoredShard(shard_id, first_key, last_key, parents)


class KinesisServer:
    """Streams in memory, and what goes wrong with them."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._streams: dict[str, StoredStream] = {}
        self._next_number = FIRST_SEQUENCE_NUMBER
        self._faults: dict[str, list[AwsError]] = {}
        self._iterator_life_s = 300.0
        self._arrives_ago_s = 0.0
        self._most_records = 10_000
        self.calls: Counter[str] = Counter()

    def answer(self, target: str, request: Request) -> Request | str:
        operation: Callable[[Request], Request | str] | None = getattr(self, _name_of(target.partition(".")[2]), None)
        if operation is None:
            code = "UnknownOperationException"
            raise AwsError(code)
        with self._lock:
            if target.startswith("Kinesis"):
                self.calls[target.partition(".")[2]] += 1
                faults = self._faults.get(target.partition(".")[2])
                if faults:
                    raise faults.pop(0)
            return operation(request)

    # What tests set.

    def _on_fail(self, request: Request) -> Request:
        error = AwsError(request["code"], "by order of the test", request.get("status", 400))
        self._faults.setdefault(request["operation"], []).extend([error] * request["times"])
        return {"left": {operation: len(faults) for operation, faults in self._faults.items()}}

    def _on_set(self, request: Request) -> Request:
        self._iterator_life_s = request.get("iterator_life_s", self._iterator_life_s)
        self._arrives_ago_s = request.get("arrives_ago_s", self._arrives_ago_s)
        self._most_records = request.get("most_records", self._most_records)
        return {}

    def _on_calls(self, request: Request) -> Request:
        return dict(self.calls)

    def _on_trim(self, request: Request) -> Request:
        """Drop the oldest records of a shard, as retention does; all of them and the shard where it is closed."""
        shards = self._streams[request["stream"]].shards
        shard = shards[request["shard"]]
        for stored in (shard.numbers, shard.arrivals, shard.encoded):
            del stored[: request["records"]]
        if shard.closed_at is not None and not shard.numbers:
            del shards[shard.shard_id]
        return {}

    # The service.

    def _stream(self, request: Request) -> StoredStream:
        name = _stream_of(request)
        stream = self._streams.get(name)
        if stream is None:
            code, message = "ResourceNotFoundException", f"Stream {name} not found."
            raise AwsError(code, message)
        return stream

    def _shard(self, stream: str, shard_id: str) -> StoredShard:
        shard = self._stream({"StreamName": stream}).shards.get(shard_id)
        if shard is None:
            code, message = "ResourceNotFoundException", f"Shard {shard_id} does not exist."
            raise AwsError(code, message)
        return shard

    def _on_create_stream(self, request: Request) -> Request:
        stream = self._streams[request["StreamName"]] = StoredStream()
        count = request["ShardCount"]
        for number in range(count):
            stream.add(number * HASH_KEYS // count, (number + 1) * HASH_KEYS // count - 1)
        return {}

    def _on_delete_stream(self, request: Request) -> Request:
        del self._streams[request["StreamName"]]
        return {}

    def _on_describe_stream_summary(self, request: Request) -> Request:
        shards = self._stream(request).shards
        name = _stream_of(request)
        return {
            "StreamDescriptionSummary": {
                "StreamName": name,
                "StreamARN": f"arn:aws:kinesis:eu-west-1:123456789012:stream/{name}",
                "StreamStatus": "ACTIVE",
                "RetentionPeriodHours": RETENTION_HOURS,
                "StreamCreationTimestamp": 1.0,
                "EnhancedMonitoring": [],
                "OpenShardCount": sum(shard.closed_at is None for shard in shards.values()),
            }
        }

    def _on_list_shards(self, request: Request) -> Request:
        name, first = request.get("StreamName"), 0
        if "NextToken" in request:
            name, _, number = request["NextToken"].rpartition("/")
            first = int(number)
        after = request.get("ExclusiveStartShardId", "")
        name = name or _stream_of(request)
        shards = [shard for each, shard in self._stream({"StreamName": name}).shards.items() if each > after]
        page = {"Shards": [shard.listed() for shard in shards[first : first + SHARDS_ON_A_PAGE]]}
        more = first + SHARDS_ON_A_PAGE < len(shards)
        return page | ({"NextToken": f"{name}/{first + SHARDS_ON_A_PAGE}"} if more else {})

    def _on_put_record(self, request: Request) -> Request:
        stream = self._stream(request)
        return self._put(stream, request["PartitionKey"], request["Data"])

    def _on_put_records(self, request: Request) -> Request:
        stream = self._stream(request)
        put = [self._put(stream, record["PartitionKey"], record["Data"]) for record in request["Records"]]
        return {"FailedRecordCount": 0, "Records": put}

    def _put(self, stream: StoredStream, partition_key: str, data: str) -> Request:
        hash_key = int.from_bytes(md5(partition_key.encode()).digest(), "big")  # noqa: S324 - Kinesis's own hash
        shards = (shard for shard in stream.shards.values() if shard.closed_at is None)
        shard = next(shard for shard in shards if shard.first_key <= hash_key <= shard.last_key)
        number = self._number()
        arrival = round(time() - self._arrives_ago_s, 3)
        shard.numbers.append(number)
        shard.arrivals.append(arrival)
        shard.encoded.append(
            f'{{"SequenceNumber":"{number}","ApproximateArrivalTimestamp":{arrival!r},"Data":"{data}",'
            f'"PartitionKey":{json.dumps(partition_key)}}}'
        )
        return {"ShardId": shard.shard_id, "SequenceNumber": str(number)}

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number

    def _on_split_shard(self, request: Request) -> Request:
        stream, parent = self._stream(request), self._open_shard(request, "ShardToSplit")
        middle = int(request["NewStartingHashKey"])
        stream.add(parent.first_key, middle - 1, (parent.shard_id,))
        stream.add(middle, parent.last_key, (parent.shard_id,))
        parent.closed_at = self._number()
        return {}

    def _on_merge_shards(self, request: Request) -> Request:
        stream = self._stream(request)
        parents = [self._open_shard(request, name) for name in ("ShardToMerge", "AdjacentShardToMerge")]
        first_key = min(parent.first_key for parent in parents)
        last_key = max(parent.last_key for parent in parents)
        stream.add(first_key, last_key, tuple(parent.shard_id for parent in parents))
        for parent in parents:
            parent.closed_at = self._number()
        return {}

    def _open_shard(self, request: Request, name: str) -> StoredShard:
        shard = self._shard(request["StreamName"], request[name])
        if shard.closed_at is not None:
            code = "InvalidArgumentException"
            raise AwsError(code, f"Shard {shard.shard_id} is closed.")
        return shard

    def _on_get_shard_iterator(self, request: Request) -> Request:
        name = _stream_of(request)
        shard = self._shard(name, request["ShardId"])
        match request["ShardIteratorType"]:
            case "TRIM_HORIZON":
                number = 0
            case "LATEST":
                number = self._next_number + 1
            case "AFTER_SEQUENCE_NUMBER":
                number = int(request["StartingSequenceNumber"]) + 1
                if number <= FIRST_SEQUENCE_NUMBER:
                    code = "InvalidArgumentException"
                    raise AwsError(code, f"StartingSequenceNumber {number - 1} is invalid")
            case "AT_TIMESTAMP":
                number = self._number_at(shard, request["Timestamp"])
            case other:
                code = "ValidationException"
                raise AwsError(code, f"unknown iterator type {other}")
        return {"ShardIterator": self._iterator(name, shard.shard_id, number)}

    def _number_at(self, shard: StoredShard, timestamp: float) -> int:
        if timestamp > time():
            code = "InvalidArgumentException"
            raise AwsError(code, "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis.")
        at = bisect_left(shard.arrivals, timestamp)
        return shard.numbers[at] if at < len(shard.numbers) else self._next_number + 1

    def _iterator(self, stream: str, shard_id: str, number: int) -> str:
        return b64encode(json.dumps([stream, shard_id, number, time()]).encode()).decode()

    def _on_get_records(self, request: Request) -> str:
        stream, shard_id, number, given_at = json.loads(b64decode(request["ShardIterator"]))
        if time() - given_at > self._iterator_life_s:
            code = "ExpiredIteratorException"
            raise AwsError(code, "Iterator expired.")
        shard = self._shard(stream, shard_id)
        start = bisect_left(shard.numbers, number)
        end = min(start + min(request.get("Limit", 10_000), self._most_records), len(shard.numbers))
        behind_ms = max(0, round((time() - shard.arrivals[end]) * 1000)) if end < len(shard.numbers) else 0
        rest: Request = {"MillisBehindLatest": behind_ms}
        if shard.closed_at is not None and end == len(shard.numbers):
            children = self._streams[stream].shards.values()
            rest["ChildShards"] = [
                {
                    "ShardId": child.shard_id,
                    "ParentShards": child.parents,
                    "HashKeyRange": child.listed()["HashKeyRange"],
                }
                for child in children
                if shard_id in child.parents
            ]
        else:
            following = shard.numbers[end - 1] + 1 if end > start else number
            rest["NextShardIterator"] = self._iterator(stream, shard_id, following)
        return f'{{"Records":[{",".join(shard.encoded[start:end])}],{json.dumps(rest)[1:]}'


def _stream_of(request: Request) -> str:
    name: str = request.get("StreamName") or request["StreamARN"].rpartition("/")[2]
    return name


def _name_of(operation: str) -> str:
    return "_on" + re.sub(r"(?=[A-Z])", "_", operation).lower()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet; in two, each answer waits for a delayed acknowledgement
    kinesis: KinesisServer

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        status = 200
        try:
            answer = self.kinesis.answer(self.headers["X-Amz-Target"], request)
        except AwsError as error:
            status = error.status
            answer = {"__type": error.code, "message": str(error)}
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


class _QuickServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def serve() -> tuple[_QuickServer, str]:
    """A server in threads of this process, and its address."""
    handler = type("Handler", (_Handler,), {"kinesis": KinesisServer()})
    server = _QuickServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


if __name__ == "__main__":
    serving, address = serve()
    sys.stdout.write(address + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    serving.shutdown()
