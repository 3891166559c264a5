from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bson import ObjectId

from orchestratex.domain.base import FinishReason
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from tests.make import make_profile
from tests.support import World
from tests.unit.engine.test_events import told

if TYPE_CHECKING:
    from tests.unit.api.conftest import Client, ServeSettings

UNKNOWN_ID = "0" * 24


def count_written(world: World) -> int:
    return len(world.store._all(Session)) + len(world.store._all(Thread))


def test_a_thread_is_taken_in_with_a_session_of_its_own(client: Client) -> None:
    answer = client.post("/v1/threads", {"prompt": "What is a monad?", "user_id": "ada", "cost_limit": 1})

    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/threads/{body['id']}"
    assert body["status"] == "initializing"
    session = client.get(f"/v1/sessions/{body['session_id']}").json()
    assert (session["user_id"], session["cost_limit"], session["status"]) == ("ada", 1.0, "active")


def test_a_thread_joins_the_session_that_it_names(client: Client) -> None:
    session_id = client.post("/v1/sessions", {"user_id": "ada"}).json()["id"]

    body = client.post("/v1/threads", {"prompt": "What is a monad?", "session_id": session_id}).json()

    assert body["session_id"] == session_id
    assert len(client.world.store._all(Session)) == 1


def test_the_final_response_is_shown_when_completed(client: Client) -> None:
    thread_id = client.post("/v1/threads", {"prompt": "What is a monad?", "max_iterations": 2}).json()["id"]

    client.world.run()

    body = client.get(f"/v1/threads/{thread_id}").json()
    assert body["status"] == "completed"
    assert body["final_response"]
    assert body["final_quality_score"] == max(body["progress"]["scores"])
    assert body["stop_reason"]
    assert body["total_cost"] > 0
    assert (body["finish_reason"], body["is_partial"]) == ("stop", False)


def test_a_final_response_that_is_not_whole_is_marked(client: Client) -> None:
    thread_id = client.post("/v1/threads", {"prompt": "What is a monad?", "max_iterations": 1}).json()["id"]
    client.world.run()
    changes = {"final_finish_reason": FinishReason.LENGTH, "is_final_partial": True}
    client.world.store.set_thread(ObjectId(thread_id), changes)

    body = client.get(f"/v1/threads/{thread_id}").json()

    assert (body["finish_reason"], body["is_partial"]) == ("length", True)


def test_no_intermediate_response_is_ever_shown(client: Client) -> None:
    thread_id = client.post("/v1/threads", {"prompt": "What is a monad?", "max_iterations": 3}).json()["id"]
    queue, seen = client.world.queue, []

    while queue.messages:
        client.world.work(queue.messages.pop(0))
        seen.append(client.get(f"/v1/threads/{thread_id}").json())

    assert len(seen) > 5
    assert all(body["final_response"] is None for body in seen if body["status"] != "completed")
    assert seen[-1]["final_response"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "   "}, "prompt"),
        ({"prompt": "x" * 200_001}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "x", "max_iterations": 0}, "max_iterations"),
        ({"prompt": "x", "max_iterations": 11}, "max_iterations"),
        ({"prompt": "x", "quality_threshold": 0.5}, "quality_threshold"),
        ({"prompt": "x", "cost_limit": -1}, "cost_limit"),
        ({"prompt": "x", "preferred_models": ["nope"]}, "preferred_models"),
        ({"prompt": "x", "excluded_models": ["nope"]}, "excluded_models"),
        ({"prompt": "x", "colour": "blue"}, "colour"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": "\u0000"}, "prompt"),
        ({"prompt": " \u200b\ufeff\x1b\n"}, "prompt"),
        ({"prompt": "x", "session_id": "abc"}, "session_id"),
        ({"prompt": "x", "context": "\ud83d"}, "context"),
        ({"prompt": "x", "user_id": "\ud83d"}, "user_id"),
        ({"prompt": "x", "preferred_models": ["\ud83d"]}, "preferred_models"),
        ({"prompt": "x", "excluded_models": ["\ud83d"]}, "excluded_models"),
        ({"prompt": "x", "evaluators": ["\ud83d"]}, "evaluators"),
        ({"prompt": "x", "preferred_models": ["GPT 4"]}, "preferred_models"),
        ({"prompt": "x", "excluded_models": ["gpt4", "gpt4"]}, "excluded_models"),
        ({"prompt": "x", "evaluators": ["gpt4"] * 65}, "evaluators"),
        ({"prompt": "x", "evaluators": "gpt4"}, "evaluators"),
        ({"prompt": "x", "max_iterations": True}, "max_iterations"),
        ({"prompt": "x", "max_iterations": "3"}, "max_iterations"),
        ({"prompt": "x", "max_iterations": 1.5}, "max_iterations"),
        ({"prompt": "x", "quality_threshold": True}, "quality_threshold"),
        ({"prompt": "x", "quality_threshold": "8"}, "quality_threshold"),
        ({"prompt": "x", "cost_limit": True}, "cost_limit"),
        ({"prompt": "x", "cost_limit": 10**39}, "cost_limit"),
        ({"prompt": "x", "deadline_s": True}, "deadline_s"),
        ({"prompt": "x", "effort": "extreme"}, "effort"),
        ({"prompt": "x", "deadline_s": 3601}, "deadline_s"),
        ({"prompt": True}, "prompt"),
    ],
)
def test_bad_input_is_named_and_writes_nothing(client: Client, body: dict[str, object], field: str) -> None:
    answer = client.post("/v1/threads", body)

    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["field"] == field
    assert problem["detail"].startswith(f"{field}: ")
    assert count_written(client.world) == 0


