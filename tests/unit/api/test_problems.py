"""What is told of bad requests: all of it at once, in our words, under names that stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from orchestratex.errors import StoreUnavailableError

if TYPE_CHECKING:
    from tests.unit.api.conftest import Client

NAMES = "urn:orchestratex:problem:"


def _read(answer: Any) -> dict[str, str]:
    return {each["field"]: each["detail"] for each in answer.json()["errors"]}


def test_several_mistakes_in_one_body_are_told_at_once(client: Client) -> None:
    body = {
        "prompt": " ",
        "max_iterations": 11,
        "quality_threshold": "9",
        "preferred_models": ["nobody"],
        "deadline_s": 10**6,
        "colour": "blue",
        "selection_strategy": "luck",
    }

    answer = client.post("/v1/threads", body)

    assert answer.status_code == 422
    assert _read(answer) == {
        "prompt": "prompt: is empty; write what you want to know",
        "max_iterations": "max_iterations: must be at most 10",
        "quality_threshold": "quality_threshold: must be a number",
        "preferred_models": "preferred_models: unknown: nobody; known are claude, gemini, gpt4, gpt4-turbo, grok, "
        "llama, mistral, qwen",
        "deadline_s": "deadline_s: must be at most 3600, the installation's own deadline",
        "colour": "colour: is a name that is not known here",
        "selection_strategy": "selection_strategy: must be one of domain_match, performance, cost, hybrid",
    }
    assert all(text in answer.json()["detail"] for text in _read(answer).values())


def test_mistakes_that_only_the_installation_knows_are_told_at_once(client: Client) -> None:
    answer = client.post("/v1/sessions", {"preferred_models": ["a"], "evaluators": ["b"], "deadline_s": 10**6})

    assert sorted(_read(answer)) == ["deadline_s", "evaluators", "preferred_models"]


def test_what_belongs_to_the_session_is_told_at_once(client: Client) -> None:
    session_id = client.post("/v1/sessions", {}).json()["id"]

    answer = client.post("/v1/threads", {"prompt": "p", "session_id": session_id, "user_id": "ann", "cost_limit": 1})

    assert answer.status_code == 409
    assert sorted(_read(answer)) == ["cost_limit", "user_id"]


def test_so_many_mistakes_are_not_all_told(client: Client) -> None:
    answer = client.post("/v1/sessions", {f"name{number}": 1 for number in range(1000)})

    assert len(answer.json()["errors"]) == 20
    assert len(answer.text) < 10_000


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"max_iterations": 0}, "max_iterations: must be at least 1"),
        ({"max_iterations": 1.5}, "max_iterations: must be a whole number"),
        ({"user_id": ""}, "user_id: must have at least 1 character"),
        ({"user_id": "x" * 201}, "user_id: must have at most 200 characters"),
        ({"user_id": 7}, "user_id: must be text"),
        ({"preferred_models": "gpt4"}, "preferred_models: must be a list"),
        ({"preferred_models": ["GPT 4"]}, "preferred_models: entry 1: must be a model's name"),
        ({"evaluators": []}, "evaluators: must have at least 1 entry"),
        ({"effort": "much"}, "effort: must be one of none, low, medium, high"),
        ({"cost_limit": 10**7}, "cost_limit: must be at most 1000000"),
        ([], "body: must be an object of names and values"),
    ],
)
def test_limits_are_told_in_our_words(client: Client, body: object, detail: str) -> None:
    answer = client.post("/v1/sessions", body)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert "Input should" not in answer.text


@pytest.mark.parametrize("path", ["/v1/threads", "/v1/sessions"])
@pytest.mark.parametrize("field", ["preferred_models", "excluded_models", "evaluators"])
def test_half_a_surrogate_pair_in_a_name_is_bad_input(client: Client, path: str, field: str) -> None:
    body = f'{{"prompt": "a", "{field}": ["\\ud83d"]}}'.replace(
        '"prompt": "a", ', "" if "sessions" in path else '"prompt": "a", '
    )

    answer = client.call("POST", path, data=body, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["field"]) == (422, field)


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "name"),
    [
        ("GET", "/nope", {}, 404, "no-such-path"),
        ("GET", "/v1/threads/6b09f7a570e108e310891f8f", {}, 404, "not-found"),
        ("GET", "/v1/threads/x", {}, 422, "invalid-input"),
        ("DELETE", "/v1/threads", {}, 405, "method-not-allowed"),
        ("POST", "/v1/threads", {"data": "{}", "headers": {"Content-Type": "text/plain"}}, 415, "not-json"),
        (
            "POST",
            "/v1/threads",
            {"data": "{", "headers": {"Content-Type": "application/json"}},
            400,
            "malformed-request",
        ),
        ("POST", "/v1/threads", {"data": b"x" * 5_000_001}, 413, "body-too-large"),
        ("GET", "/healthz", {"headers": {"Host": "example.com"}}, 421, "foreign-host"),
    ],
)
def test_every_problem_says_what_kind_it_is_and_what_is_wrong(
    client: Client, method: str, path: str, options: dict[str, Any], status: int, name: str
) -> None:
    answer = client.call(method, path, **options)

    body = answer.json()
    assert (answer.status_code, body["type"], body["status"]) == (status, NAMES + name, status)
    assert body["detail"] != body["title"]


def test_a_conflict_says_what_kind_it_is(client: Client) -> None:
    thread_id = client.post("/v1/threads", {"prompt": "What is a monad?"}).json()["id"]

    answer = client.post(f"/v1/threads/{thread_id}/retry")

    assert (answer.status_code, answer.json()["type"]) == (409, NAMES + "conflict")
    assert "still runs" in answer.json()["detail"]


def test_a_store_that_is_away_is_named_by_kind(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_id: object) -> None:
        raise StoreUnavailableError("MongoDB at db:27017 does not answer")

    monkeypatch.setattr(client.world.store, "get_thread", fail)

    answer = client.get("/v1/threads/6b09f7a570e108e310891f8f")

    assert (answer.status_code, answer.json()["type"]) == (503, NAMES + "store-unavailable")


def test_kinds_are_described(client: Client) -> None:
    described = client.get("/openapi.json").json()["paths"]["/v1/threads"]["post"]["responses"]
    schema = described["405"]["content"]["application/problem+json"]["schema"]

    assert NAMES + "invalid-input" in schema["properties"]["type"]["enum"]


def test_a_wrong_method_is_told_the_right_ones(client: Client) -> None:
    answer = client.call("DELETE", "/v1/threads")

    assert answer.json()["detail"] == "this path does not take DELETE; it takes POST"


def test_a_sessions_id_is_told_from_a_threads(client: Client) -> None:
    accepted = client.post("/v1/threads", {"prompt": "What is a monad?"}).json()

    as_thread = client.get(f"/v1/threads/{accepted['session_id']}")
    as_session = client.get(f"/v1/sessions/{accepted['id']}")
    joined = client.post("/v1/threads", {"prompt": "p", "session_id": accepted["id"]})

    assert {as_thread.status_code, as_session.status_code, joined.status_code} == {404}
    assert f"names a session, not a thread; its threads are {accepted['id']}" in as_thread.json()["detail"]
    assert f"its session is {accepted['session_id']}" in as_session.json()["detail"]
    assert f"its session is {accepted['session_id']}" in joined.json()["detail"]
