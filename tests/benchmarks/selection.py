"""How well models are selected, in the sandbox's world, whose truth is planted: regret, models tried, cost, quality.

    python -m tests.benchmarks.selection [--seeds 20] [--threads 300] [--at-once 1] [--save FILE] [--against FILE]

The whole engine in this process, over a store in memory and the sandbox's models called as functions; no broker. A
seed is another set of prompts. `--save` keeps each seed's figures, `--against` compares with those of another run,
seed by seed: so the code before a change is measured by this file, copied into a worktree of that commit.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from orchestratex.domain.base import Domain, Purpose, Role, SelectionPhase, Specialty
from orchestratex.domain.criticism import CriticismResponse
from orchestratex.domain.evaluation import Evaluation
from orchestratex.domain.log import LogEvent
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.sums import BILLION
from orchestratex.domain.sums import Tally as FirstAnswers
from orchestratex.domain.thread import Thread
from orchestratex.sandbox.answering import _DIFFICULTY_WEIGHT
from orchestratex.sandbox.models import MODELS
from orchestratex.sandbox.world import FLAW_PENALTY, read_demand, true_quality
from orchestratex.settings import Settings
from orchestratex.steps.measure import measure
from orchestratex.store.base import ModelStats
from orchestratex.store.memory import MemoryStore
from tests.support import World

LAST = 100  # threads of a seed whose regret counts: by then something can have been learnt
BEAT = 10  # threads between two refreshes of the models' performance
CLAIMED_BY = {  # the specialties with which a profile claims a domain
    Domain.CODING: {Specialty.CODING},
    Domain.CREATIVE: {Specialty.CREATIVE},
    Domain.MATH: {Specialty.MATH},
    Domain.TRANSLATION: {Specialty.TRANSLATION},
    Domain.FACTUAL: {Specialty.ANALYSIS, Specialty.REASONING},
    Domain.SENTIMENT: {Specialty.ANALYSIS},
    Domain.GENERAL: set(Specialty),
}

TASKS = (
    "Write a Python function that {verb} {things} and handles empty input",
    "Refactor this code that {verb} {things} so that unit tests are easy to write",
    "Write a short poem about {things} in {time} light",
    "Write a story in which somebody {verb} {things} at {time}",
    "Explain the history of {things} and who was the first who {verb} them",
    "What is the capital of the trade in {things}, and when did that country begin with it",
    "Prove a simple theorem about {things} that somebody {verb} step by step",
    "Calculate the probability that a machine which {verb} {things} fails before {time}",
    "Translate into Spanish a short text about somebody who {verb} {things} at {time}",
    "Translate a letter about {things} into French and keep its {time} mood",
    "Classify the sentiment of a review of a machine that {verb} {things}",
    "Is the tone of this opinion about {things} positive or negative: it {verb} them by {time}",
    "Compare three ways to keep {things} at home until {time}",
    "Plan a lesson on {things} for people who {verb} them, with exercises",
)
VERBS = ("sorts", "counts", "merges", "paints", "collects", "weighs", "hides", "repairs", "sells", "compares")
THINGS = (
    *("queues", "glaciers", "sonnets", "fractions", "contracts", "orchids", "compilers", "tides", "budgets", "maps"),
    *("violins", "bridges", "bees", "lanterns", "invoices", "harbours", "kites", "saddles", "proverbs", "lighthouses"),
    *("batteries", "orchards", "telescopes", "ledgers"),
)
TIMES = ("dawn", "noon", "winter", "dusk", "harvest", "midnight", "spring", "closing")


def main() -> None:
    """Run all seeds and print means with standard errors over seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=300)
    parser.add_argument("--at-once", type=int, default=1, help="threads submitted before any of them is worked on")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    jobs = [(seed, options.threads, options.at_once) for seed in range(options.seeds)]
    with concurrent.futures.ProcessPoolExecutor(options.processes) as pool:
        found = list(pool.map(run_seed, *zip(*jobs, strict=True)))
    report(found)
    if options.save:
        options.save.write_text(json.dumps(found))
    if options.against:
        compare(found, json.loads(options.against.read_text()))