@pytest.mark.parametrize(("more", "field"), [({"cost_limit": 1}, "cost_limit"), ({"user_id": "ada"}, "user_id")])
def test_a_session_keeps_its_own_user_and_limit(client: Client, more: dict[str, object], field: str) -> None:
    answer = client.post("/v1/threads", {"prompt": "x", "session_id": UNKNOWN_ID, **more})

    assert (answer.status_code, answer.json()["field"]) == (409, field)
    assert count_written(client.world) == 0


@pytest.mark.parametrize("names", [["x" * 64] * 400_000, [f"m{n}" for n in range(400_000)], ["x" * 4_000_000]])
def test_what_is_wrong_is_not_repeated_at_length(client: Client, names: list[str]) -> None:
    body = json.dumps({"prompt": "x", "excluded_models": names})[:4_900_000]
    body = body if body.endswith("]}") else body.rpartition(",")[0] + "]}"

    answer = client.call("POST", "/v1/threads", data=body.encode(), headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["field"]) == (422, "excluded_models")
    assert len(answer.content) < 3000


@pytest.mark.parametrize("name", ["\ud83d", "x" * 100_000, "\u202egnp.exe", "a\x1b[31m", "a\nb"])
def test_a_field_that_nobody_knows_is_named_harmlessly(client: Client, name: str) -> None:
    answer = client.post("/v1/threads", {"prompt": "x", name: 1})

    assert answer.status_code == 422
    assert len(answer.content) < 3000
    assert answer.json()["field"].isprintable()


def test_names_may_be_as_many_as_the_limit_says(client: Client) -> None:
    profiles = [make_profile(f"m{n}", api_key_required=False) for n in range(70)]
    client.world.store.insert_profiles(profiles)

    taken = client.post("/v1/threads", {"prompt": "x", "excluded_models": [f"m{n}" for n in range(64)]})

    assert taken.status_code == 202


def test_a_model_cannot_be_preferred_and_excluded(client: Client) -> None:
    answer = client.post("/v1/threads", {"prompt": "x", "preferred_models": ["gpt4"], "excluded_models": ["gpt4"]})

    assert (answer.status_code, answer.json()["field"]) == (409, "preferred_models")
    assert count_written(client.world) == 0


def test_no_model_left_is_a_conflict_with_what_there_is(client: Client) -> None:
    names = [profile.model_name for profile in client.world.store.profiles()]

    all_out = client.post("/v1/threads", {"prompt": "x", "excluded_models": names})
    one_left = client.post("/v1/threads", {"prompt": "x", "excluded_models": names[1:]})

    assert (all_out.status_code, one_left.status_code) == (409, 409)
    assert "no model is left" in all_out.json()["detail"]
    assert "no evaluator is left" in one_left.json()["detail"]
    assert count_written(client.world) == 0


