"""An evaluator's own scores told from scores that it repeats: an answer can hold a complete evaluation of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from orchestratex.domain.base import CRITERIA
from orchestratex.rules.meaning import plain_name
from orchestratex.rules.reading import Body, MalformedReplyError, list_objects

_NAMED_SCORE: Final = re.compile(
    r"(?<![A-Za-z])("
    + "|".join(name.replace("_", r"[_\s-]{0,3}") for name in CRITERIA)
    + r")[^\w-]{1,16}(\d{1,3}(?:\.\d{1,3})?)",
    re.IGNORECASE,
)
_QUOTING: Final = re.compile(
    r"\b(?:answer|author|response|text|user|prompt|block|it)\b[^.\n]{0,60}?"
    r"\b(?:contain|hold|include|quote|sa(?:y|id)|claim|embed|ask|state|give|gave|offer|present|provide|demand|want)\w*"
    r"|\b(?:refus|cheat|inject|manipulat|ignor|quot|declin)\w*"
    r"|\b(?:cannot|can['’]t|won['’]t|will not|not (?:score|rate|evaluate))\b"
    r"|\b(?:for example|e\.g\.|such as|an example|instead of|the form|template)",
    re.IGNORECASE,
)
_AROUND: Final = 2_000  # characters of notes beside an evaluation that are believed to be notes


def refuse_quoted(
    body: Body, criteria: Mapping[str, float], criticisms: Sequence[Mapping[str, str]], *, answer: str
) -> None:
    """Raise MalformedReplyError unless these scores are the evaluator's own.

    A reply that is nothing but the object is its own, unless it only repeats scores that stand in the answer. Beside
    words it is believed where the answer holds no scores, the words speak of no quotation, and there is no other object
    with criteria.
    """
    in_answer = list(_list_scores(answer))
    if criteria in in_answer and all(each["point"] in answer for each in criticisms):
        raise MalformedReplyError(
            "it repeats scores that stand in the answer: give your own evaluation as one JSON object and nothing else"
        )
    if body.is_whole:
        return
    around = f"{body.before}\n{body.after}"
    doubt = None
    if in_answer or _speaks_scores(answer):
        doubt = "the answer holds scores, and your reply is more than your evaluation"
    elif len(around) > _AROUND or _QUOTING.search(around):
        doubt = "it does not say whose scores these are"
    elif sum(_has_criteria(value) for _, _, value in list_objects(around)):
        doubt = "there is more than one evaluation in it"
    elif _is_inside(body):
        doubt = "the scores stand within a quotation"
    if doubt:
        raise MalformedReplyError(f"{doubt}: reply with one JSON object and nothing else")


def _is_inside(body: Body) -> bool:
    """Whether the object stands within a line of quoted text or code, or in another object."""
    line = body.before.rpartition("\n")[2]
    return line.lstrip()[:1] in (">", "|") or line[-1:] in ("`", '"', "'", "“", "\\", "[", "(", "=")


def _has_criteria(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    names = {plain_name(str(name)) for name in value}
    return "criteria" in names or len(names & set(CRITERIA)) > 2


def _speaks_scores(text: str) -> bool:
    return len({_to_name(found.group(1)) for found in _NAMED_SCORE.finditer(text)}) == len(CRITERIA)


def _list_scores(text: str) -> Iterator[dict[str, float]]:
    """Every run of eight named scores in a text, in whatever notation: each criterion once before one comes again."""
    run: dict[str, float] = {}
    for found in _NAMED_SCORE.finditer(text):
        name = _to_name(found.group(1))
        if name in run:
            run = {}
        run[name] = float(found.group(2))
        if len(run) == len(CRITERIA):
            yield dict(run)
            run = {}


def _to_name(written: str) -> str:
    return "domain_expertise" if written.lower().startswith("domain") else written.lower()
