"""What came later is not required of documents that older versions wrote."""

from __future__ import annotations

from typing import Any

import pytest

from orchestratex.domain.base import Document
from orchestratex.domain.profile import Profile
from orchestratex.domain.response import Response
from orchestratex.domain.thread import Thread
from orchestratex.store.validators import make_validator
from tests.make import make_profile, make_response, make_thread


@pytest.mark.parametrize(
    ("kind", "path", "field"),
    [
        (Profile, ("rate_limits",), "max_concurrent_calls"),
        (Response, (), "seat_wanted_at"),
        (Response, (), "seat_wait_ms"),
        (Thread, (), "panel_size"),
        (Thread, ("scores", "items"), "asked"),
        (Thread, ("scores", "items"), "confidence"),
    ],
)
def test_a_field_that_was_added_may_be_missing(kind: type[Document], path: tuple[str, ...], field: str) -> None:
    schema: dict[str, Any] = make_validator(kind)["$jsonSchema"]
    for step in path:
        schema = schema["items"] if step == "items" else schema["properties"][step]

    assert field in schema["properties"]
    assert field not in schema["required"]


def test_documents_of_an_earlier_version_are_read() -> None:
    profile, response, thread = make_profile().model_dump(), make_response().model_dump(), make_thread().model_dump()
    score = {"iteration": 1, "response_id": response["id"], "model_name": "gpt4", "score": 7, "evaluators": 2}
    for document, field in (
        (profile["rate_limits"], "max_concurrent_calls"),
        (response, "seat_wanted_at"),
        (response, "seat_wait_ms"),
        (thread, "panel_size"),
    ):
        del document[field]

    assert Profile.model_validate(profile).rate_limits.max_concurrent_calls is None
    assert Response.model_validate(response).seat_wait_ms == 0
    assert Thread.model_validate({**thread, "scores": [score]}).scores[0].asked is None
