"""An AWS on this machine that denies every call, so that nothing leaves it and a handler ends where it asks. I/O."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

DENIED: Final = "AccessDenied"

_AS_XML: Final = (
    f"<ErrorResponse><Errors><Error><Code>{DENIED}</Code><Message>denied by the check</Message></Error></Errors>"
    f"<Error><Code>{DENIED}</Code><Message>denied by the check</Message></Error></ErrorResponse>"
).encode()
_AS_JSON: Final = json.dumps({"__type": f"{DENIED}Exception", "message": "denied by the check"}).encode()


class _Denying(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_json = "X-Amz-Target" in self.headers or "json" in (self.headers.get("Content-Type") or "")
        body = _AS_JSON if is_json else _AS_XML
        self.send_response(403)
        self.send_header("Content-Type", "application/x-amz-json-1.1" if is_json else "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing; a denied call is told by the handler that made it."""


@contextmanager
def denying_aws() -> Iterator[str]:
    """Its address, while it is there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Denying)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
