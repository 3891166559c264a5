"""What prompts demand and texts cover."""

from __future__ import annotations

import pytest

from orchestratex.domain.base import Domain
from orchestratex.sandbox.domains import EXPECTATIONS, guess_domain
from orchestratex.sandbox.models import MODELS, build_catalogue
from orchestratex.sandbox.prose import write_flaw, write_statement
from orchestratex.sandbox.seeds import draw_unit, make_rng
from orchestratex.sandbox.words import pick_words
from orchestratex.sandbox.world import find_phrase, is_flawed, read_demand, true_quality

PROMPT = "Write a python function that parses invoices"


@pytest.mark.parametrize(
    ("prompt", "domain"),
    [
        (PROMPT, Domain.CODING),
        ("Write a haiku about rain", Domain.CREATIVE),
        ("Who was the first king of Norway?", Domain.FACTUAL),
        ("Solve 3 + x = 7", Domain.MATH),
        ("Translate this letter", Domain.TRANSLATION),
        ("Is the mood of this text good?", Domain.SENTIMENT),
        ("How do I plan a party?", Domain.GENERAL),
        ("写一个函数来排序", Domain.CODING),
        ("", Domain.GENERAL),
    ],
)
def test_guesses_the_domain(prompt: str, domain: Domain) -> None:
    assert guess_domain(prompt) is domain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Please write the garden and the garden gate", ("garden", "gate")),
        ("排序数组", ("排序", "数组")),
        ("हिन्दी कविता", ("हिन्दी", "कविता")),
        ("стихотворение о море", ("стихотворение", "море")),
        ("데이터 인덱스", ("데이터", "인덱스")),
        ("17 * 230", ("17", "230")),
        ("😀 !?", ()),
        ("Cafe\u0301", ("café",)),
    ],
)
def test_picks_content_words_in_any_script(text: str, words: tuple[str, ...]) -> None:
    assert pick_words(text, 8) == words


def test_prefers_frequent_words_and_keeps_their_order() -> None:
    assert pick_words("alpha beta gamma beta alpha delta", 2) == ("alpha", "beta")


@pytest.mark.parametrize("domain", list(Domain))
def test_every_domain_expects_something(domain: Domain) -> None:
    assert 4 <= len(EXPECTATIONS[domain]) <= 6


def test_demand_is_words_and_expectations() -> None:
    demand = read_demand(PROMPT)

    assert list(demand.requirements) == ["python", "function", "parses", "invoices", *EXPECTATIONS[Domain.CODING]]


def test_statements_can_be_read_back() -> None:
    rng = make_rng("statements")
    for requirement in read_demand(PROMPT).requirements.values():
        for model in MODELS.values():
            right, wrong = (write(requirement, rng, model.style) for write in (write_statement, write_flaw))
            assert find_phrase(right) == find_phrase(wrong) == requirement.phrase
            assert not is_flawed(right)
            assert is_flawed(wrong)


@pytest.mark.parametrize(
    ("right", "wrong", "quality"),
    [(0, 0, 0), (9, 0, 1), (3, 0, 3 / 9), (3, 1, 2.5 / 9), (0, 4, 0), (9, 1, 8.5 / 9)],
)
def test_quality_is_covered_share_minus_flaws(right: int, wrong: int, quality: float) -> None:
    phrases = list(read_demand(PROMPT).requirements)
    covered = [f"On “{phrase}” all is said." for phrase in phrases[:right]]
    flawed = [f"“{phrase}” holds in every case without a single exception." for phrase in phrases[::-1][:wrong]]

    assert true_quality(PROMPT, "\n".join(covered + flawed)) == pytest.approx(quality)


def test_text_about_something_else_is_worth_nothing() -> None:
    assert true_quality(PROMPT, "On “gardens” and python much can be said.") == 0


def test_chance_repeats_itself() -> None:
    draws = [draw_unit("a", n) for n in range(1000)]

    assert draws == [draw_unit("a", n) for n in range(1000)]
    assert all(0 <= draw < 1 for draw in draws)
    assert 0.45 < sum(draws) / 1000 < 0.55


def test_models_answer_to_all_their_names() -> None:
    catalogue = build_catalogue({"My-Model": "qwen"}, {"grok": (1, 2)})

    assert catalogue["gpt-4o-2024-08-06"].name == "gpt4"
    assert catalogue["llama-3.1-405b-instruct"].name == "llama"
    assert catalogue["my-model"].name == "qwen"
    assert catalogue["gpt-6.1-sol"].name == "gpt4"
    assert (catalogue["grok-4.7"].input_nanos, catalogue["grok"].output_nanos) == (1, 2)
