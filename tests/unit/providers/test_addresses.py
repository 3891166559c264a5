from __future__ import annotations

import socket

import pytest

from orchestratex.errors import InputError, ProviderNotFoundError
from orchestratex.providers.addresses import check_base_url, is_forbidden
from orchestratex.providers.http import HttpClient
from tests.unit.providers.conftest import Endpoint


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://127.0.0.1:11434/v1",
        "http://localhost:8000",
        "http://10.1.2.3/v1",
        "http://[::1]:8000/v1",
        "https://metadata.example.org",
        "http://169.253.1.1",
        "http://[::1]",
        "http://[64:ff9b:1::8.8.8.8]/v1",
        "http://[64:ff9b::8.8.8.8]/v1",
        "http://[2002:808:808::]/v1",
        "https://[2606:4700::6810:84e5]/v1",
        "https://xn--bcher-kva.example/v1",
    ],
)
def test_web_addresses_are_taken_as_they_are(url: str) -> None:
    assert check_base_url(url) == url


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1:80",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "169.16689662",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:a9fe:a9fe::]",
        "100.100.100.200",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "metadata",
        "[::169.254.169.254]",
        "[::a9fe:a9fe]",
        "[::ffff:0:169.254.169.254]",
        "[64:ff9b:1::169.254.169.254]",
        "[64:ff9b:1:a9fe:a9:fe00::]",
        "[64:ff9b:1:a9:fe:a9fe::]",
        "[64:ff9b:1:0:a9:fea9:fe00:0]",
        "[64:ff9b:1:7:8::a9fe:a9fe]",
        "[2001:0:a9fe:a9fe::1]",
        "[2001:0:4136:e378:8000:63bf:5601:5601]",
        "[fe80::5efe:169.254.169.254]",
        "[2001:db8::200:5efe:169.254.169.254]",
        "[2001:db8::169.254.169.254]",
        "[::ffff:100.100.100.200]",
        "[64:ff9b::168.63.129.16]",
        "168.63.129.16",
        "192.0.0.192",
        "[fd20:ce::254]",
        "[fd00:42::42]",
        "169.254.170.2",
        "169.254.169.254.",
        "0xA9.0xFE.0xA9.0xFE",
        "0xa9.254.0251.254",
        "169.254.43518",
        "\uff11\uff16\uff19.254.169.254",
        "169\u3002254\u3002169\u3002254",
        "\u2460\u2465\u2468.254.169.254",
        "metadata.azure.internal",
        "metadata.tencentyun.com",
    ],
)
def test_metadata_addresses_are_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(InputError, match="link-local or metadata") as caught:
        check_base_url(f"http://{host}/v1")

    assert caught.value.field == "api_endpoint"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://example.org", "http"),
        ("file:///etc/passwd", "http"),
        ("example.org/v1", "http"),
        ("", "http"),
        ("http://", "no host"),
        ("http://[::1", "no address"),
        ("http://host:99999", "no address"),
        ("http://user:secret@example.org", "user or password"),
        ("https://example.org/v1?key=secret", "query"),
        ("http://example.org\\@169.254.169.254/", "backslashes"),
        ("http://example.org/\r\nX: y", "control"),
        ("http://169.254.169.%32%35%34/", "no %"),
        ("http://api%2eopenai.com/", "no %"),
    ],
)
def test_what_is_no_plain_web_address_is_refused(url: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        check_base_url(url, field="models_base_url")

    assert caught.value.field == "models_base_url"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["169.254.169.254", "fe80::1%eth0", "instance-data"])
def test_bare_hosts_are_recognised(name: str) -> None:
    assert is_forbidden(name)


def test_a_name_that_leads_to_a_metadata_address_gets_no_byte(
    http: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = socket.socketpair()

    class Connected(socket.socket):
        def getpeername(self) -> tuple[str, int]:
            return ("169.254.169.254", 80)

    connected = Connected(ours.family, ours.type, fileno=ours.detach())
    monkeypatch.setattr("urllib3.util.connection.create_connection", lambda *_, **__: connected)

    with pytest.raises(ProviderNotFoundError, match="metadata address"):
        http.get_json("gpt4", "http://innocent.example/v1/models", {"Authorization": "Bearer sk-12345678"})

    with theirs:
        assert theirs.recv(100) == b""


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "64:ff9b:1::a9fe:a9fe"]
)
def test_a_name_is_looked_up_before_a_proxy_goes_there(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def look_up(host: str, port: int, *_: object, **__: object) -> list[object]:
        addresses = {"innocent.example": ["8.8.8.8", address]}.get(host, [host])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    proxied = make_proxied(endpoint)
    monkeypatch.setattr("socket.getaddrinfo", look_up)
    with pytest.raises(ProviderNotFoundError, match="nothing was sent"):
        proxied.get_json("gpt4", "http://innocent.example/v1/models", {"Authorization": "Bearer sk-12345678"})
    proxied.close()

    assert endpoint.requests == []


@pytest.mark.parametrize("host", ["169.254.169.254", "nobody-knows.invalid", "0xa9fea9fe", "metadata"])
def test_behind_a_proxy_nothing_is_sent_to_who_knows_where(endpoint: Endpoint, host: str) -> None:
    proxied = make_proxied(endpoint)

    with pytest.raises(ProviderNotFoundError, match="nothing was sent"):
        proxied.get_json("gpt4", f"http://{host}/v1/models", {})
    proxied.close()

    assert endpoint.requests == []


def test_behind_a_proxy_a_name_that_can_be_looked_up_is_asked(endpoint: Endpoint) -> None:
    proxied = make_proxied(endpoint)

    assert proxied.get_json("gpt4", "http://localhost:9/v1/models", {}) == {}
    proxied.close()

    assert endpoint.requests[0][0] == "http://localhost:9/v1/models"


def make_proxied(endpoint: Endpoint) -> HttpClient:
    proxy = endpoint.url.removesuffix("/v1")
    return HttpClient(pool_size=1, connect_timeout_s=5, read_timeout_s=30, max_bytes=10_000, proxy=proxy)
