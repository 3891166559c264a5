"""show, trace, models."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orchestratex.domain.base import FinishReason
from orchestratex.domain.thread import Thread
from orchestratex.steps.measure import measure
from orchestratex.store.base import COLLECTIONS
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

UNKNOWN_ID = "0" * 24


def solve_evil(world: World) -> Thread:
    """A thread whose response tries to steer terminals and to be markup."""
    thread = world.solve("Say [red]hello[/red] \x1b[2J", max_iterations=2)
    evil = "[bold]\x1b]0;title\x07 [/nope] done"
    for response in world.store.responses_of(thread.id):
        world.store.update_evaluated(response.id, {"response_text": evil, "error_message": evil})
    world.store.set_thread(thread.id, {"final_response": evil})
    return thread


def test_show_prints_the_final_response(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)

    ran = run("show", str(thread.id))

    assert ran.code == 0
    assert ran.out.startswith(thread.final_response or "?")


def test_show_prints_no_intermediate_response(run: Run, world: World) -> None:
    thread = world.submit("What is a monad?", max_iterations=3)
    while not world.store.evaluations_of(thread.id):
        world.work(world.queue.messages.pop(0))
    text = world.store.responses_of(thread.id)[0].response_text

    plain, as_json = run("show", str(thread.id)), run("show", str(thread.id), "--json")

    assert text
    assert text not in plain.out
    assert "evaluating" in plain.out
    assert json.loads(as_json.out)["final_response"] is None


def show_in_pieces(world: World, reason: FinishReason) -> Thread:
    """A thread whose final response is marked as ended by `reason`, as the engine marks it."""
    thread = world.solve("What is a monad?", max_iterations=1)
    ended = {"finish_reason": reason, "is_partial": True, "output_limit": 2048}
    world.store.update_evaluated(thread.best_response_id, ended)  # type: ignore[arg-type]
    world.store.set_thread(thread.id, {"final_finish_reason": reason, "is_final_partial": True})
    return thread


@pytest.mark.parametrize(
    ("reason", "note", "line"),
    [
        (
            FinishReason.LENGTH,
            "it was cut off",
            "reached the output limit of 2048 tokens, not whole",
        ),
        (FinishReason.REFUSAL, "the provider's filter ended it", "ended by the provider's filter, not whole"),
    ],
)
def test_every_view_says_that_a_response_is_not_whole(
    run: Run, world: World, reason: FinishReason, note: str, line: str
) -> None:
    thread = show_in_pieces(world, reason)

    shown, traced = run("show", str(thread.id)), run("trace", str(thread.id))
    as_json = json.loads(run("show", str(thread.id), "--json").out)

    assert f"the final response is not whole: {note}" in " ".join(shown.out.split())
    assert f"the final response is not whole: {note}" in " ".join(traced.out.split())
    assert line in " ".join(traced.out.split())
    assert (as_json["finish_reason"], as_json["is_partial"]) == (reason.value, True)


def test_a_whole_response_is_not_called_anything_else(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)

    as_json = json.loads(run("show", str(thread.id), "--json").out)

    assert "not whole" not in run("show", str(thread.id)).out + run("trace", str(thread.id)).out
    assert (as_json["finish_reason"], as_json["is_partial"]) == ("stop", False)


def test_trace_holds_every_document(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=2)
    world.solve("another one", max_iterations=1)
    measure(world.services)

    ran = run("trace", str(thread.id), "--json")

    body = json.loads(ran.out)
    assert list(body) == list(COLLECTIONS)
    assert [each["_id"] for each in body["conversation_threads"]] == [str(thread.id)]
    assert [each["_id"] for each in body["user_sessions"]] == [str(thread.session_id)]
    assert len(body["model_responses"]) == len(world.store.responses_of(thread.id))
    assert len(body["model_evaluations"]) == len(world.store.evaluations_of(thread.id))
    assert len(body["criticism_responses"]) == 1
    assert len(body["algorithm_metrics"]) == 1
    assert {each["thread_id"] for each in body["orchestration_logs"]} == {str(thread.id)}


def test_trace_draws_every_iteration(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=2)

    ran = run("trace", str(thread.id))

    assert ran.code == 0
    for expected in ("Iteration 1", "Iteration 2", "selection (initial)", "evaluation by", "improvement", "Events ("):
        assert expected in ran.out


def test_show_and_trace_say_how_many_evaluations_came(run: Run, world: World) -> None:
    world.store.update_profile("claude", {"is_available": False})
    thread = world.solve("What is a monad?", max_iterations=1)

    shown, drawn = run("show", str(thread.id)), run("trace", str(thread.id))
    body = json.loads(run("show", str(thread.id), "--json").out)

    assert "6 of 7 evaluations" in shown.out
    assert "of 6 of 7 evaluations (confidence " in drawn.out
    assert (body["score_note"], body["evaluations_received"], body["evaluations_asked"]) == ("6 of 7 evaluations", 6, 7)


def test_show_and_trace_say_when_every_evaluation_was_lost(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)
    lost = [score.model_copy(update={"score": None, "evaluators": 0}) for score in thread.scores]
    world.store.set_thread(thread.id, {"scores": lost, "final_quality_score": None})
    said = "none of 7 evaluations could be read or came back: no score"

    assert f"score:        {said}\n" in run("show", str(thread.id)).out
    assert f"score {said}" in run("trace", str(thread.id)).out


def test_trace_draws_what_an_author_thinks_and_how_long_a_call_waited_its_turn(run: Run, world: World) -> None:
    thread = world.solve("What is a monad?", max_iterations=1)
    answer = next(r for r in world.store.responses_of(thread.id) if r.purpose == "answer")
    world.store.update_evaluated(answer.id, {"seat_wait_ms": 3210.0})

    drawn = run("trace", str(thread.id)).out

    assert f"assessment of its answer by {answer.model_name}: completed" in drawn
    assert f"its author, confidence {answer.confidence_score:.2f}: {answer.self_assessment}" in drawn
    assert "waited 3.2 s for its turn" in drawn


def test_trace_draws_a_thread_that_has_not_begun(run: Run, world: World) -> None:
    thread = world.submit("What is a monad?")

    assert run("trace", str(thread.id)).code == 0
    assert run("trace", str(thread.id), "--json").code == 0


def test_texts_are_neither_markup_nor_commands_to_the_terminal(run: Run, world: World) -> None:
    thread = solve_evil(world)

    ran = run("trace", str(thread.id))

    assert "\x1b" not in ran.out
    assert "[bold]\\x1b]0;title\\x07 [/nope] done" in ran.out
    assert "[red]hello[/red]" in ran.out


def test_a_piped_response_is_verbatim(run: Run, world: World) -> None:
    thread = solve_evil(world)

    assert run("show", str(thread.id)).out.startswith("[bold]\x1b]0;title\x07 [/nope] done\n")


@pytest.mark.parametrize("command", ["show", "trace"])
@pytest.mark.parametrize("thread_id", ["nope", UNKNOWN_ID])
def test_a_thread_that_is_not_there(run: Run, command: str, thread_id: str) -> None:
    ran = run(command, thread_id)

    assert ran.code == 2
    assert ran.err.startswith("error: thread_id: ")


def test_models_are_listed(run: Run) -> None:
    plain, as_json = run("models"), run("models", "--json")

    body = json.loads(as_json.out)
    assert len(body) == 8
    assert all(each["model_name"] in plain.out for each in body)
    gpt4 = next(each for each in body if each["model_name"] == "gpt4")
    assert (gpt4["usd_per_million_input_tokens"], gpt4["usd_per_million_output_tokens"]) == (2, 10)
