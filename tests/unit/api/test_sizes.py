"""What the largest body that is taken in makes of the database: nothing near MongoDB's limit of 16 MB a document."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from bson import encode
from pydantic import BaseModel, ValidationError

from orchestratex.api.views import NewThread, SessionChange, ThreadChange
from orchestratex.domain.base import MAX_PROMPT_CHARS
from orchestratex.domain.log import LogEvent
from orchestratex.domain.response import Response
from orchestratex.domain.selection import Selection
from orchestratex.domain.session import Session
from orchestratex.domain.thread import Thread
from orchestratex.rules.cleaning import clean_prompt
from orchestratex.rules.prompts import answer_prompt, evaluate_prompt
from orchestratex.steps.submit import SessionRequest
from tests.make import make_answer, make_evaluation, make_profile, make_thread

if TYPE_CHECKING:
    from tests.unit.api.conftest import Client

MAX_BYTES = 4_000_000
LONGEST_NAMES = [f"m{n}".ljust(64, "x") for n in range(200)]
# four bytes a character; four bytes that Unicode's composed form writes in twelve; six signs in JSON for one byte
WIDEST = {"emoji": "\U0001f600", "notes": "\U0001d160", "controls": "\x01"}


def count_bytes(documents: Sequence[BaseModel]) -> int:
    return sum(len(encode(json.loads(each.model_dump_json(by_alias=True)))) for each in documents)


@pytest.mark.parametrize("char", WIDEST.values(), ids=WIDEST)
def test_the_largest_body_makes_documents_below_4_mb_in_all(client: Client, char: str) -> None:
    store = client.world.store
    store.insert_profiles([make_profile(name, api_key_required=False) for name in LONGEST_NAMES])
    text = "x" + char * (MAX_PROMPT_CHARS - 1)
    body = {
        "prompt": text,
        "context": text,
        "user_id": char * 200,
        "preferred_models": LONGEST_NAMES[:64],
        "excluded_models": LONGEST_NAMES[64:128],
        "evaluators": LONGEST_NAMES[128:192],
    }

    answer = client.post("/v1/threads", body)
    documents = [each for kind in (Session, Thread, Response, Selection, LogEvent) for each in store._all(kind)]

    assert answer.status_code == 202
    assert count_bytes(documents) < MAX_BYTES


@pytest.mark.parametrize("char", WIDEST.values(), ids=WIDEST)
def test_what_is_recorded_of_the_largest_prompt_stays_below_4_mb_a_document(char: str) -> None:
    text = "x" + char * (MAX_PROMPT_CHARS - 1)
    thread = make_thread(original_prompt=text, context=text, processed_prompt=clean_prompt(text))
    sent = answer_prompt(thread, nonce="ab12").text
    response = make_answer(prompt_sent=sent, context_provided=text)
    evaluation = make_evaluation(evaluation_prompt_used=evaluate_prompt(thread, "x" * 8000, nonce="ab12").text)

    sizes = [count_bytes([each]) for each in (thread, response, evaluation)]

    assert max(sizes) < MAX_BYTES


@pytest.mark.parametrize("kind", [NewThread, SessionRequest, ThreadChange, SessionChange])
@pytest.mark.parametrize(
    "body",
    [
        {"preferred_models": [""] * 100_000},
        {"excluded_models": [{}] * 100_000, "evaluators": [0] * 100_000},
        {f"field {number}": 0 for number in range(100_000)},
    ],
    ids=["empty names", "no names", "unknown fields"],
)
def test_a_body_has_few_problems_however_much_is_wrong_with_it(kind: type[BaseModel], body: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(body)

    assert caught.value.error_count() < 25


@pytest.mark.parametrize("char", WIDEST.values(), ids=WIDEST)
def test_a_prompt_does_not_grow_when_it_is_cleaned(char: str) -> None:
    prompt = "x" + char * 10_000

    growth = len(clean_prompt(prompt).encode()) - len(prompt.encode())

    assert growth <= 0
