"""What browsers may and may not do here, and which bodies are read at all."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from orchestratex.api.bodies import BodyError, check_json
from orchestratex.browsers import is_from_elsewhere, is_served
from orchestratex.domain.inputs import shorten
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread

if TYPE_CHECKING:
    from tests.support import World
    from tests.unit.api.conftest import Client

JSON = {"Content-Type": "application/json"}
PROBLEM = "application/problem+json"
FOREIGN = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "file://"},
    {"Origin": "http://localhost:1"},
    {"Origin": "http://[::1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "unheard-of"},
]


def state(world: World) -> list[object]:
    return [*world.store._all(Session), *world.store._all(Thread)]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_pages_of_other_origins_change_nothing(client: Client, headers: dict[str, str]) -> None:
    thread = client.world.solve("What is a monad?", max_iterations=1)
    before = state(client.world)

    answers = [
        client.call("POST", f"/v1/threads/{thread.id}/cancel", headers=headers),
        client.call("POST", f"/v1/threads/{thread.id}/retry", headers=headers),
        client.call("POST", f"/v1/sessions/{thread.session_id}/end", headers=headers),
        client.call("PATCH", f"/v1/threads/{thread.id}", json={"user_accepted": True}, headers=headers),
        client.call("PATCH", f"/v1/sessions/{thread.session_id}", json={"user_satisfaction": 8}, headers=headers),
        client.call("POST", "/v1/threads", json={"prompt": "x"}, headers=headers),
        client.call("POST", "/v1/sessions", json={}, headers=headers),
    ]

    assert {(each.status_code, each.headers["Content-Type"]) for each in answers} == {(403, PROBLEM)}
    assert {each.json()["field"] for each in answers} == {"Origin"}
    assert state(client.world) == before


def test_our_own_pages_and_programs_may_change_things(client: Client) -> None:
    thread = client.world.submit("What is a monad?")
    own = {"Origin": client.address, "Sec-Fetch-Site": "same-origin"}

    answers = [
        client.call("POST", "/v1/threads", json={"prompt": "x"}, headers=own),
        client.call("POST", f"/v1/threads/{thread.id}/cancel", headers=own),
        client.call("POST", f"/v1/threads/{thread.id}/cancel", headers={"Sec-Fetch-Site": "none"}),
        client.call("POST", f"/v1/threads/{thread.id}/cancel"),
    ]

    assert [answer.status_code for answer in answers] == [202, 200, 200, 200]


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonp",
        "application/json; charset=utf-16",
        "",
    ],
)
def test_what_forms_can_send_changes_nothing(client: Client, kind: str) -> None:
    thread = client.world.submit("What is a monad?")
    before = state(client.world)
    actions = [f"threads/{thread.id}/cancel", f"threads/{thread.id}/retry", f"sessions/{thread.session_id}/end"]

    answers = [
        client.call("POST", f"/v1/{path}", data=data, headers={"Content-Type": kind})
        for path in (*actions, "threads", "sessions")
        for data in (b"{}", b"")
    ]

    assert {(each.status_code, each.headers["Content-Type"]) for each in answers} == {(415, PROBLEM)}
    assert state(client.world) == before


def test_a_body_without_its_type_is_not_guessed_at(client: Client) -> None:
    answer = client.call("POST", "/v1/threads", data=b'{"prompt": "x"}')

    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["detail"]


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_by_any_spelling_is_read(client: Client, kind: str) -> None:
    answer = client.call("POST", "/v1/threads", data=b'{"prompt": "x"}', headers={"Content-Type": kind})

    assert answer.status_code == 202


BAD_JSON = {
    "nothing closed": b"{",
    "two values": b'{"prompt": "x"} {}',
    "a name twice": b'{"prompt": "x", "prompt": "y"}',
    "a name twice, written out": b'{"prompt": "x", "pr\\u006fmpt": "y"}',
    "a name twice inside": b'{"prompt": "x", "a": {"b": 1, "b": 2}}',
    "NaN": b'{"prompt": "x", "cost_limit": NaN}',
    "infinity": b'{"prompt": "x", "cost_limit": -Infinity}',
    "a large exponent": b'{"prompt": "x", "cost_limit": 1e999}',
    "many digits": b'{"prompt": "x", "cost_limit": 1' + b"0" * 100 + b"}",
    "very many digits": b'{"prompt": "x", "cost_limit": ' + b"9" * 100_000 + b"}",
    "half a character": b'{"prompt": "\xc3"}',
    "a surrogate in bytes": b'{"prompt": "\xed\xa0\x80"}',
    "UTF-16": '{"prompt": "x"}'.encode("utf-16"),
    "UTF-32": '{"prompt": "x"}'.encode("utf-32-be"),
    "a byte order mark": b'\xef\xbb\xbf{"prompt": "x"}',
    "a control character": b'{"prompt": "\x00"}',
    "a comment": b'{"prompt": "x"} // y',
    "deep lists": b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and open": b"[" * 1_000_000,
    "only spaces": b" " * 1000,
}


def test_what_is_no_json_is_refused_and_changes_nothing(client: Client) -> None:
    for name, body in BAD_JSON.items():
        answer = client.call("POST", "/v1/threads", data=body, headers=JSON)
        told = (answer.status_code, answer.headers["Content-Type"], answer.json()["field"])

        assert (name, *told) == (name, 400, PROBLEM, "body")
        assert len(answer.content) < 1000
    assert state(client.world) == []


def test_json_of_another_shape_is_bad_input(client: Client) -> None:
    for body in (b"null", b"[]", b'"x"', b"1", b"true", b"[" * 16 + b"]" * 16):
        assert client.call("POST", "/v1/threads", data=body, headers=JSON).status_code == 422
    assert state(client.world) == []


def test_brackets_in_a_text_are_no_depth(client: Client) -> None:
    prompt = '{"[' * 5000 + '\\"[[['

    answer = client.post("/v1/threads", {"prompt": prompt})

    assert answer.status_code == 202
    assert client.world.store._all(Thread)[0].original_prompt == prompt


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "quotes": lambda n: b'"' * n,
    "backslashes": lambda n: b'"' + b"\\" * n,
    "brackets": lambda n: b"[" * n,
    "strings": lambda n: b'["' + b'\\"' * (n // 2) + b"[" * 20,
    "pairs": lambda n: b"{" + b'"a":[],' * (n // 7),
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_reading_a_body_takes_time_in_its_length_alone(make: Callable[[int], bytes]) -> None:
    def measure(length: int) -> float:
        body, best = make(length), float("inf")
        for _ in range(3):
            start = time.process_time()
            with pytest.raises(BodyError):
                check_json(body)
            best = min(best, time.process_time() - start)
        return best

    assert measure(1_000_000) < max(25 * measure(100_000), 0.1)


def test_every_answer_says_how_to_treat_it(client: Client) -> None:
    thread = client.world.submit("What is a monad?")
    answers = [
        client.get("/healthz"),
        client.get(f"/v1/threads/{thread.id}"),
        client.get("/nope"),
        client.get("/healthz", headers={"Host": "evil.example"}),
        client.call("POST", "/v1/threads", data=b"{", headers=JSON),
    ]

    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_a_wrong_method_is_told_all_the_right_ones(client: Client) -> None:
    thread = client.world.submit("What is a monad?")

    allowed = {
        path: client.call("DELETE", path).headers["Allow"]
        for path in (f"/v1/threads/{thread.id}", f"/v1/sessions/{thread.session_id}", "/v1/threads", "/healthz")
    }

    assert list(allowed.values()) == ["GET, HEAD, PATCH", "GET, HEAD, PATCH", "POST", "GET, HEAD"]


def test_the_page_that_describes_the_api_loads_nothing_from_outside(client: Client) -> None:
    page = client.get("/")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    parts = [client.get(address) for address in addresses if not address.startswith("data:")]

    assert page.url.endswith("/docs")
    assert len(parts) == 3
    assert all(part.status_code == 200 and part.content for part in parts)
    assert all(address.startswith(("/docs/", "data:")) for address in addresses)
    assert "//" not in page.text.replace("<!DOCTYPE html>", "")
    assert not re.findall(r"url\(\s*[\"']?(?:https?:)?//|@import", parts[0].text)
    assert {part.headers["Content-Type"].partition(";")[0] for part in parts} == {"text/css", "text/javascript"}
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "http" not in policy
    assert "<script>" not in page.text


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("LocalHost:80", True),
        ("127.8.9.1", True),
        ("[::1]:8000", True),
        ("", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil@localhost", False),
        ("localhost, evil.example", False),
        ("localhost:80:evil.example", False),
        ("localhost:", False),
        ("[::1", False),
        ("0.0.0.0", False),
        ("2130706433", False),
        ("sandbox:8700", False),
    ],
)
def test_only_names_of_this_machine_are_ours(host: str, is_ours: bool) -> None:
    assert is_served(host) is is_ours


@pytest.mark.parametrize(
    ("origin", "host", "is_foreign"),
    [
        ("http://localhost:8000", "localhost:8000", False),
        ("http://LOCALHOST:8000", "localhost:8000", False),
        ("http://localhost", "localhost:80", False),
        ("http://localhost:80", "localhost", False),
        ("https://localhost", "localhost", False),
        ("http://127.0.0.1:8000", "localhost:8000", True),
        ("http://localhost:8001", "localhost:8000", True),
        ("http://evil.example", "localhost", True),
        ("http://user@localhost", "localhost", True),
        ("chrome-extension://localhost", "localhost", True),
    ],
)
def test_an_origin_is_ours_where_its_name_and_port_are(origin: str, host: str, is_foreign: bool) -> None:
    assert is_from_elsewhere(host, origins=[origin], sites=[]) is is_foreign


def test_what_is_repeated_is_short_and_harmless() -> None:
    assert shorten("a\x1b[31m\u202e\ud83d\n\x9b\u200b\U000e0041é☃", 100) == (
        "a\\u001b[31m\\u202e\\ud83d\\u000a\\u009b\\u200b\\ue0041é☃"
    )
    assert shorten("x" * 100, 10) == "x" * 9 + "…"
    assert json.loads(json.dumps(shorten("\ud83d", 5))) == "\\ud83d"
