"""A TCP proxy that makes a server slow, for testing what a bad network does."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from orchestratex.local.ports import LOOPBACK

_CHUNK = 65536


class SlowProxy:
    """Forwards to a server; each piece that a client sends waits `delay_s` on its way.

    Clients of Redis send a command, or a pipeline of them, as one piece: so the delay is one of each command.
    """

    def __init__(self, host: str, port: int) -> None:
        self.delay_s = 0.0
        self._target = (host, port)
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name="slow-proxy", daemon=True).start()

    @property
    def url(self) -> str:
        """Where Redis seems to be."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def close(self) -> None:
        """Accept nobody any more."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            while piece := client.recv(_CHUNK):
                time.sleep(self.delay_s)
                server.sendall(piece)
            server.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that reads from it


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_CHUNK):
            target.sendall(piece)
        target.shutdown(socket.SHUT_RDWR)
