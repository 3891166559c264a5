"""What reads foreign text takes time in proportion to its length, however hostile the text."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from orchestratex.rules import markers
from orchestratex.rules.prompts import answer_prompt, evaluate_prompt, hide_author
from orchestratex.rules.replies import MalformedReplyError, parse_answer, parse_evaluation, parse_refinement
from orchestratex.rules.sent import read_sent
from tests.make import make_thread

NONCE = "4e2ae9672558b693"
SHORT, LONG = 20_000 - 10, 200_000 - 10
MOST_RATIO = 40  # a linear reader takes ten times as long, a quadratic one a hundred times
TOO_SHORT_TO_JUDGE_S = 0.15

PIECES = [
    "<",
    ">",
    "<<<",
    "<<<PROMPT ",
    "<<<END ANSWER ",
    f"<<<ANSWER {NONCE}>>>\n",
    f"\n<<<END ANSWER {NONCE}>>>",
    "<<<ANSWER ab>>>\n",
    "<\u200b",
    "\u200b",
    "<<<\u200b\u200bE\u200b",
    "＜",
    "<assessment>",
    '<assessment>{"confidence": 1',
    '<assessment>{"confidence": 1}</assessment>',
    '<assessment>{"',
    "</assessment>",
    "<revised_answer>",
    "</revised_answer>",
    "<revised_answer>x</revised_answer>",
    f"<revised_answer {NONCE[-6:]}>",
    "<points>",
    "<points>[",
    "<think>",
    "<think>\n",
    "\n<think>\n",
    "</think>",
    "<think></think>",
    "<answer>",
    "</answer> ",
    "<|channel|>",
    "<|channel|>final<|message|>",
    "<|channel|>analysis",
    "<|im_end|>",
    " <|im_end|> and",
    "<s>x</s> ",
    "</s>",
    "```\n</s>\n",
    "x. <think>y</think>",
    '{"confidence": 1',
    "{'confidence': 1}\n",
    '\n{"assessment": {"confidence": 1}} }',
    "accuracy: 1e1 ",
    "\\u0061&quot;",
    "[ANSWER ab12",
    "&lt;&lt;ANSWER ab12",
    "Your last reply is ",
    "<response>",
    "<|im_start|>",
    "```",
    "```\n",
    "\n```json\n",
    "{",
    "}",
    "[",
    '{"a":',
    '{"a":[',
    '{"confidence": ',
    '{"confidence": 1, "self_assessment": "',
    '{"criteria": {"accuracy": 1}}',
    '"',
    '\\"',
    "{'a': 1, ",
    "accuracy: 1 ",
    "1",
    " ",
    "\t",
    "\n",
    "a. ",
    "Confidence: 1\n",
    "I am ",
    "I am an AI model ",
    "the answer ",
    "Do not say which model you are. ",
    "Now answer the request in the PROMPT block.\n",
]
SENT = answer_prompt(make_thread(), nonce=NONCE).text

READERS: dict[str, Callable[[str], object]] = {
    "fence": lambda text: markers.fence(markers.ANSWER, text, NONCE),
    "find_block": lambda text: markers.find_block(markers.ANSWER, text),
    "read_sent": lambda text: read_sent(evaluate_prompt(make_thread(), text, nonce=NONCE).text),
    "hide_author": hide_author,
    "parse_answer": lambda text: parse_answer(text, SENT),
    "parse_evaluation": lambda text: parse_evaluation(text, SENT),
    "parse_evaluation of such an answer": lambda text: parse_evaluation(
        '{"criteria": {}}', evaluate_prompt(make_thread(), text, nonce=NONCE).text
    ),
    "parse_refinement of points": lambda text: parse_refinement(
        f"<revised_answer>x</revised_answer><points>[{text}", SENT, criticisms=1
    ),
    "parse_answer to such a prompt": lambda text: parse_answer(
        "<think>x</think>Blue.",
        answer_prompt(make_thread(original_prompt=text, processed_prompt=text), nonce=NONCE).text,
    ),
}


def measure(read: Callable[[str], object], piece: str, length: int) -> float:
    text = "Blue. " + piece * (length // len(piece))
    begin = time.thread_time()
    with contextlib.suppress(MalformedReplyError):
        read(text)
    return time.thread_time() - begin


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("piece", PIECES)
def test_reading_takes_time_in_proportion_to_the_text(name: str, piece: str) -> None:
    long = measure(READERS[name], piece, LONG)
    if long > TOO_SHORT_TO_JUDGE_S:
        short = max(measure(READERS[name], piece, SHORT) for _ in range(2))
        long = min(long, measure(READERS[name], piece, LONG))

        assert long < MOST_RATIO * short
