"""Who a request was meant for and which page sent it: what the API, Flower and the sandbox check alike.

A browser sends requests for any page. It reaches us under a name that the page's owner points at this machine (then the
Host is foreign), or under our own name from a foreign page (then Origin or Sec-Fetch-Site say so). Other programs send
neither of the two and pass.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})  # none: typed into the address bar
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, out of reach for others."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_served(host: str, names: Collection[str] = ()) -> bool:
    """Whether a Host header names this machine's loopback, or one of `names` (in small letters)."""
    found = _HOST.fullmatch(host)
    if not found:
        return False
    name = found[1].strip("[]").lower()
    return name in names or is_loopback(name)


def changes_state(method: str) -> bool:
    """Whether a request of this method may change anything."""
    return method not in _SAFE_METHODS


def is_from_elsewhere(host: str, *, origins: Sequence[str], sites: Sequence[str]) -> bool:
    """Whether a browser says that a page of another origin than `host` sent the request.

    `origins` and `sites` are all the Origin and Sec-Fetch-Site headers: one that is foreign is enough.
    """
    return any(site.lower() not in _OWN_SITES for site in sites) or any(not _is_own(each, host) for each in origins)


def refuse(
    method: str, host: str, *, origins: Sequence[str], sites: Sequence[str], names: Collection[str] = ()
) -> tuple[HTTPStatus, str, str] | None:
    """The status, the header at fault and the reason where a request must not be served; None where it may.

    Reading across origins is left to the browser: it shows no answer of ours to a page that did not come from us.
    """
    if not is_served(host, names):
        return HTTPStatus.MISDIRECTED_REQUEST, "Host", "only loopback addresses are served"
    if changes_state(method) and is_from_elsewhere(host, origins=origins, sites=sites):
        return HTTPStatus.FORBIDDEN, "Origin", "a page of another origin must not change anything here"
    return None


def _is_own(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    default = _DEFAULT_PORTS.get(parts.scheme.lower())
    if default is None:  # "null", a file, an extension
        return False
    return parts.netloc.lower().removesuffix(default) == host.lower().removesuffix(default)
