from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestratex.domain.session import Session
from tests.unit.engine.test_events import told

if TYPE_CHECKING:
    from tests.unit.api.conftest import Client


def test_a_session_is_opened(client: Client) -> None:
    answer = client.post("/v1/sessions", {"user_id": "ada", "cost_limit": 0.5, "max_iterations": 4})

    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["Location"] == f"/v1/sessions/{body['id']}"
    assert (body["user_id"], body["cost_limit"], body["max_iterations"]) == ("ada", 0.5, 4)
    assert client.get(answer.headers["Location"]).json() == body


def test_a_session_is_ended_once(client: Client) -> None:
    session_id = client.post("/v1/sessions", {}).json()["id"]

    first = client.post(f"/v1/sessions/{session_id}/end").json()
    second = client.post(f"/v1/sessions/{session_id}/end").json()

    assert first["status"] == "completed"
    assert first == second


def test_a_session_is_rated(client: Client) -> None:
    session_id = client.post("/v1/sessions", {}).json()["id"]

    rated = client.patch(f"/v1/sessions/{session_id}", {"user_satisfaction": 8})
    refused = [client.patch(f"/v1/sessions/{session_id}", {"user_satisfaction": each}) for each in (11, True, "8")]

    assert rated.json()["user_satisfaction"] == 8
    assert [(each.status_code, each.json()["field"]) for each in refused] == [(422, "user_satisfaction")] * 3
    assert client.get(f"/v1/sessions/{session_id}").json()["user_satisfaction"] == 8
    (event,) = told(client.world, "session_rated")
    assert (str(event.session_id), event.details) == (session_id, {"user_satisfaction": 8})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"user_id": ""}, "user_id"),
        ({"cost_limit": -0.01}, "cost_limit"),
        ({"max_iterations": 11}, "max_iterations"),
        ({"evaluators": []}, "evaluators"),
        ({"preferred_models": ["nope"]}, "preferred_models"),
        ({"preferred_models": ["\ud83d"]}, "preferred_models"),
        ({"evaluators": ["gpt4", "gpt4"]}, "evaluators"),
        ({"user_id": "\ud83d"}, "user_id"),
        ({"max_iterations": True}, "max_iterations"),
        ({"cost_limit": True}, "cost_limit"),
        ({"deadline_s": 3601}, "deadline_s"),
    ],
)
def test_bad_input_opens_nothing(client: Client, body: dict[str, object], field: str) -> None:
    answer = client.post("/v1/sessions", body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert client.world.store._all(Session) == []


def test_a_session_that_is_not_there(client: Client) -> None:
    assert client.get("/v1/sessions/" + "0" * 24).status_code == 404
    assert client.post("/v1/sessions/" + "0" * 24 + "/end").status_code == 404
    assert client.patch("/v1/sessions/" + "0" * 24, {"user_satisfaction": 5}).status_code == 404
