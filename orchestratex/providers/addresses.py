"""Which addresses a model may have: web servers, but never a cloud's metadata service, which hands out credentials."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from orchestratex.errors import InputError

_FORBIDDEN_NETWORKS: Final = tuple(
    map(
        ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, Azure, Google, DigitalOcean, ECS tasks
            "fe80::/10",
            "fd00:ec2::/32",  # AWS over IPv6
            "fd20:ce::254/128",  # Google over IPv6
            "100.100.100.200/32",  # Alibaba
            "192.0.0.192/32",  # Oracle
            "168.63.129.16/32",  # Azure's wire server
        ),
    )
)
_NAT64: Final = ip_network("64:ff9b::/96")
_FORBIDDEN_NAMES: Final = frozenset({"metadata", "metadata.goog", "instance-data"})
_FORBIDDEN_SUFFIXES: Final = ("metadata.google.internal", "instance-data.ec2.internal")
_MAX_CHARS: Final = 2000  # what servers and proxies take; the parser's look at the host is quadratic in combining marks
_ODD: Final = re.compile(r"[\s\\\x00-\x1f\x7f]")  # what parsers read differently from one another
_NUMBER: Final = re.compile(r"(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+)){0,3}", re.IGNORECASE)


def check_base_url(url: str, *, field: str = "api_endpoint") -> str:
    """Return the address as it is when models may be called there. Raises InputError naming `field` and the reason.

    Names are not looked up here: the connection itself refuses a forbidden address that a name stands for.
    """
    if len(url) > _MAX_CHARS:
        raise InputError(field, f"is longer than {_MAX_CHARS} characters")
    if _ODD.search(url):
        raise InputError(field, "an address holds no spaces, backslashes or control characters")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError as error:
        raise InputError(field, f"is no address: {error}") from error
    problem = _find_problem(parts, host)
    if problem:
        raise InputError(field, problem)
    return url


def is_forbidden(host: str) -> bool:
    """Tell whether a host name or IP address, in whatever spelling, stands for a metadata or link-local address."""
    name = host.strip("[]").rstrip(".").lower()
    if name in _FORBIDDEN_NAMES or name.endswith(_FORBIDDEN_SUFFIXES):
        return True
    address = _read_ip(name)
    return address is not None and any(address in network for network in _FORBIDDEN_NETWORKS)


def _find_problem(parts: SplitResult, host: str | None) -> str | None:
    if parts.scheme not in {"http", "https"}:
        return "must start with http:// or https://"
    if not host:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "must hold no user or password: keys come from the environment"
    if parts.query or parts.fragment:
        return "must hold no query and no fragment: keys come from the environment"
    if is_forbidden(host):
        return f"{host} is a link-local or metadata address"
    return None


def _read_ip(name: str) -> IPv4Address | IPv6Address | None:
    """The address behind its spellings: decimal, octal and hexadecimal, or IPv4 inside of IPv6."""
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return _read_legacy(name)
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address


def _read_legacy(name: str) -> IPv4Address | None:
    if not _NUMBER.fullmatch(name):
        return None
    try:
        return IPv4Address(socket.inet_aton(name))
    except OSError:
        return None
