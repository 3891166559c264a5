"""Nothing that reads a stranger's text may take more than linear time: one prompt must not stop a process."""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import json
import pkgutil
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import SecretStr

import orchestratex
from orchestratex.api.bodies import check_json
from orchestratex.browsers import is_loopback, refuse
from orchestratex.cli.batch import read_batch
from orchestratex.cli.inputs import parse_id, parse_session, parse_thread
from orchestratex.cli.output import shorten
from orchestratex.domain.base import Severity
from orchestratex.domain.evaluation import Criticism
from orchestratex.domain.inputs import describe_problem, parse_moment
from orchestratex.local.output import PrefixedOutput, read_tail
from orchestratex.providers.addresses import check_base_url, is_forbidden
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.dialects import DIALECTS
from orchestratex.providers.http import HttpClient, Reply, whole_text
from orchestratex.providers.listing import find_row, find_rows
from orchestratex.providers.masking import Mask
from orchestratex.providers.origins import KeyOrigins
from orchestratex.providers.problems import find_error, status_error
from orchestratex.providers.stating import read_row
from orchestratex.providers.waits import read_retry_after
from orchestratex.rules import markers, prompts
from orchestratex.rules.analysis import analyse_prompt
from orchestratex.rules.pricing import estimate_tokens
from orchestratex.rules.prompts import answer_prompt, evaluate_prompt, hide_author
from orchestratex.rules.replies import parse_answer, parse_assessment, parse_evaluation, parse_refinement
from orchestratex.rules.sameness import is_same_text
from orchestratex.rules.sent import read_sent
from orchestratex.sandbox.brain import play
from orchestratex.sandbox.calls import read_object
from orchestratex.sandbox.dialects import find_dialect
from orchestratex.sandbox.evaluating import Bias
from orchestratex.sandbox.models import MODELS
from orchestratex.sandbox.schemas import fit
from orchestratex.sandbox.tasks import Task, TaskKind
from orchestratex.sandbox.world import true_quality
from orchestratex.steps.profiles import plan_profiles
from orchestratex.terminal import dump_json, escape, escape_prose
from tests.hostile import MARKED_TEXTS, NONCE, SHORT, TEXTS, find_slowness, repeat, samples
from tests.make import make_evaluation, make_thread

Read = Callable[[str], object]
_MODEL = next(iter(MODELS.values()))


def _merge(text: str) -> object:
    criticism = Criticism(point=text, severity=Severity.MAJOR, evidence=text)
    merged = prompts.merge_criticisms([make_evaluation(criticisms=[criticism])])
    return prompts.number_criticisms(merged)


def _merge_many(text: str) -> object:
    points = [text[start : start + 100] for start in range(0, len(text), 100)]
    criticisms = [Criticism(point=point, severity=Severity.MINOR, evidence="") for point in points]
    return prompts.merge_criticisms([make_evaluation(criticisms=criticisms)])


def _play(kind: TaskKind) -> Read:
    def read(text: str) -> object:
        # a prompt that is known is not read again: each measure gets one of its own
        task = Task(kind, prompt=f"{text}{next(_numbers)}", answer=text, criticisms=text)
        return play(_MODEL, task, bias=Bias(is_bribable=True))

    return read


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


_numbers = _count()


def _read_file(text: str) -> object:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "prompts.jsonl"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        return read_batch(path)


def _read_prompts(text: str) -> object:
    return _read_file(json.dumps({"prompt": text}))


def _read_log(text: str) -> object:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "worker.log"
        path.write_text(text)
        return read_tail(path)


def _copy(text: str) -> object:
    output = PrefixedOutput(io.StringIO(), width=8, is_coloured=False)
    with open(output.open("worker"), "w", encoding="utf-8", errors="replace") as pipe:
        pipe.write(text)
    output.close()
    return output


def _plan(text: str) -> object:
    return plan_profiles([{"model_name": "m-1", "strengths": text, "api_endpoint": text}], {}, now=_NOW)


