"""Hostile texts, and the measure by which a function that reads them is judged: the time for ten times as much.

Measuring that for every function and text would take minutes. Most are told by twice as much; the others go on.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

codes: Any = import_module("re._constants")  # a pattern's parsed form is public nowhere
parser: Any = import_module("re._parser")

SHORT, GROWTH = 20_000, 10  # characters, and how many times as many a long text has
RATIO = 25.0  # linear functions take 10 times as long for the long text, quadratic ones 100 times
DOUBLE_RATIO = 2.3  # for twice as much: what stays below it is below the other, too
FAST_S = 0.1  # of processor time for the long text, the longest that is taken: whatever its growth, that is fast
SLOW_S = 3.0  # for the short text: not measured any further
TRIES = 3

NONCE = "4e2ae9672558b693"  # of prompts' blocks

# Each is repeated to the length that is wanted.
ATOMS = {
    "angles": "<",
    "braces": "{",
    "brackets": "[",
    "closing": "]}",
    "backticks": "`",
    "tildes": "~",
    "fences": "```\n",
    "dots": "a.",
    "spaces": " ",
    "gaps": "a   ",
    "spaced lines": "a  b\n",
    "newlines": "\n",
    "carriage returns": "\r",
    "separators": "\u2028\u0085",
    "tabs": "\t",
    "block starts": "<<<PROMPT 00>>>\n",
    "block ends": "\n<<<END PROMPT 00>>>",
    "answer blocks": "<<<ANSWER 00>>>\n",
    "objections": "<<<CRITICISMS 00>>>\n1. a\n",
    "tag starts": "<assessment>",
    "tag ends": "</assessment>",
    "revisions": "<revised_answer>",
    "points": '<points>[{"point": 1, "accepted": true}]</points>',
    "thoughts": "<think>",
    "marks": "\u0301",
    "marked": "a" + "\u0301" * 30,
    "two orders of marks": "\u0301\u0316",
    "confessions": "as an ai model ",
    "names": "i am gpt-4.",
    "makers": "as claude by ",
    "greetings": "hello, ",
    "digits": "1",
    "sums": "1 + ",
    "decimals": "1.",
    "commas": ",",
    "trailing commas": ",  ]",
    "quotes": '"',
    "curly quotes": "“",
    "apostrophes": "'",
    "backslashes": "\\",
    "commands": "\\frac{",
    "escapes": '"\\u00',
    "objects": '{"a":',
    "pairs": '{"accuracy": 9}',
    "emoji": "👩\u200d👩\u200d👧",
    "scripts": "aя漢한अعא",
    "sigmas": "Σ\u0301",
    "words": "word ",
    "one word": "word",
    "long words": "incomprehensibilities ",
    "underscores": "_",
    "dollars": "$",
    "percents": "%41",
    "colons": ":",
    "slashes": "/",
    "at signs": "@",
    "semicolons": "; ",
    "numbered": "1. a\n",
    "options": "A. ",
    "zero widths": "\u200b",
    "tags": "\U000e0041",
    "controls": "\x1b[",
    "directions": "\u202e",
}
# What only readers of prompts' blocks and of replies look for.
MARKS = {
    "half a block's start": "<<<PROMPT ",
    "half a block's end": "<<<END ANSWER ",
    "blocks of a nonce": f"<<<ANSWER {NONCE}>>>\n",
    "ends of a nonce": f"\n<<<END ANSWER {NONCE}>>>",
    "defused angles": "<\u200b",
    "defused ends": "<<<\u200b\u200bE\u200b",
    "wide angles": "＜",
    "assessments": '<assessment>{"confidence": 1}</assessment>',
    "half assessments": '<assessment>{"confidence": 1',
    "revised": "<revised_answer>x</revised_answer>",
    "ends of revisions": "</revised_answer>",
    "marked revisions": f"<revised_answer {NONCE[-6:]}>",
    "half points": "<points>[",
    "thoughts on lines": "\n<think>\n",
    "ends of thoughts": "</think>",
    "empty thoughts": "<think></think>",
    "ends of answers": "</answer> ",
    "channels": "<|channel|>final<|message|>",
    "half channels": "<|channel|>analysis",
    "ends of turns": "<|im_end|>",
    "starts of turns": "<|im_start|>",
    "ends of turns between words": " <|im_end|> and",
    "tokens around a letter": "<s>x</s> ",
    "ends of sequences": "</s>",
    "ends of sequences in code": "```\n</s>\n",
    "thoughts after sentences": "x. <think>y</think>",
    "open assessments": '{"confidence": 1',
    "assessments in single quotes": "{'confidence': 1}\n",
    "wrapped assessments": '\n{"assessment": {"confidence": 1}} }',
    "huge scores in words": "accuracy: 1e1 ",
    "escapes of letters": "\\u0061&quot;",
    "opened marks in brackets": "[ANSWER ab12",
    "marks in entities": "&lt;&lt;ANSWER ab12",
    "words of a re-ask": "Your last reply is ",
    "tags of answers": "<response>",
    "fences of JSON": "\n```json\n",
    "lists": '{"a":[',
    "half replies": '{"confidence": 1, "self_assessment": "',
    "criteria": '{"criteria": {"accuracy": 1}}',
    "single quotes": "{'a': 1, ",
    "scores in words": "accuracy: 1 ",
    "confidences in words": "Confidence: 1\n",
    "selves": "I am ",
    "our own words": "Now answer the request in the PROMPT block.\n",
    "other words of ours": "Do not say which model you are. ",
}
# A beginning, what is repeated, and an end.
FRAMED = {
    "open string": ('{"a": "', "\\\\", ""),
    "spaces before an end": ("a", " ", "b"),
    "spaces after a comma": ("{,", " ", "x"),
    "marks on a letter": ("a", "\u0301", ""),
    "block without an end": ("<<<PROMPT 00>>>\n", "a\n", ""),
    "ends of another block": ("<<<PROMPT 00>>>\n", "\n<<<END PROMPT 01>>>", ""),
    "deep list": ("", "[", "1"),
    "long number": ('{"confidence": ', "9", "}"),
}


Make = Callable[[int], str]


def _make_text(start: str, atom: str, end: str) -> Make:
    return lambda length: start + repeat(atom, length - len(start) - len(end)) + end


# Texts of a wanted length, by what they are made of.
TEXTS: dict[str, Make] = {
    **{name: _make_text("", atom, "") for name, atom in ATOMS.items()},
    **{name: _make_text(*parts) for name, parts in FRAMED.items()},
}
MARKED_TEXTS: dict[str, Make] = {**TEXTS, **{name: _make_text("Blue. ", atom, "") for name, atom in MARKS.items()}}


def repeat(atom: str, length: int) -> str:
    """The atom again and again, cut to the length."""
    return (atom * (length // len(atom) + 1))[:length]


def measure(read: Callable[[str], object], text: str) -> float:
    """Seconds of this thread's processor time. A refusal is a reading, too."""
    started = time.thread_time()
    with contextlib.suppress(Exception):
        read(text)
    return time.thread_time() - started


