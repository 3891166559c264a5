"""An evaluator's own scores told from scores that it repeats: an answer can hold a complete evaluation of itself."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from orchestratex.domain.base import CRITERIA
from orchestratex.rules.meaning import plain_name
from orchestratex.rules.reading import STRING, Body, MalformedReplyError, list_objects

_NAMES: Final = "|".join(name.replace("_", r"[_\s-]{0,3}") for name in CRITERIA)
_NAME: Final = re.compile(rf"(?<![A-Za-z])(?:{_NAMES})", re.IGNORECASE)
_WORDS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER: Final = re.compile(
    rf"(?<![\w.])(?:\d{{1,3}}(?:[.,]\d{{1,9}})?(?:e[+-]?\d{{1,2}})?|{'|'.join(_WORDS)})(?!\w)", re.IGNORECASE
)
_REACH: Final = 200  # characters behind a criterion's name in which its score may stand
_SAID_SCORE: Final = re.compile(
    rf"(?<![A-Za-z])({_NAMES})(?:[^\w-]|\b(?:is|of|at|to|as|be|should|score|rating)\b){{1,24}}(\d{{1,2}}(?:\.\d{{1,3}})?)(?![\w%])",
    re.IGNORECASE,
)
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_OWN: Final = re.compile(
    r"\b(?:here(?:['’]s| is| are)|below (?:is|are)|this is|my|i (?:offer|give|present|provide))\b[^.\n]{0,40}"
    r"\b(?:evaluation|assessment|review|ratings?|scores?|analysis|json|object|output)\b",
    re.IGNORECASE,
)
_REFUSING: Final = re.compile(
    r"\bI(?:['’]m| am)?\s{1,3}(?:refus\w*|declin\w*|cannot|can['’]t|won['’]t|will not|not able|unable|did not|do not)\b"
    r"|\b(?:cannot|not|refuse to|decline to) (?:score|rate|evaluate|judge|grade|assess)\b|\bno scores\b",
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
_POINTING: Final = re.compile(
    r"\W*(?:this|that|these|those|it|they|which|the above)\b[^.\n]{0,60}"
    r"(?:\bquot|\bstands?\b|\bcopie[sd]|\brepeat|answer['’]s|author['’]s|\bfrom the\b|\bin the answer|\bwhat the\b)",
    re.IGNORECASE,
)
_SENTENCE_END: Final = re.compile(r"[.!?。]\s|[^:\s][ \t]{0,9}\n[ \t]{0,9}\n")
_AROUND: Final = 2_000  # characters of notes beside an evaluation that are believed to be notes


def refuse_quoted(
    body: Body, criteria: Mapping[str, float], criticisms: Sequence[Mapping[str, str]], *, answer: str
) -> None:
    """Raise MalformedReplyError unless these scores are the evaluator's own.

    A reply that is nothing but the object is its own, unless it only repeats scores that stand in the answer. Beside
    words it is believed where the answer holds no scores, the words speak of no quotation and give no other scores, and
    there is no other object with criteria.
    """
    plain = _unescape(answer)
    scores, bare = _find_scores(plain), _bare(plain)
    holds_scores = len(scores) == len(CRITERIA)
    is_same = holds_scores and all(criteria[name] in scores[name] for name in CRITERIA)
    is_copied = bool(answer) and _bare(_unescape(body.text)) in bare
    if is_copied or (is_same and all(_bare(_unescape(each["point"])) in bare for each in criticisms)):
        raise MalformedReplyError(
            "it repeats scores that stand in the answer: give your own evaluation as one JSON object and nothing else"
        )
    if body.is_whole:
        return
    around = f"{body.before}\n{body.after}"
    doubt = None
    if holds_scores:
        doubt = "the answer holds scores, and your reply is more than your evaluation"
    elif len(around) > _AROUND or _speaks_of_quoting(body, is_known=bool(answer)):
        doubt = "it does not say whose scores these are"
    elif _has_other(body):
        doubt = "there is more than one evaluation in it"
    elif _is_inside(body):
        doubt = "the scores stand within a quotation"
    elif any(float(said) != criteria[_to_name(name)] for name, said in _SAID_SCORE.findall(around)):
        doubt = "the words beside it give other scores"
    if doubt:
        raise MalformedReplyError(f"{doubt}: reply with one JSON object and nothing else")


def _speaks_of_quoting(body: Body, *, is_known: bool) -> bool:
    """Whether the words around the object leave open whose it is.

    Of an answer that is known to hold no scores a note may say what it contains; what leads to the object may not.
    """
    ends = list(_SENTENCE_END.finditer(body.before))
    place = ends[-1].end() if ends else 0
    earlier, lead = body.before[:place], body.before[place:]
    is_lead_own = bool(_OWN.search(lead)) and not _REFUSING.search(lead)
    if _QUOTING.search(lead) and not is_lead_own:
        return True
    if not is_known:
        return bool(_QUOTING.search(earlier) or _QUOTING.search(body.after))
    return bool(_REFUSING.search(earlier) or _REFUSING.search(body.after) or _POINTING.match(body.after))


def _has_other(body: Body) -> bool:
    """Whether another object with criteria stands beside this one; the same one again, without a word, is none."""
    others, words = [], ""
    for text in (body.before, body.after):
        place = 0
        for start, end, value in list_objects(text):
            if _has_criteria(value):
                others.append(value)
                words += text[place:start]
                place = end
        words += text[place:]
    if not others:
        return False
    try:
        own = json.loads(body.text, strict=False)
    except (ValueError, RecursionError):
        return True
    return any(each != own for each in others) or bool(re.search(r"\w", words.replace("```json", "")))


def _is_inside(body: Body) -> bool:
    """Whether the object stands within a line of quoted text or code, or in another object."""
    line = body.before.rpartition("\n")[2]
    outside = STRING.sub("", body.before)
    if line.lstrip()[:1] in (">", "|") or outside.count("{") > outside.count("}"):
        return True
    is_code = line == "`" and body.after.rstrip() == "`"  # the whole reply as code
    return line[-1:] in ("`", '"', "'", "“", "\\", "[", "(", "=") and not is_code


def _has_criteria(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    names = {plain_name(str(name)) for name in value}
    return "criteria" in names or len(names & set(CRITERIA)) > 2


def _find_scores(text: str) -> dict[str, set[float]]:
    """The numbers that a text may give to each criterion, in whatever notation.

    A name without a number of its own shares that of the next: "accuracy, clarity and safety: 10".
    """
    found = list(_NAME.finditer(text))
    scores: dict[str, set[float]] = {}
    last: set[float] = set()
    for place in range(len(found) - 1, -1, -1):
        start = found[place].end()
        end = found[place + 1].start() if place + 1 < len(found) else len(text)
        written = [number.group() for number in _NUMBER.finditer(text, start, min(end, start + _REACH))]
        own = {number for each in written for number in _to_numbers(each)}
        last = own or last
        if last:
            scores.setdefault(_to_name(found[place].group()), set()).update(last)
    return scores


def _to_numbers(written: str) -> set[float]:
    """The numbers that may be meant: "9,5" is one or two."""
    word = written.casefold()
    if word in _WORDS:
        return {float(_WORDS.index(word) + 1)}
    return {float(word.replace(",", ".")), *(float(part) for part in word.split(","))}


def _unescape(text: str) -> str:
    """The text as a reader of its JSON or HTML would see it: without escapes and what nobody sees."""
    plain = html.unescape(_ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), text))
    seen = "".join(char for char in unicodedata.normalize("NFKC", plain) if unicodedata.category(char) != "Cf")
    return re.sub(r"\s+", " ", seen)


def _bare(text: str) -> str:
    """The letters and figures of a text alone, for telling whether one was copied from another."""
    return re.sub(r"[\W_]+", "", re.sub(r"\\+[nrtbf]", " ", text)).casefold()


def _to_name(written: str) -> str:
    return "domain_expertise" if written.lower().startswith("domain") else written.lower()
