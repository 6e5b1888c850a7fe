"""An HTTP server for tests that want one of AWS to fail: whoever makes one says what it answers."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Answers a request, given with its body, by `reply`, or not at all."""


class JsonServer:
    """Listens on a port of its own."""

    def __init__(self, answer: Answer) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                answer(self, self.rfile.read(int(self.headers["Content-Length"])))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def reply(request: BaseHTTPRequestHandler, status: int, answer: Any) -> None:
    """Answer with JSON, of the type that was sent."""
    body = json.dumps(answer).encode()
    request.send_response(status)
    request.send_header("Content-Type", request.headers["Content-Type"])
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
