"""A way to the emulator that can be shut: connections are taken, and then nobody answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Gate:
    """Hands bytes on in both directions, TLS and all, but for connections that come while it is shut."""

    def __init__(self, port: int) -> None:
        self.shut = False
        self.silent = 0  # connections that nobody answered
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def standing(self) -> Iterator[Gate]:
        """Closed with all its connections in the end."""
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            yield self
        finally:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _listen(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                caller, _ = self._listener.accept()
                self._open.append(caller)
                if self.shut:
                    self.silent += 1
                    continue
                service = socket.create_connection(("127.0.0.1", self._port))
                self._open.append(service)
                for source, target in ((caller, service), (service, caller)):
                    threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
