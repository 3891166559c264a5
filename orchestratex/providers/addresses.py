"""Which addresses a model may have: web servers, but never a cloud's metadata service, which hands out credentials."""

from __future__ import annotations

import re
import socket
import unicodedata
from collections.abc import Iterator
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
            "fd00:42::42/128",  # Scaleway
        ),
    )
)
# IPv6 prefixes that carry an IPv4 address in their last 32 bits: IPv4-compatible, IPv4-translated, NAT64.
_CARRIERS: Final = tuple(map(ip_network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96")))
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")  # its operator chooses the length of the prefix
_PREFIX_BITS: Final = (48, 56, 64, 96)
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
_WELL_KNOWN: Final = tuple(
    map(IPv4Address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
_FORBIDDEN_NAMES: Final = frozenset({"metadata", "metadata.goog", "instance-data", "rancher-metadata"})
_FORBIDDEN_SUFFIXES: Final = (
    "metadata.google.internal",
    "metadata.azure.internal",
    "metadata.tencentyun.com",
    "instance-data.ec2.internal",
)
_DOTS: Final = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))  # what names may hold for a dot
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
    if len(host) > _MAX_CHARS:  # no name is; composing its marks would take quadratic time
        return True
    name = unicodedata.normalize("NFKC", host.translate(_DOTS)).strip("[]").rstrip(".").lower()
    if name in _FORBIDDEN_NAMES or name.endswith(_FORBIDDEN_SUFFIXES):
        return True
    address = _read_ip(name)
    return address is not None and any(map(_is_forbidden_ip, _unwrap(address)))


def find_forbidden(host: str, port: int) -> str | None:
    """An address behind a name that no model may have, None where there is none. Raises OSError for unknown names."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(each[4][0]) for each in found]
    return next(filter(is_forbidden, addresses), None)


def _find_problem(parts: SplitResult, host: str | None) -> str | None:
    if parts.scheme not in {"http", "https"}:
        return "must start with http:// or https://"
    if not host:
        return "names no host"
    if parts.username is not None or parts.password is not None:
        return "must hold no user or password: keys come from the environment"
    if parts.query or parts.fragment:
        return "must hold no query and no fragment: keys come from the environment"
    if "%" in host and ":" not in host:  # the scope of an IPv6 address alone is written with one
        return "must hold no % in its host"
    if is_forbidden(host):
        return f"{host} is a link-local or metadata address"
    return None


def _is_forbidden_ip(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _FORBIDDEN_NETWORKS)


def _read_ip(name: str) -> IPv4Address | IPv6Address | None:
    """The address in whatever spelling: decimal, octal and hexadecimal, too."""
    try:
        return ip_address(name.partition("%")[0])
    except ValueError:
        return _read_legacy(name)


def _unwrap(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """The address and every IPv4 address that it stands for, or leads to through a gateway or tunnel."""
    yield address
    if isinstance(address, IPv4Address):
        return
    bits = int(address)
    last = IPv4Address(bits & 0xFFFFFFFF)
    yield from filter(None, (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())))
    if any(address in network for network in _CARRIERS) or bits >> 32 & 0xFFFFFFFF in _ISATAP or last in _WELL_KNOWN:
        yield last
    if address in _LOCAL_NAT64:
        yield from (_read_embedded(bits, prefix) for prefix in _PREFIX_BITS)


def _read_embedded(bits: int, prefix: int) -> IPv4Address:
    """The IPv4 address that stands after a prefix of so many bits; bits 64 to 71 are left out of it (RFC 6052)."""
    if prefix == 96:
        return IPv4Address(bits & 0xFFFFFFFF)
    text = f"{bits:0128b}"
    packed = (text[:64] + text[72:])[prefix : prefix + 32]
    return IPv4Address(int(packed, 2))


def _read_legacy(name: str) -> IPv4Address | None:
    if not _NUMBER.fullmatch(name):
        return None
    try:
        return IPv4Address(socket.inet_aton(name))
    except OSError:
        return None
