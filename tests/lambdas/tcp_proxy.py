"""A TCP proxy that can go slow, go silent, or cut: a network between a client and a real server."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator

ALL = 1_000_000


class TcpProxy:
    """Forwards to a port; with `tls` it speaks TLS to the client.

    Answers come `delay_s` late, and those to the first `silent` connections never: these are open at one end only.
    """

    def __init__(self, to_port: int, tls: ssl.SSLContext | None = None) -> None:
        self.to_port = to_port
        self.delay_s = 0.0
        self.silent = 0
        self.accepted = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Ends every connection, as a server does that restarts."""
        while self._open:
            with contextlib.suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._serve, args=(client, self.accepted), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            if self._tls:
                client = self._tls.wrap_socket(client, server_side=True)
            server = socket.create_connection(("127.0.0.1", self.to_port))
            self._open += [client, server]
            threading.Thread(target=self._answer, args=(server, client, number), daemon=True).start()
            with contextlib.closing(server):
                for data in _received(client):
                    server.sendall(data)

    def _answer(self, server: socket.socket, client: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), contextlib.closing(client):
            for data in _received(server):
                time.sleep(self.delay_s)
                if number > self.silent:
                    client.sendall(data)


def _received(from_socket: socket.socket) -> Iterator[bytes]:
    while data := from_socket.recv(65_536):
        yield data
