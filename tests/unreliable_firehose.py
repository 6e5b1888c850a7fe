"""A server of Data Firehose's PutRecordBatch that fails in the ways in which Firehose does, call by call."""

import json
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

import boto3
from botocore.config import Config

Turn = set[int] | tuple[int, str] | Literal["cut"]
"""What becomes of a call: the places of the records that fail, or status and code of an error, or no answer at all."""


class UnreliableFirehose:
    """Listens on a port of its own. What its script does not say any more, it takes.

    Attributes:
        script: What becomes of the next calls.
        calls: The records of all calls.
        accepted: Those that it took.
    """

    def __init__(self) -> None:
        self.script: list[Turn] = []
        self.calls: list[list[bytes]] = []
        self.accepted: list[bytes] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server._answer(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self) -> Any:
        """A client that tries each call once, so that every try is one of those that are tested."""
        config = Config(retries={"total_max_attempts": 1})
        url = f"http://127.0.0.1:{self._server.server_port}"
        return boto3.client("firehose", endpoint_url=url, config=config)

    def _answer(self, request: BaseHTTPRequestHandler, fields: dict[str, Any]) -> None:
        data = [b64decode(each["Data"]) for each in fields["Records"]]
        self.calls.append(data)
        turn = self.script.pop(0) if self.script else set[int]()
        if turn == "cut":
            request.close_connection = True
        elif isinstance(turn, tuple):
            _reply(request, turn[0], {"__type": turn[1], "message": "no"})
        else:
            self.accepted += [each for place, each in enumerate(data) if place not in turn]
            failed = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
            answers = [failed if place in turn else {"RecordId": "1"} for place in range(len(data))]
            _reply(request, 200, {"FailedPutCount": len(turn), "RequestResponses": answers})


def _reply(request: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
    body = json.dumps(answer).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/x-amz-json-1.1")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
