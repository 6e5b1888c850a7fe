"""AWS for tests that want a server of it: moto's, in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer


@contextmanager
def aws_server() -> Iterator[str]:
    """The URL of a server that has nothing in it.

    What moto knows belongs to the process, in which the tests of other files have had servers too: a queue of theirs
    would be in the way of one of the same name. Its line for each request is left out.
    """
    requests = logging.getLogger("werkzeug")
    level = requests.level
    requests.setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with urlopen(Request(f"{url}/moto-api/reset", method="POST")):  # noqa: S310 - the server above
        pass
    try:
        yield url
    finally:
        server.stop()
        requests.setLevel(level)
