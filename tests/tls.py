"""A door with TLS in front of a plain server, and the certificate that it shows."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from orchestratex.local.ports import LOOPBACK

_CHUNK = 65536


@dataclass(frozen=True)
class TlsDoor:
    """Where it listens, and the private authority that signed its certificate (itself)."""

    port: int
    certificate: Path


def make_certificate(home: Path) -> tuple[Path, Path]:
    """A certificate for this machine's loopback, signed by nobody else, and its key."""
    certificate, key = home / "certificate.pem", home / "key.pem"
    names = f"subjectAltName=IP:{LOOPBACK},DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-addext", names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *files], check=True, capture_output=True)
    return certificate, key


@contextmanager
def open_tls_door(home: Path, *, to_port: int) -> Iterator[TlsDoor]:
    """Take connections over TLS and hand their bytes to the port."""
    certificate, key = make_certificate(home)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server((LOOPBACK, 0), backlog=64)
    threading.Thread(target=_accept, args=(listener, context, to_port), daemon=True).start()
    try:
        yield TlsDoor(listener.getsockname()[1], certificate)
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, context: ssl.SSLContext, to_port: int) -> None:
    with suppress(OSError):  # the listener was closed
        while True:
            taken, _ = listener.accept()
            threading.Thread(target=_serve, args=(taken, context, to_port), daemon=True).start()


def _serve(taken: socket.socket, context: ssl.SSLContext, to_port: int) -> None:
    """Two threads a connection; OpenSSL lets one read while the other writes."""
    with taken, suppress(OSError):
        outside = context.wrap_socket(taken, server_side=True)
        with outside, socket.create_connection((LOOPBACK, to_port)) as inside:
            back = threading.Thread(target=_pump, args=(inside, outside), daemon=True)
            back.start()
            _pump(outside, inside)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