def test_an_ended_session_takes_no_threads(client: Client) -> None:
    session_id = client.post("/v1/sessions", {}).json()["id"]
    client.post(f"/v1/sessions/{session_id}/end")

    answer = client.post("/v1/threads", {"prompt": "x", "session_id": session_id})

    assert answer.status_code == 409
    assert answer.json()["field"] == "session_id"


@pytest.mark.parametrize(("thread_id", "status"), [(UNKNOWN_ID, 404), ("abc", 422)])
def test_an_id_that_names_nothing(client: Client, thread_id: str, status: int) -> None:
    answer = client.get(f"/v1/threads/{thread_id}")

    assert answer.status_code == status
    assert answer.json()["field"] == "thread_id"


def test_a_final_response_can_be_accepted(client: Client) -> None:
    thread_id = client.post("/v1/threads", {"prompt": "What is a monad?", "max_iterations": 1}).json()["id"]
    early = client.patch(f"/v1/threads/{thread_id}", {"user_accepted": True})
    client.world.run()

    answer = client.patch(f"/v1/threads/{thread_id}", {"user_accepted": True})

    assert early.status_code == 409
    assert answer.json()["user_accepted"] is True
    (event,) = told(client.world, "response_accepted")
    assert (str(event.thread_id), event.details) == (thread_id, {"user_accepted": True})


def test_above_the_bound_a_thread_is_refused_with_when_to_come_again(serve_settings: ServeSettings) -> None:
    with serve_settings(max_threads=1) as client:
        taken = client.post("/v1/threads", {"prompt": "x"})
        refused = client.post("/v1/threads", {"prompt": "x"})
        client.world.run()
        again = client.post("/v1/threads", {"prompt": "x"})

    assert [taken.status_code, refused.status_code, again.status_code] == [202, 429, 202]
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert int(refused.headers["Retry-After"]) >= 1
    assert "1 threads in flight and may have 1" in refused.json()["detail"]
    assert len(client.world.store._all(Session)) == 2


def test_above_the_bound_a_thread_is_taken_in_where_it_may_stand_in_line(serve_settings: ServeSettings) -> None:
    with serve_settings(max_threads=1, when_full="queue") as client:
        client.post("/v1/threads", {"prompt": "x"})
        taken = client.post("/v1/threads", {"prompt": "x"})
        waiting = client.get(taken.headers["Location"]).json()

    assert (taken.status_code, waiting["status"], waiting["is_queued"]) == (202, "initializing", True)


def test_the_description_says_that_a_thread_may_be_refused(client: Client) -> None:
    answers = client.get("/openapi.json").json()["paths"]["/v1/threads"]["post"]["responses"]

    assert "429" in answers


def test_a_thread_is_cancelled_and_taken_up_again(client: Client) -> None:
    thread_id = client.post("/v1/threads", {"prompt": "What is a monad?", "max_iterations": 1}).json()["id"]

    cancelled = client.post(f"/v1/threads/{thread_id}/cancel", {})
    again = client.post(f"/v1/threads/{thread_id}/cancel", {})
    resumed = client.post(f"/v1/threads/{thread_id}/retry", {})
    client.world.run()
    ended = client.get(f"/v1/threads/{thread_id}").json()

    assert cancelled.status_code == again.status_code == resumed.status_code == 200
    assert (cancelled.json()["status"], cancelled.json()["stop_reason"]) == ("failed", "cancelled")
    assert again.json() == cancelled.json()
    assert (resumed.json()["status"], resumed.json()["stop_reason"]) == ("initializing", None)
    assert ended["status"] == "completed"


def test_what_ended_well_is_not_taken_up_again(client: Client) -> None:
    thread_id = client.post("/v1/threads", {"prompt": "What is a monad?", "max_iterations": 1}).json()["id"]
    client.world.run()

    answer = client.post(f"/v1/threads/{thread_id}/retry", {})

    assert answer.status_code == 409
    assert "ended well" in answer.json()["detail"]
    assert client.post(f"/v1/threads/{UNKNOWN_ID}/cancel", {}).status_code == 404


def test_ending_a_session_cancels_its_threads(client: Client) -> None:
    body = client.post("/v1/threads", {"prompt": "What is a monad?"}).json()

    session = client.post(f"/v1/sessions/{body['session_id']}/end", {}).json()

    assert session["status"] == "terminated"
    assert client.get(f"/v1/threads/{body['id']}").json()["stop_reason"] == "cancelled"
