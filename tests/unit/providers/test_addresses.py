from __future__ import annotations

import socket

import pytest

from orchestratex.errors import InputError, ProviderNotFoundError
from orchestratex.providers.addresses import check_base_url, is_forbidden
from orchestratex.providers.http import HttpClient


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
