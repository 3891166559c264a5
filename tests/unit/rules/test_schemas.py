"""The schema bounds the reply as far as the server's dialect takes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestratex.domain.base import CRITERIA, Purpose, Role
from orchestratex.providers.google import to_response_schema
from orchestratex.rules.schemas import assessment_schema, evaluation_schema, reply_schema
from tests.make import make_profile

PLAIN = {"type", "properties", "required", "additionalProperties", "items", "enum"}
BOUNDS = {
    ("openai", "openai", False): {"maxItems"},
    ("openai", "xai", False): set(),
    ("openai", "mistral", False): set(),
    ("openai", "somebody", False): set(),
    ("openai", "home", True): {"maxItems", "maxLength"},
    ("anthropic", "anthropic", False): set(),
    ("google", "google", False): {"minimum", "maximum", "maxItems"},
    ("", "", False): set(),
}


def walk(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for each in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from walk(each)


@pytest.mark.parametrize(("dialect", "provider", "is_own"), BOUNDS)
def test_a_schema_holds_what_its_dialect_takes_and_nothing_else(dialect: str, provider: str, is_own: bool) -> None:
    used = {name for part in walk(evaluation_schema(dialect, provider, is_own=is_own)) for name in part}

    assert used - PLAIN == BOUNDS[dialect, provider, is_own]


@pytest.mark.parametrize("dialect", ["openai", "anthropic", ""])
def test_a_score_is_one_of_ten_numbers(dialect: str) -> None:
    schema = evaluation_schema(dialect)

    for score in (*schema["properties"]["criteria"]["properties"].values(), schema["properties"]["confidence"]):
        assert score["enum"] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_google_is_given_a_range_for_a_score() -> None:
    score = to_response_schema(evaluation_schema("google", "google"))["properties"]["criteria"]["properties"]["safety"]

    assert score == {"type": "INTEGER", "minimum": 1, "maximum": 10}


def test_scores_come_last() -> None:
    schema = evaluation_schema()

    assert schema["required"][:3] == ["checks", "criticisms", "has_plain_error"]
    assert schema["required"][-2:] == ["criteria", "confidence"]
    assert schema["properties"]["criteria"]["required"] == list(CRITERIA)


@pytest.mark.parametrize(
    ("role", "purpose", "schema"),
    [
        (Role.EVALUATOR, Purpose.EVALUATION, evaluation_schema("openai", "home", is_own=True)),
        (Role.EVALUATOR, Purpose.RE_ASK, evaluation_schema("openai", "home", is_own=True)),
        (Role.PRIMARY, Purpose.ASSESSMENT, assessment_schema("openai", "home", is_own=True)),
        (Role.PRIMARY, Purpose.ANSWER, None),
        (Role.REFINER, Purpose.ANSWER, None),
    ],
)
def test_evaluations_and_assessments_have_a_schema(role: Role, purpose: Purpose, schema: dict[str, Any] | None) -> None:
    profile = make_profile(dialect="openai", provider="home", api_endpoint="http://127.0.0.1:8080/v1")

    assert reply_schema(profile, role, purpose) == schema
