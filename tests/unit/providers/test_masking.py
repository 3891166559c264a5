"""Keys that a provider repeats, in whatever spelling, and signs that nobody sees."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from orchestratex.domain.response import Completion
from orchestratex.errors import ProviderError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.dialects import DIALECTS
from orchestratex.providers.http import HttpClient
from orchestratex.providers.masking import Mask
from tests.unit.providers.conftest import Endpoint, reply

KEY = "sk-Very/Secret+key=1234~5"
REQUEST = CompletionRequest(
    model_name="gpt4", model_version="m", system="s", user="u", max_tokens=9, idempotency_key="abc.1"
)

UNSEEN = "\0\x1b\x7f\x85\xad\u034f\u061c\u180e\u2028\u202e\u2066\u3164\ufe0f\ufff9\U000e0041"
SPELLINGS: list[Callable[[str], str]] = [
    str,
    str.upper,
    str.lower,
    lambda key: quote(key, safe=""),
    lambda key: quote(key, safe="").lower(),
    lambda key: "".join(f"%{ord(char):02x}" for char in key),
    lambda key: quote(quote(key, safe=""), safe=""),
    lambda key: key.replace("/", "\\/"),
    lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    lambda key: "".join(f"\\\\u{ord(char):04X}" for char in key),
    lambda key: "".join(f"\\x{ord(char):02x}" for char in key),
    lambda key: "".join(f"&#{ord(char)};" for char in key),
    lambda key: "".join(f"&#x{ord(char):x};" for char in key),
    lambda key: html.escape(key),
    lambda key: base64.b64encode(key.encode()).decode(),
    lambda key: base64.urlsafe_b64encode(f"Bearer {key}".encode()).decode(),
    lambda key: base64.b64encode(f"x{key} and more".encode()).decode().rstrip("="),
    lambda key: base64.b64encode(f"xy{key}".encode()).decode(),
    lambda key: key.encode().hex(),
    lambda key: "\u200b".join(key),
    lambda key: f"{key[:9]}\n{key[9:18]}\r\n{key[18:]}",
    lambda key: "".join(f"%u{ord(char):04x}" for char in key),
    lambda key: quote(quote(quote(key, safe=""), safe=""), safe=""),
    lambda key: "".join(f"\\U{ord(char):08x}" for char in key),
    lambda key: "".join(f"\\u{{{ord(char):x}}}" for char in key),
    lambda key: "".join(f"\\{ord(char):03o}" for char in key),
    lambda key: "".join(f"&#{ord(char)}" for char in key),
    lambda key: key.replace("/", "&sol;").replace("+", "&plus;").replace("=", "&equals;"),
    lambda key: "".join(chr(ord(char) + 0xFEE0) for char in key),  # as wide as ideographs
    *(lambda key, sign=sign: sign.join(key) for sign in UNSEEN),
]


def finds_none(spelt: str, shown: str) -> bool:
    """No piece of the spelling of a dozen characters is left."""
    middle = spelt[6:-6]
    return all(middle[at : at + 12] not in shown for at in range(max(1, len(middle) - 12)))


def name_exchange(spelt: str) -> dict[str, str]:
    """A header that holds it, where a header can."""
    return {"x-request-id": spelt} if spelt.isascii() and spelt.isprintable() else {}


@pytest.mark.parametrize("spell", SPELLINGS)
def test_a_key_is_hidden_in_every_spelling(spell: Callable[[str], str]) -> None:
    spelt = spell(KEY)

    shown = Mask([KEY]).hide(f"wrong key '{spelt}', sorry")

    assert finds_none(spelt, shown)
    assert shown.startswith("wrong key '")
    assert shown.endswith("', sorry")


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("status", [200, 400, 401, 503])
@pytest.mark.parametrize("dialect", list(DIALECTS))
def test_no_error_repeats_a_key(
    http: HttpClient, endpoint: Endpoint, spell: Callable[[str], str], status: int, dialect: str
) -> None:
    spelt = spell(KEY)
    bodies = [
        f"<p>{spelt}</p>",
        json.dumps({"error": {"message": f"bad {spelt}", "code": 400}}),
        f'{{"error": "{spelt}"}}',
    ]
    provider = DIALECTS[dialect](http, base_url=endpoint.url, api_key=SecretStr(KEY))

    for body in bodies:
        endpoint.answer = reply(status, body, name_exchange(spelt))
        with pytest.raises(ProviderError) as caught:
            provider.complete(REQUEST)

        assert finds_none(spelt, str(caught.value))
        assert finds_none(spelt, str(caught.value.__cause__))


@pytest.mark.parametrize("spell", SPELLINGS)
def test_no_completion_holds_a_key(http: HttpClient, endpoint: Endpoint, spell: Callable[[str], str]) -> None:
    spelt = spell(KEY)
    choice = {"message": {"content": f"You sent {spelt} to me."}, "finish_reason": "stop"}
    body = {"id": spelt, "model": f"m-{spelt}", "choices": [choice]}
    endpoint.answer = reply(body=json.dumps(body), headers=name_exchange(spelt))
    provider = DIALECTS["openai"](http, base_url=endpoint.url, api_key=SecretStr(KEY))

    completion = provider.complete(REQUEST)

    assert completion.text.startswith("You sent ")
    assert "***" in completion.text
    assert finds_none(spelt, completion.model_dump_json())


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_no_completion_in_another_encoding_holds_a_key(http: HttpClient, endpoint: Endpoint, encoding: str) -> None:
    body = json.dumps({"choices": [{"message": {"content": f"You sent {KEY}."}}], "model": KEY})
    endpoint.answer = reply(body=body.encode(encoding))
    provider = DIALECTS["openai"](http, base_url=endpoint.url, api_key=SecretStr(KEY))

    completion = provider.complete(REQUEST)

    assert (completion.text, completion.model_version) == ("You sent ***.", "***")


def test_escaped_json_is_masked_after_it_was_read(http: HttpClient, endpoint: Endpoint) -> None:
    escaped = "".join(f"\\u{ord(char):04x}" for char in KEY)
    endpoint.answer = reply(body=f'{{"choices": [{{"message": {{"content": "a {escaped} b"}}}}], "id": "{escaped}"}}')
    provider = DIALECTS["openai"](http, base_url=endpoint.url, api_key=SecretStr(KEY))

    completion: Completion = provider.complete(REQUEST)

    assert (completion.text, completion.request_id) == ("a *** b", "***")


def test_the_password_of_a_proxy_is_hidden_too(endpoint: Endpoint) -> None:
    proxy = endpoint.url.removesuffix("/v1").replace("://", "://user:pass%2Fword-123@")
    endpoint.answer = reply(407, "you said pass/word-123")
    proxied = HttpClient(pool_size=1, connect_timeout_s=5, read_timeout_s=5, max_bytes=10_000, proxy=proxy)

    with pytest.raises(ProviderError) as caught:
        proxied.get_json("gpt4", "http://localhost:9/v1", {})
    proxied.close()

    assert "pass/word" not in str(caught.value)


def test_a_key_at_the_cut_leaves_no_beginning() -> None:
    for filler in range(270, 300):
        assert "sk-Ver" not in Mask([KEY]).excerpt("a" * filler + KEY)
    assert "sk-Ver" not in Mask([KEY]).excerpt(KEY * 5000, length=3000)


def test_words_are_no_keys() -> None:
    assert Mask(["none", "", "secret"]).hide("none is secret") == "none is secret"


@pytest.mark.parametrize(
    "sign", ["\x1b[31m", "\x9b31m", "\x07", "\u202e", "\u200b", "\u2066", "\U000e0041", "\ud800", "\x00", "\u2028"]
)
def test_what_nobody_sees_is_in_no_error_and_no_name(http: HttpClient, endpoint: Endpoint, sign: str) -> None:
    message = f"no{sign}such{sign}thing"
    endpoint.answer = reply(400, json.dumps({"error": {"message": message}}))
    with pytest.raises(ProviderError) as caught:
        http.post_json("gpt4", endpoint.url, {}, {})
    provider = DIALECTS["openai"](http, base_url=endpoint.url, api_key=SecretStr(KEY))
    body = {"id": message, "model": message, "choices": [{"message": {"content": "Hi"}}]}
    endpoint.answer = reply(body=json.dumps(body))

    completion = provider.complete(REQUEST)

    for text in (str(caught.value), str(completion.request_id), str(completion.model_version)):
        assert sign[0] not in text
        assert "such" in text


HOSTILE: list[Callable[[int], str]] = [
    lambda size: "\\" * size,
    lambda size: "%" * size,
    lambda size: "&#0" * (size // 3),
    lambda size: "s" * size,
    lambda size: (KEY[:-1] * (size // len(KEY) + 1))[:size],
    lambda size: "\\u0073" * (size // 6),
    lambda size: "\u202e" * size,
]


@pytest.mark.parametrize("make", HOSTILE)
def test_hiding_takes_linear_time(make: Callable[[int], str]) -> None:
    mask = Mask([KEY])

    def measure(size: int) -> float:
        text = make(size)
        started = time.thread_time()
        mask.hide(text)
        mask.excerpt(text)
        return time.thread_time() - started

    small, large = (min(measure(size) for _ in range(3)) for size in (20_000, 200_000))

    assert large < 40 * small + 0.01


def test_every_text_of_a_value_is_reached_however_deep() -> None:
    body: Any = KEY
    for _ in range(5000):
        body = [{KEY: body}]

    hidden = Mask([KEY]).hide_all(KEY.encode(), body)

    for _ in range(5000):
        assert list(hidden[0]) == ["***"]
        hidden = hidden[0]["***"]
    assert hidden == "***"
