"""A server of Data Firehose's PutRecordBatch that fails in the ways in which Firehose does, call by call."""

import json
from base64 import b64decode
from http.server import BaseHTTPRequestHandler
from typing import Any, Literal, Self

import boto3
from botocore.config import Config

from tests.json_server import JsonServer, reply

Turn = set[int] | tuple[int, str] | Literal["cut"]
"""What becomes of a call: the places of the records that fail, or status and code of an error, or no answer at all."""


class UnreliableFirehose(JsonServer):
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
        super().__init__(self._answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def client(self) -> Any:
        """A client that tries each call once, so that every try is one of those that are tested."""
        config = Config(retries={"total_max_attempts": 1})
        return boto3.client("firehose", endpoint_url=self.endpoint, config=config)

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        data = [b64decode(each["Data"]) for each in json.loads(body)["Records"]]
        self.calls.append(data)
        turn = self.script.pop(0) if self.script else set[int]()
        if turn == "cut":
            request.close_connection = True
        elif isinstance(turn, tuple):
            reply(request, turn[0], {"__type": turn[1], "message": "no"})
        else:
            self.accepted += [each for place, each in enumerate(data) if place not in turn]
            failed = {"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."}
            answers = [failed if place in turn else {"RecordId": "1"} for place in range(len(data))]
            reply(request, 200, {"FailedPutCount": len(turn), "RequestResponses": answers})