def find_slowness(read: Callable[[str], object], make: Make, *, length: int = SHORT) -> str | None:
    """What is wrong with the time that `read` takes for texts of `make`; None where it grows as they do."""
    short = make(length)
    before = measure(read, short)
    if before * GROWTH**2 < FAST_S:  # even if it were quadratic
        return None
    before = min(before, measure(read, short))
    double = make(2 * length)
    if before < SLOW_S and any(measure(read, double) < DOUBLE_RATIO * before for _ in range(2)):
        return None
    after, long = float("inf"), make(GROWTH * length)
    for _ in range(TRIES):
        before = min(before, measure(read, short))
        if before > SLOW_S:
            return f"{before:.2f} s for {len(short)} characters"
        after = min(after, measure(read, long))
        if after < FAST_S or after < RATIO * before:
            return None
    return f"{before:.3f} s for {len(short)} characters, {after:.3f} s for {len(long)}"


def samples(pattern: re.Pattern[str]) -> set[str]:
    """Texts after a pattern's own heart: what its parts match, alone and one after another."""
    return set(_sample(parser.parse(pattern.pattern, pattern.flags))) - {""}


def _sample(tree: Any) -> Iterator[str]:
    """Every part of a sequence, and every beginning of the whole."""
    whole = ""
    for code, value in tree:
        yield from _inner(code, value)
        one = _first(code, value)
        yield one
        whole += one
        yield whole


def _inner(code: Any, value: Any) -> Iterator[str]:
    if code is codes.BRANCH:
        for branch in value[1]:
            yield from _sample(branch)
    elif code is codes.SUBPATTERN:
        yield from _sample(value[-1])
    elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        yield from _sample(value[2])
        yield _text(value[2]) * 3
    elif code in (codes.ASSERT, codes.ASSERT_NOT):
        yield from _sample(value[1])


def _text(tree: Any) -> str:
    return "".join(_first(code, value) for code, value in tree)


def _first(code: Any, value: Any) -> str:
    """One text that a single item matches, as far as that can be said without its neighbours."""
    if code is codes.LITERAL:
        return chr(value)
    if code is codes.NOT_LITERAL:
        return "a" if value != ord("a") else "b"
    if code is codes.ANY:
        return "a"
    if code is codes.IN:
        return _member(value)
    if code is codes.BRANCH:
        return _text(value[1][0])
    if code is codes.SUBPATTERN:
        return _text(value[-1])
    if code is codes.ATOMIC_GROUP:
        return _text(value)
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        return _text(value[2]) * max(1, int(value[0]))
    return ""


_CATEGORIES = {codes.CATEGORY_DIGIT: "1", codes.CATEGORY_SPACE: " ", codes.CATEGORY_WORD: "a"}


def _member(items: Any) -> str:
    if items[0][0] is codes.NEGATE:
        return next(char for char in "a .1\n-é" if not any(_holds(item, char) for item in items[1:]))
    code, value = items[0]
    if code is codes.LITERAL:
        return chr(value)
    if code is codes.RANGE:
        return chr(value[0])
    return _CATEGORIES.get(value, "-")


def _holds(item: Any, char: str) -> bool:
    code, value = item
    if code is codes.LITERAL:
        return chr(value) == char
    if code is codes.RANGE:
        return bool(value[0] <= ord(char) <= value[1])
    kinds = {
        codes.CATEGORY_DIGIT: char.isdigit(),
        codes.CATEGORY_NOT_DIGIT: not char.isdigit(),
        codes.CATEGORY_SPACE: char.isspace(),
        codes.CATEGORY_NOT_SPACE: not char.isspace(),
        codes.CATEGORY_WORD: char.isalnum() or char == "_",
        codes.CATEGORY_NOT_WORD: not (char.isalnum() or char == "_"),
    }
    return bool(kinds[value])
