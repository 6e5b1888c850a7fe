"""A front of an SQS server that fails in the ways in which SQS does; what it lets through, moto's server answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from tests.json_server import JsonServer, reply

Entry = dict[str, Any]


@dataclass
class Faults:
    """What goes wrong now.

    Attributes:
        error: Status and code of the answer to every batch.
        entry_fails: The code with which an entry of a batch fails alone, None where it does not.
        loses_answers: Batches are accepted, and the connection ends without an answer.
    """

    error: tuple[int, str] | None = None
    entry_fails: Callable[[Entry], str | None] = lambda _: None
    loses_answers: bool = False


class FaultySqs(JsonServer):
    """Listens on a port of its own; `tried` has the entries of all batches that came, accepted or not."""

    def __init__(self, endpoint: str) -> None:
        self.faults = Faults()
        self.tried: list[list[Entry]] = []
        self._address = urlsplit(endpoint).netloc
        super().__init__(self._answer)

    def _answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        faults, failed = self.faults, []
        if request.headers.get("X-Amz-Target") == "AmazonSQS.SendMessageBatch":
            fields = json.loads(body)
            self.tried.append(fields["Entries"])
            if faults.error:
                reply(request, faults.error[0], {"__type": f"com.amazonaws.sqs#{faults.error[1]}", "message": "no"})
                return
            failed = [(each["Id"], code) for each in fields["Entries"] if (code := faults.entry_fails(each))]
            fields["Entries"] = [each for each in fields["Entries"] if each["Id"] not in dict(failed)]
            body = json.dumps(fields).encode()
        status, answer = self._forward(request, body) if not failed or fields["Entries"] else (200, {"Successful": []})
        if faults.loses_answers:
            request.close_connection = True
            return
        if failed:
            answer["Failed"] = [
                {"Id": each, "Code": code, "Message": "no", "SenderFault": True} for each, code in failed
            ]
        reply(request, status, answer)

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, Any]:
        connection = HTTPConnection(self._address)
        headers = {name: value for name, value in request.headers.items() if name != "Content-Length"}
        connection.request("POST", request.path, body, headers)
        response = connection.getresponse()
        answer = response.status, json.loads(response.read() or b"{}")
        connection.close()
        return answer