def report(found: Sequence[dict[str, Any]]) -> None:
    """Print what was found."""
    print(f"{len(found)} seeds of {found[0]['threads']} threads, {found[0]['at_once']} at once; mean ± standard error")
    for name, label in (
        ("regret", f"regret of the last {LAST} first answers"),
        ("random_regret", "the same of a random choice"),
        ("best_share", f"share of the last {LAST} that are the truly best model's"),
        ("models", f"of {len(MODELS)} models, tried"),
        ("claims", "share of the domains they claim in which models were tried"),
        ("cost", "cost a thread, US$"),
        ("evaluating", "share of it for evaluations"),
        ("first_quality", "true quality of the first answer"),
        ("quality", "true quality of the final response"),
        ("iterations", "iterations a thread"),
    ):
        print(f"{label}: {tell([each[name] for each in found])}")
    halved = [each["regret"] / each["random_regret"] for each in found]
    print(f"regret by a random choice's: {tell(halved)}")
    tried = {name: sum(each["tried"].get(name, 0) for each in found) / len(found) for name in MODELS}
    print("first answers a seed: " + ", ".join(f"{name} {count:.0f}" for name, count in tried.items()))
    stops: dict[str, int] = {}
    for each in found:
        for name, count in each["stops"].items():
            stops[name] = stops.get(name, 0) + count
    print("stopped by: " + ", ".join(f"{name} {count}" for name, count in sorted(stops.items())))


def compare(found: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]) -> None:
    """Print ratios to another run, over the seeds of both."""
    pairs = list(zip(found, before, strict=False))
    for name in ("regret", "cost", "first_quality", "quality"):
        print(f"{name} by that before: {tell([now[name] / then[name] for now, then in pairs])}")


def tell(values: Sequence[float]) -> str:
    """Mean and standard error."""
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
    return f"{mean:.4f} ± {spread / math.sqrt(len(values)):.4f}"


def run_seed(seed: int, threads: int, at_once: int) -> dict[str, Any]:
    """Solve a seed's prompts one after the other, or so many side by side."""
    prompts = make_prompts(seed, threads)
    world, store = make_world()
    tally = Tally({profile.model_name: profile for profile in store.profiles()})
    rng = random.Random(seed)
    for start in range(0, threads, at_once):
        batch = [world.submit(prompt) for prompt in prompts[start : start + at_once]]
        world.run(rng=rng if at_once > 1 else None)
        for thread in batch:
            tally.add(store.get_thread(thread.id), store)
        store.sweep()
        if start // BEAT != (start + at_once) // BEAT:
            measure(world.services)
            world.services.cache.forget()
    return {"seed": seed, "threads": threads, "at_once": at_once, **tally.result()}


def make_prompts(seed: int, count: int) -> list[str]:
    """Different prompts of all seven domains, in the order of the seed."""
    rng = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        task = rng.choice(TASKS)
        made[task.format(verb=rng.choice(VERBS), things=rng.choice(THINGS), time=rng.choice(TIMES))] = None
    return list(made)


def expect_quality(model_name: str, prompt: str) -> float:
    """The planted truth: the mean quality of the model's answers to the prompt."""
    model, demand = MODELS[model_name], read_demand(prompt)
    skill = model.skill[demand.domain] - _DIFFICULTY_WEIGHT * demand.difficulty
    return skill * (1 - model.flaw_rate - FLAW_PENALTY * model.flaw_rate)


