"""How many evaluations stand behind a score: every view says it, and confidence falls with what is missing."""

from __future__ import annotations

import pytest

from orchestratex.advance import cancel
from orchestratex.api.views import view_thread as view_for_http
from orchestratex.cli.result import describe_score
from orchestratex.cli.snapshot import view_thread as view_for_cli
from orchestratex.domain.base import Role, SelectionPhase, Step, StopReason, ThreadStatus
from orchestratex.domain.thread import Thread
from orchestratex.errors import ConflictError, ProviderNotFoundError
from orchestratex.providers.base import CompletionRequest
from orchestratex.rules import markers
from orchestratex.rules.flow import describe_best_panel
from tests.make import make_profile
from tests.support import Reply, World, answer_by_rule, steady

PROMPT = "Write a Python function that merges two sorted lists and explain its complexity."


def readable_from(*models: str) -> Reply:
    """Evaluations of all other models are nonsense."""

    def reply(request: CompletionRequest) -> str:
        is_lost = request.system.startswith(markers.TASK_EVALUATE) and request.model_name not in models
        return "quite good" if is_lost else answer_by_rule(request)

    return reply


def final_confidence(world: World, thread: Thread) -> float:
    found = world.store.selections_of(thread.id)
    return next(s.selection_confidence for s in found if s.selection_phase is SelectionPhase.FINAL)


def test_a_whole_panel_says_so() -> None:
    world = World()

    thread = world.solve(PROMPT, max_iterations=1)

    (score,) = thread.scores
    assert (score.evaluators, score.asked) == (7, 7)
    assert describe_score(thread).endswith(", 7 of 7 evaluations")


def test_one_readable_evaluator_is_no_whole_panel() -> None:
    whole_world, world = World(), World(readable_from("claude"))

    asked: dict[str, object] = {"max_iterations": 1, "preferred_models": ["gpt4"]}
    whole, thread = whole_world.solve(PROMPT, **asked), world.solve(PROMPT, **asked)

    (score,) = thread.scores
    assert (score.evaluators, score.asked) == (1, 7)
    assert score.score is not None
    assert (score.confidence or 0) < 0.5 * (whole.scores[0].confidence or 0)
    assert final_confidence(world, thread) < 0.5 * final_confidence(whole_world, whole)
    assert describe_score(thread).endswith(", 1 of 7 evaluations")
    http, cli = view_for_http(thread).model_dump(), view_for_cli(thread)
    for view in (http, cli):
        assert view["score_note"] == "1 of 7 evaluations"
        assert (view["evaluations_received"], view["evaluations_asked"]) == (1, 7)
        assert view["score_confidence"] == pytest.approx(score.confidence, abs=0.005)
    assert http["progress"]["evaluations"] == cli["evaluations"] == ["1 of 7 evaluations"]
    weighed = next(e for e in world.store.logs_of(thread.id) if e.event_type == "panel_weighed")
    ended = next(e for e in world.store.logs_of(thread.id) if e.event_type == "thread_completed")
    assert "from 1 of 7 evaluations" in weighed.message
    assert "from 1 of 7 evaluations" in ended.message


def test_a_thread_whose_evaluations_were_all_lost_says_so() -> None:
    world = World(readable_from())

    thread = world.solve(PROMPT, max_iterations=3)

    assert (thread.thread_status, thread.stop_reason) == (ThreadStatus.COMPLETED, StopReason.FAILED)
    assert thread.final_response
    lost = describe_score(thread)
    assert lost.startswith("none of 7 evaluations came (")
    assert "malformed reply: " in lost
    assert lost.endswith("): no score")
    assert view_for_http(thread).score_note == view_for_cli(thread)["score_note"] == lost
    assert view_for_http(thread).score_confidence is None
    assert any(lost in e.message for e in world.store.logs_of(thread.id) if e.event_type == "panel_weighed")
    assert any(lost in e.message for e in world.store.logs_of(thread.id) if e.event_type == "thread_completed")


def test_evaluators_that_do_not_answer_are_missing_too() -> None:
    def reply(request: CompletionRequest) -> str:
        if request.system.startswith(markers.TASK_EVALUATE) and request.model_name in ("llama", "grok"):
            raise ProviderNotFoundError(request.model_name, "HTTP 404")
        return answer_by_rule(request)

    thread = World(reply).solve(PROMPT, max_iterations=1)

    assert (thread.scores[0].evaluators, thread.scores[0].asked) == (5, 7)


