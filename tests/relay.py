"""A server between us and the sandbox that speaks HTTP as proxies do: interim answers first, the final one later."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Relay:
    """Passes calls on to `target`, and writes `interim` half a second before each final answer.

    `sent` holds what each call was answered, by its idempotency key.
    """

    def __init__(self, target: str, *, interim: bytes, pause_s: float = 0.5) -> None:
        self.sent: dict[str, str] = {}
        is_over = threading.Event()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.wfile.write(interim)
                self.wfile.flush()
                headers = {"Content-Type": "application/json", "Authorization": self.headers["Authorization"]}
                request = urllib.request.Request(f"{target}{self.path.removeprefix('/v1')}", body, headers)
                with urllib.request.urlopen(request, timeout=30) as reply:
                    content = reply.read()
                text = json.loads(content)["choices"][0]["message"]["content"]
                relay.sent[self.headers["Idempotency-Key"]] = text
                is_over.wait(pause_s)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing to tell."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Workers that are stopped hang up."""

        self._is_over = is_over
        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        """Stop serving."""
        self._is_over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@contextmanager
def open_relay(target: str, *, interim: bytes) -> Iterator[Relay]:
    """A relay for one test."""
    relay = Relay(target, interim=interim)
    try:
        yield relay
    finally:
        relay.close()