class SweptStore(MemoryStore):
    """A store in memory that puts aside what ended threads have written, so that a long run stays quick.

    What first answers were worth it tells at once, of the past, too; an installation's roll-ups lag by up to a minute.
    """

    _ASIDE = (Response, Evaluation, Selection, CriticismResponse, LogEvent, Thread)

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock)
        self._first: dict[str, dict[str, FirstAnswers]] = {}  # by model and domain

    def sweep(self) -> None:
        """Put all threads' documents aside; what their first answers were worth is kept."""
        for each in self._tables[Response].values():
            is_first = each.role is Role.PRIMARY and each.purpose in (Purpose.ANSWER, Purpose.RE_ASK)
            if is_first and each.domain is not None and each.selection_score is not None:
                known = self._first.setdefault(each.model_name, {}).get(each.domain, FirstAnswers())
                total = known.total + round(each.selection_score * BILLION)
                self._first[each.model_name][each.domain] = FirstAnswers(total=total, count=known.count + 1)
        for kind in self._ASIDE:
            self._tables[kind].clear()

    def model_stats(self) -> dict[str, ModelStats]:
        """See Store."""
        rolled = super().model_stats()
        names = {*rolled, *self._first}
        return {
            name: rolled.get(name, ModelStats()).model_copy(update={"first_answers": self._first.get(name, {})})
            for name in names
        }


def make_world() -> tuple[World, SweptStore]:
    """The engine over a store that is swept."""
    world = World(settings=Settings())
    store = SweptStore(world.clock)
    store.insert_profiles(world.store.profiles())
    for holder in (world.services, world.services.journal, world.services.heart, world.services.cache):
        for name, value in vars(holder).items():
            if value is world.store:
                object.__setattr__(holder, name, store)
    world.store = store
    return world, store


class Tally:
    """What a seed's threads came to."""

    def __init__(self, profiles: dict[str, Profile]) -> None:
        self._profiles = profiles
        self._rows: list[dict[str, float]] = []
        self._tried: dict[str, int] = {}
        self._cells: set[tuple[str, Domain]] = set()
        self._domains: set[Domain] = set()
        self._stops: dict[str, int] = {}

    def add(self, thread: Thread, store: MemoryStore) -> None:
        """Take in an ended thread."""
        prompt = thread.original_prompt
        first = next(s for s in store.selections_of(thread.id) if s.selection_phase is SelectionPhase.INITIAL)
        truths = {name: expect_quality(name, prompt) for name in MODELS}
        responses = store.responses_of(thread.id)
        answer = next(r for r in responses if r.role == "primary" and r.response_type == "initial")
        evaluating = sum(r.cost_nanos for r in responses if r.role == "evaluator") / 1e9
        chosen, domain = first.selected_model, thread.domain or Domain.GENERAL
        self._tried[chosen] = self._tried.get(chosen, 0) + 1
        self._cells.add((chosen, domain))
        self._domains.add(domain)
        stop = str(thread.stop_reason)
        self._stops[stop] = self._stops.get(stop, 0) + 1
        self._rows.append(
            {
                "regret": max(truths.values()) - truths[chosen],
                "random_regret": max(truths.values()) - math.fsum(truths.values()) / len(truths),
                "best_share": float(truths[chosen] == max(truths.values())),
                "cost": thread.total_cost,
                "evaluating": evaluating / thread.total_cost,
                "first_quality": true_quality(prompt, answer.response_text or ""),
                "quality": true_quality(prompt, thread.final_response or ""),
                "iterations": thread.current_iteration,
            }
        )

    def result(self) -> dict[str, Any]:
        """Means: of regret over the last threads, of all else over all."""
        claims = {
            (name, domain)
            for name, profile in self._profiles.items()
            for domain in self._domains
            if set(profile.specialties) & CLAIMED_BY[domain]
        }
        late = {"regret", "random_regret", "best_share"}
        means = {
            name: math.fsum(row[name] for row in rows) / len(rows)
            for name in self._rows[0]
            for rows in [self._rows[-LAST:] if name in late else self._rows]
        }
        return {
            **means,
            "models": len(self._tried),
            "claims": len(claims & self._cells) / len(claims),
            "tried": self._tried,
            "stops": self._stops,
        }


if __name__ == "__main__":
    main()
