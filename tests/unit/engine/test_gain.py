"""The sandbox is a world in which the loop pays only if answers and criticisms really reach the models."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from orchestratex.domain.thread import Thread
from orchestratex.providers.base import CompletionRequest
from orchestratex.sandbox.models import MODELS
from orchestratex.sandbox.world import true_quality
from orchestratex.settings import Settings
from tests.support import World, answer_by_rule

SUBJECTS = [
    "queues",
    "glaciers",
    "sonnets",
    "fractions",
    "contracts",
    "orchids",
    "compilers",
    "tides",
    "budgets",
    "maps",
]
TASKS = [
    "Write a Python function that sorts {} and handles empty input",
    "Explain the history and the future of {} to a curious reader",
    "Translate a short text about {} into Spanish",
    "Prove a simple theorem about {} step by step",
    "Write a short poem about {} in winter light",
    "Classify the sentiment of a review that praises {}",
    "Compare three ways to organise {} at home",
    "Which facts about {} does every handbook mention",
    "Summarise what experts say about {} today",
    "Plan a lesson on {} with exercises and solutions",
]
PROMPTS = [task.format(subject) for task in TASKS for subject in SUBJECTS]


def solve_all(reply: Callable[[CompletionRequest], str]) -> tuple[list[Thread], list[World]]:
    worlds = [World(reply, Settings()) for _ in PROMPTS]
    return [world.solve(prompt) for world, prompt in zip(worlds, PROMPTS, strict=True)], worlds


def answer_once(model: str, prompt: str) -> str:
    """The model's first response to the prompt, as the engine asks for it."""
    world = World(settings=Settings())
    thread = world.solve(prompt, preferred_models=[model], max_iterations=1)
    return thread.final_response or ""


def cut_criticisms(request: CompletionRequest) -> str:
    cut = re.sub(r"<<<CRITICISMS (\w+)>>>.*?<<<END CRITICISMS \1>>>", "", request.user, flags=re.DOTALL)
    return answer_by_rule(request.model_copy(update={"user": cut}))


def paired_gain(finals: list[str], baselines: list[str]) -> tuple[float, float]:
    """Mean gain in true quality, and its standard error."""
    gains = [
        true_quality(prompt, final) - true_quality(prompt, baseline)
        for prompt, final, baseline in zip(PROMPTS, finals, baselines, strict=True)
    ]
    mean = sum(gains) / len(gains)
    variance = sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1)
    return mean, math.sqrt(variance / len(gains))


def test_refinement_pays_only_where_the_criticisms_reach_the_refiner() -> None:
    first = {model: [answer_once(model, prompt) for prompt in PROMPTS] for model in MODELS}
    quality = {
        model: sum(true_quality(prompt, answer) for prompt, answer in zip(PROMPTS, answers, strict=True))
        for model, answers in first.items()
    }
    best_model = max(quality, key=lambda model: quality[model])

    whole, _ = solve_all(answer_by_rule)
    cut, cut_worlds = solve_all(cut_criticisms)
    initial_of_cut = [
        next(r.response_text or "" for r in world.store.responses_of(thread.id, iteration=1) if r.role == "primary")
        for world, thread in zip(cut_worlds, cut, strict=True)
    ]

    gain, error = paired_gain([thread.final_response or "" for thread in whole], first[best_model])
    cut_gain, cut_error = paired_gain([thread.final_response or "" for thread in cut], first[best_model])
    own_gain, own_error = paired_gain([thread.final_response or "" for thread in cut], initial_of_cut)
    print(f"gain {gain:.3f} ± {error:.3f}; cut {cut_gain:.3f} ± {cut_error:.3f}; own {own_gain:.3f} ± {own_error:.3f}")
    assert gain > 2 * error
    assert cut_gain <= 2 * cut_error
    assert own_gain <= 2 * own_error
    for thread in whole:
        assert (thread.final_quality_score or 0) >= (thread.scores[0].score or 0)