def test_a_panel_that_money_shrank_says_what_it_should_have_been() -> None:
    notes = set()
    for limit in (0.012, 0.016, 0.025, 0.04, 0.05):
        asked: dict[str, object] = {"cost_limit": limit, "max_iterations": 1, "preferred_models": ["gpt4"]}
        thread = World(settings=steady(assessments="off")).solve(PROMPT, **asked)
        (score,) = thread.scores
        notes.add(score.evaluators)
        assert score.asked == 7
        assert describe_score(thread).endswith(f", {score.evaluators} of 7 evaluations")

    assert notes <= {1, 2, 3, 4, 5, 6}
    assert len(notes) > 1


def test_a_panel_from_which_models_are_missing_says_so() -> None:
    world = World()
    world.store.update_profile("claude", {"is_available": False})
    world.store.update_profile("grok", {"is_active": False})  # switched off by its operator: nobody misses it

    thread = world.solve(PROMPT, max_iterations=1)

    assert (thread.scores[0].evaluators, thread.scores[0].asked) == (5, 6)


def test_a_configured_panel_counts_those_that_are_switched_off() -> None:
    world = World()
    named = ["claude", "grok", "llama"]
    thread = world.submit(PROMPT, max_iterations=1, evaluators=named, preferred_models=["gpt4"])
    world.store.update_profile("grok", {"is_active": False})
    world.store.update_profile("llama", {"is_available": False})
    world.services.cache.forget()

    world.run()

    ended = world.store.get_thread(thread.id)
    assert (ended.scores[0].evaluators, ended.scores[0].asked) == (1, 3)


def test_models_that_wrote_before_are_not_missed_in_a_later_panel() -> None:
    thread = World().solve(PROMPT, max_iterations=3)

    assert len(thread.scores) > 1
    assert all(score.evaluators == score.asked for score in thread.scores)


def test_a_thread_that_ended_before_its_panel_was_weighed_says_so() -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    while world.store.get_thread(thread.id).due_step is not Step.EVALUATE:
        world.work(world.queue.messages.pop(0))

    ended = cancel(thread.id, world.services)

    assert describe_score(ended) == "it ended before its panel was weighed: no score"
    assert view_for_http(ended).score_note == "it ended before its panel was weighed: no score"


def test_a_thread_of_an_earlier_version_does_not_guess_what_was_asked() -> None:
    thread = World().solve(PROMPT, max_iterations=1)
    old = [score.model_copy(update={"asked": None, "confidence": None}) for score in thread.scores]

    shown = describe_score(thread.model_copy(update={"scores": old}))

    assert shown.endswith(", 7 evaluations")


@pytest.mark.parametrize("step", [Step.RESPOND, Step.EVALUATE])
def test_a_running_thread_has_no_note_yet(step: Step) -> None:
    world = World()
    thread = world.submit(PROMPT, max_iterations=1)
    while world.store.get_thread(thread.id).due_step is not step:
        world.work(world.queue.messages.pop(0))
    running = world.store.get_thread(thread.id)

    assert describe_score(running) == "-"
    assert view_for_http(running).score_note is None


def test_where_one_model_alone_can_be_served_it_answers_and_the_lack_of_evaluations_is_said() -> None:
    world = World(profiles=[make_profile("gpt4", max_output_tokens=500)])

    thread = world.solve("Why is the sky blue?")

    assert thread.thread_status is ThreadStatus.COMPLETED
    assert thread.final_response
    assert thread.final_quality_score is None
    assert describe_best_panel(thread) == "no other model could be asked: no evaluation, no score"
    assert [each.role for each in world.store.responses_of(thread.id) if each.cost] == [Role.PRIMARY]


def test_evaluators_that_are_asked_for_by_name_are_still_required_of_a_single_model() -> None:
    world = World(profiles=[make_profile("gpt4", max_output_tokens=500)])

    with pytest.raises(ConflictError, match="no evaluator is left"):
        world.submit("Why is the sky blue?", evaluators=["gpt4"])
