"""Ports of this machine: free ones, and who holds the others."""

from __future__ import annotations

import socket

import psutil

from orchestratex.errors import LocalStackError
from orchestratex.local.pids import describe_process

LOOPBACK = "127.0.0.1"
TRIES = 100


def free_port(host: str = LOOPBACK) -> int:
    """Return a port that is free now."""
    with _open_socket(host) as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on the port now."""
    with _open_socket(host) as listener:
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError:
            return False
        return True


def is_listening(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether somebody accepts connections on the port."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def is_held_by(port: int, pid: int | None) -> bool:
    """Tell whether this process of ours listens on the port."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp") if pid is not None else []
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections)


def next_free_port(port: int, host: str = LOOPBACK) -> int:
    """Return `port`, or the first free one above it."""
    for candidate in range(port, min(port + TRIES, 65536)):
        if is_free(candidate, host):
            return candidate
    return free_port(host)


def require_free(port: int, host: str = LOOPBACK, *, remedy: str) -> int:
    """Return `port` (0: any free one). Raises LocalStackError that names who holds it and the remedy."""
    if port == 0:
        return free_port(host)
    if not is_free(port, host):
        raise LocalStackError(f"Port {port} on {host} is in use by {describe_holder(port)}: {remedy}")
    return port


def describe_holder(port: int) -> str:
    """Name the process that listens on a port; other users' processes are not always visible."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS shows them to root only
        return "another program"
    pids = {c.pid for c in connections if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port and c.pid}
    return describe_process(min(pids)) if pids else "another program"


def _open_socket(host: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return opened