_NOW = datetime(2026, 1, 1, tzinfo=UTC)
MASK = Mask(["sk-secret-0123456789"])


def _cut(text: str) -> Iterator[str]:
    return (text[start : start + 20] for start in range(0, len(text), 20))


class _Replies(HttpClient):
    """Answers every request with one body."""

    def __init__(self, body: dict[str, object]) -> None:
        super().__init__(pool_size=1, connect_timeout_s=1, read_timeout_s=1, max_bytes=1)
        self._body = body

    def post(self, model: str, url: str, body: Mapping[str, object], headers: Mapping[str, str]) -> Reply:
        return Reply(self._body, None)


def _complete(dialect: str, body: dict[str, object]) -> object:
    provider = DIALECTS[dialect](_Replies(body), base_url="http://127.0.0.1", api_key=SecretStr("sk-secret-0123456789"))
    return provider.complete(
        CompletionRequest(
            model_name="m", model_version="m", system="s", user="u", max_tokens=9, idempotency_key="abc.1"
        )
    )


def _fail(content: bytes) -> object:
    return status_error("m", 400, content, MASK, sent_bytes=9, request_id=None, retry_after_s=None)


READERS: dict[str, Read] = {
    "the analysis of prompts": analyse_prompt,  # cleaning, code, domain, difficulty, language
    "the estimate of tokens": estimate_tokens,
    "the merging of a criticism": _merge,
    "the merging of many criticisms": _merge_many,
    "a request's check": lambda text: parse_thread({"prompt": text, "context": text}),
    "a request's names": lambda text: parse_thread({"prompt": "a", "preferred_models": [text], text: 1}),
    "an id": lambda text: parse_id("thread_id", text),
    "a session's id": lambda text: parse_session(None, text),
    "a file of anything": _read_file,
    "a file of prompts": _read_prompts,
    "a model's profile": _plan,
    "a host's name": is_loopback,
    "a host that is forbidden": is_forbidden,
    "an address": check_base_url,
    "an address behind its scheme": lambda text: check_base_url(f"http://{text}/v1"),
    "whether texts are the same": lambda text: is_same_text(text, f"{text}a"),
    "halves of surrogate pairs": whole_text,
    "keys in a text": MASK.hide,
    "keys in an excerpt": MASK.excerpt,
    "keys in a reply": lambda text: MASK.hide_all(text.encode("utf-8", "replace"), {"a": text, text: [text]}),
    "keys in many texts": lambda text: MASK.hide_all(text.encode("utf-8", "replace"), list(_cut(text))),
    "a provider's text": lambda text: _complete("openai", {"choices": [{"message": {"content": text}}], "id": text}),
    "a provider's parts": lambda text: _complete(
        "openai", {"choices": [{"message": {"content": [{"type": "text", "text": part} for part in _cut(text)]}}]}
    ),
    "a provider's refusal": lambda text: _complete("openai", {"choices": [{"message": {"refusal": text}}]}),
    "a provider's reasons": lambda text: _complete("openai", {"choices": [{"finish_reason": text, "error": text}]}),
    "Anthropic's blocks": lambda text: _complete(
        "anthropic", {"content": [{"type": "text", "text": part} for part in _cut(text)], "stop_reason": text}
    ),
    "Google's candidates": lambda text: _complete(
        "google", {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": text}]}
    ),
    "a provider's error": lambda text: _fail(text.encode("utf-8", "replace")),
    "a provider's error in JSON": lambda text: _fail(
        json.dumps({"error": dict.fromkeys(("message", "code", "type", "param", "raw", "loc"), text)}).encode()
    ),
    "a provider's many errors": lambda text: _fail(json.dumps({"error": {"details": list(_cut(text))}}).encode()),
    "an error in an answer": lambda text: find_error("m", {"error": {"message": text, "code": text}}, MASK),
    "how long to wait": lambda text: read_retry_after({"Retry-After": text, "retry-after-ms": text}),
    "a list of models": lambda text: find_row("m", find_rows("m", {"data": [{"id": text, "aliases": [text]}]})),
    "a long list of models": lambda text: find_row("m", find_rows("m", list(_cut(text)))),
    "what a model takes": lambda text: read_row({"supported_parameters": list(_cut(text)), "reasoning": {}}),
    "the origin of a key": lambda text: KeyOrigins({}).why_withheld("openai", f"https://{text}"),
    "a body": lambda text: check_json(text.encode("utf-8", "replace")),
    "a text in a body": lambda text: check_json(json.dumps({"prompt": text}).encode()),
    "a browser's headers": lambda text: refuse("POST", "localhost", origins=[f"http://{text}"], sites=[text]),
    "a host that is asked for": lambda text: refuse("GET", text, origins=[], sites=[]),
    "a moment": parse_moment,
    "what is wrong": lambda text: describe_problem({"loc": (text,), "msg": text}),
    "lines for the terminal": escape,
    "text for the terminal": escape_prose,
    "text in JSON": dump_json,
    "an excerpt for the terminal": lambda text: shorten(text, 160),
    "a process's output": _copy,
    "a process's log": _read_log,
    "the sandbox's paths": find_dialect,
    "the sandbox's model in a path": lambda text: find_dialect(f"/google/v1beta/models/{text}"),
    "the sandbox's requests": lambda text: read_object(text.encode("utf-8", "replace")),
    "the sandbox's structured output": lambda text: fit(text, {"type": "object", "properties": {"a": {}}}),
    "the sandbox's reading of answers": lambda text: true_quality("Why is the sky blue?", text),
    "the sandbox's evaluations": _play(TaskKind.EVALUATE),
    "the sandbox's refinements": _play(TaskKind.REFINE),
}

SENT = answer_prompt(make_thread(), nonce=NONCE).text


def _evaluate(answer: str) -> str:
    return evaluate_prompt(make_thread(), answer, nonce=NONCE).text


def _answer(prompt: str) -> str:
    return answer_prompt(make_thread(original_prompt=prompt, processed_prompt=prompt), nonce=NONCE).text


# What knows the marks of prompts' blocks and of replies.
MARKED_READERS: dict[str, Read] = {
    "the fencing of a block": lambda text: markers.fence(markers.ANSWER, text, NONCE),
    "the search for a block": lambda text: markers.find_block(markers.ANSWER, text),
    "the search for a part of a reply": lambda text: markers.find_tag("assessment", text),
    "the reading of what was sent": lambda text: read_sent(_evaluate(text)),
    "the hiding of authors": hide_author,
    "the reading of answers": lambda text: parse_answer(text, SENT),
    "the reading of assessments": parse_assessment,
    "the reading of evaluations": lambda text: parse_evaluation(text, SENT),
    "the reading of refinements": lambda text: parse_refinement(text, SENT, criticisms=3),
    "the reading of an evaluation of such an answer": lambda text: parse_evaluation(
        '{"criteria": {}}', _evaluate(text)
    ),
    "the reading of an answer to such a prompt": lambda text: parse_answer("<think>x</think>Blue.", _answer(text)),
    "the reading of a thought after such a prompt": lambda text: parse_answer(
        "Here's my thought process: x Here's my response: Blue.", _answer(text)
    ),
    "the reading of points": lambda text: parse_refinement(
        f"<revised_answer>x</revised_answer><points>[{text}", SENT, criticisms=1
    ),
}


def test_what_grows_with_the_square_is_found_and_what_grows_as_the_text_is_not() -> None:
    def look_again(text: str) -> object:
        return [text.count("b", place) for place in range(0, len(text), 40)]

    assert find_slowness(look_again, TEXTS["spaces"])
    assert find_slowness(lambda text: [char.upper() for char in text], TEXTS["spaces"]) is None


@pytest.mark.parametrize("name", READERS)
def test_takes_ten_times_as_long_for_ten_times_as_much(name: str) -> None:
    slow = {kind: problem for kind, make in TEXTS.items() if (problem := find_slowness(READERS[name], make))}

    assert not slow


@pytest.mark.parametrize("name", MARKED_READERS)
def test_marks_are_read_in_ten_times_as_long_for_ten_times_as_much(name: str) -> None:
    read = MARKED_READERS[name]
    slow = {kind: problem for kind, make in MARKED_TEXTS.items() if (problem := find_slowness(read, make))}

    assert not slow


# Patterns that are only asked about the first thousands of characters, and command lines of our own.
BOUNDED = {
    "orchestratex.rules.cues",
    "orchestratex.rules.difficulty",
    "orchestratex.providers.problems",
    "orchestratex.local.processes",
}
BOUNDED_TABLES = {  # the same of tables; the sandbox's paths are matched from their beginning, and are readers above
    "orchestratex.rules.domains",
    "orchestratex.rules.prose",
    "orchestratex.providers.sizes",
    "orchestratex.local.versions",
    "orchestratex.sandbox.dialects",
}


def _uses_by_pattern() -> dict[str, tuple[re.Pattern[str], set[str]]]:
    """Every pattern that a module names, with the methods by which the module asks it."""
    found: dict[str, tuple[re.Pattern[str], set[str]]] = {}
    for info in pkgutil.walk_packages(orchestratex.__path__, "orchestratex."):
        if info.name in BOUNDED or info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        patterns = {name: value for name, value in vars(module).items() if isinstance(value, re.Pattern)}
        held = {
            f"{name}[{place}]": (pattern, {"search", "match"})
            for name, value in vars(module).items()
            for place, pattern in enumerate(_patterns_in(value))
            if info.name not in BOUNDED_TABLES and not name.startswith("__")
        }
        found |= {f"{info.name}.{name}": uses for name, uses in held.items()}
        methods = _attributes(module) if patterns else {}
        for name in patterns.keys() & methods.keys():
            found[f"{info.name}.{name}"] = patterns[name], methods[name]
    return dict(sorted(found.items()))


def _patterns_in(value: object) -> Iterator[re.Pattern[str]]:
    """The patterns of a table."""
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        if isinstance(each, re.Pattern) and isinstance(each.pattern, str):
            yield each
        else:
            yield from _patterns_in(each)


def _attributes(module: ModuleType) -> dict[str, set[str]]:
    """What is looked up on each name of a module."""
    methods: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            methods.setdefault(node.value.id, set()).add(node.attr)
    return methods


ASKS: dict[str, Callable[[re.Pattern[str], str], object]] = {
    "match": lambda pattern, text: pattern.match(text),
    "fullmatch": lambda pattern, text: pattern.fullmatch(text),
    "search": lambda pattern, text: pattern.search(text),
    "findall": lambda pattern, text: pattern.findall(text),
    "finditer": lambda pattern, text: list(pattern.finditer(text)),
    "sub": lambda pattern, text: pattern.sub("", text),
    "split": lambda pattern, text: pattern.split(text),
}


USES = _uses_by_pattern()


@pytest.mark.parametrize("name", USES)
def test_a_pattern_is_linear_in_texts_made_of_its_own_parts(name: str) -> None:
    pattern, methods = USES[name]
    slow = {
        (method, sample): problem
        for sample in samples(pattern)
        for method in methods & ASKS.keys()
        if (
            problem := find_slowness(
                lambda text, method=method: ASKS[method](pattern, text),  # type: ignore[misc]
                lambda length, sample=sample: repeat(sample, length),  # type: ignore[misc]
                length=SHORT // 2,  # they are many
            )
        )
    }

    assert methods & ASKS.keys(), f"{name} is asked in no way that is known here"
    assert not slow
