"""Whole threads over real models, counted from the documents that the engine writes."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestratex.bootstrap import HttpProviders
from orchestratex.domain.base import Purpose, ResponseStatus, Role
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.providers.http import HttpClient
from orchestratex.settings import Settings
from tests.realmodel.clean import find_scaffolding
from tests.realmodel.models import SmallModel
from tests.support import World

ANSWER_TOKENS = 384
EVALUATION_TOKENS = 640
CALL_S = 900.0  # two cores serve several models


Row = dict[str, Any]  # a response as the log keeps it


@dataclass
class Tally:
    """One model under one setting."""

    answers: int = 0
    answers_usable: int = 0  # at first asking
    evaluations: int = 0
    evaluations_read: int = 0  # at first asking
    evaluations_lost: int = 0  # not read at the second asking either
    finals: int = 0
    finals_missing: int = 0
    unclean: list[str] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)


def make_world(models: Sequence[SmallModel], *, with_schema: bool) -> World:
    """The engine in this process, its models real."""
    settings = Settings(
        assessments="off",  # they take the small models half of the time, and nothing here looks at them
        answer_max_tokens=ANSWER_TOKENS,
        evaluation_max_tokens=EVALUATION_TOKENS,
        call_timeout_s=CALL_S,
        max_threads=100_000,
    )
    http = HttpClient(pool_size=4, connect_timeout_s=5, read_timeout_s=CALL_S, max_bytes=1_000_000)
    profiles = [model.profile(with_schema=with_schema) for model in models]
    return World(settings=settings, providers=HttpProviders(settings, http), profiles=profiles)


@dataclass(frozen=True)
class Run:
    """How one model's threads are asked."""

    author: SmallModel
    evaluators: Sequence[SmallModel]
    with_schema: bool
    max_iterations: int
    log: Path | None


def ask(domain: str, prompt: str, run: Run) -> list[Row]:
    """One thread; what its responses show, a row each."""
    world = make_world([run.author, *run.evaluators], with_schema=run.with_schema)
    started = time.monotonic()
    thread = world.solve(
        prompt,
        preferred_models=[run.author.name],
        evaluators=[model.name for model in run.evaluators],
        max_iterations=run.max_iterations,
    )
    rows = [_row(domain, thread, response, run) for response in world.store.responses_of(thread.id)]
    if run.log is not None:
        with run.log.open("a", encoding="utf-8") as out:  # a thread in one write: what stands in it is whole
            out.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    took_s = time.monotonic() - started
    print(
        f"{run.author.name} schema={run.with_schema} {domain}: {thread.thread_status} {took_s:.0f} s", file=sys.stderr
    )
    return rows


def count(rows: Sequence[Row]) -> dict[str, Tally]:
    """What one ended thread's rows show, by model name."""
    tallies: dict[str, Tally] = {}
    for row in rows:
        tally = tallies.setdefault(row["model"], Tally())
        is_done = row["status"] == ResponseStatus.COMPLETED
        if row["purpose"] == Purpose.ANSWER and row["role"] == Role.PRIMARY:
            tally.answers += 1
            tally.answers_usable += is_done
        elif row["purpose"] == Purpose.EVALUATION:
            tally.evaluations += 1
            tally.evaluations_read += is_done
        elif row["role"] == Role.EVALUATOR and row["purpose"] == Purpose.RE_ASK:
            tally.evaluations_lost += not is_done
        if not is_done and row["problem"]:
            tally.problems[f"{row['purpose']}: {row['problem'][:120]}"] += 1
    final, prompt = rows[0]["final"], rows[0]["prompt"]
    mine = tallies.setdefault(rows[0]["author"], Tally())
    mine.finals += final is not None
    mine.finals_missing += final is None
    found = find_scaffolding(final or "", prompt)
    if found:
        mine.unclean.append(f"{prompt!r}: {', '.join(found)}: {(final or '')[:300]!r}")
    return tallies


def add(tallies: Iterable[dict[str, Tally]]) -> dict[str, Tally]:
    """The sums by model."""
    total: dict[str, Tally] = {}
    for each in tallies:
        for name, tally in each.items():
            into = total.setdefault(name, Tally())
            for key, value in vars(tally).items():
                setattr(into, key, getattr(into, key) + value)
    return total


def measure(
    models: Sequence[SmallModel],
    prompts: Sequence[tuple[str, str]],
    *,
    with_schema: bool,
    max_iterations: int = 1,
    at_once: int = 1,
    log: Path | None = None,
) -> dict[str, Tally]:
    """Each model answers every prompt and the next one evaluates it, so that each asks and judges equally often.

    `at_once` threads of each model are under way: as many as its server has slots.
    """
    runs = [
        Run(model, [models[(at + 1) % len(models)]], with_schema, max_iterations, log)
        for at, model in enumerate(models)
    ]
    known = read_log(log, with_schema=with_schema)
    with ThreadPoolExecutor(len(runs) * at_once) as pool:
        asked = {
            (run.author.name, prompt): pool.submit(ask, domain, prompt, run)
            for domain, prompt in prompts
            for run in runs
            if (run.author.name, prompt) not in known
        }
        every = [
            known.get(key) or asked[key].result() for key in ((r.author.name, p) for _, p in prompts for r in runs)
        ]
    return add(count(rows) for rows in every)


def read_log(log: Path | None, *, with_schema: bool) -> dict[tuple[str, str], list[Row]]:
    """The threads that a log holds under this setting, by author and prompt: a measurement may be taken in pieces."""
    threads: dict[tuple[str, str], list[Row]] = {}
    if log is not None and log.exists():
        for line in log.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if row["schema"] is with_schema:
                threads.setdefault((row["author"], row["prompt"]), []).append(row)
    return threads


def _row(domain: str, thread: Thread, response: Response, run: Run) -> Row:
    completion = response.completion
    return {
        "author": run.author.name,
        "role": response.role,
        "purpose": response.purpose,
        "model": response.model_name,
        "finish_reason": completion.finish_reason if completion else None,
        "status": response.status,
        "problem": response.error_message,
        "domain": domain,
        "schema": run.with_schema,
        "prompt": thread.original_prompt,
        "prompt_sent": response.prompt_sent,
        "text": completion.text if completion else None,
        "final": thread.final_response,
    }
