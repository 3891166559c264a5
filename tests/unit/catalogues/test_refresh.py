"""What the catalogues of others change in profiles, and what they leave alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pytest

from orchestratex.catalogues.base import Catalogue, Entry
from orchestratex.catalogues.known import find_retirement, known_models
from orchestratex.catalogues.merge import merge
from orchestratex.catalogues.refresh import Proposal, load_catalogues, propose
from orchestratex.domain.prices import PriceSchedule
from orchestratex.domain.profile import Profile, todays_costs
from orchestratex.errors import InputError
from orchestratex.steps.profiles import load_profiles
from orchestratex.store.memory import MemoryStore
from orchestratex.store.migrations import shipped_profiles, shipped_rows
from tests.make import make_profile

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
SHIPPED = {row["model_name"]: row for row in shipped_rows()}
CATALOGUES = load_catalogues()
OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Listed:
    """A catalogue that knows what it is told."""

    name: str
    known: dict[str, Entry] = field(default_factory=dict)

    @property
    def edition(self) -> str:
        return f"{self.name} 1"

    def find(self, provider: str, version: str) -> Entry | None:
        return self.known.get(version)

    def models(self) -> list[tuple[str, str]]:
        return [("openai", version) for version in self.known]


def one(name: str, *periods: dict[str, Any], **fields: Any) -> Listed:
    """A catalogue that knows `m-1`."""
    prices = [PriceSchedule.model_validate({"source": f"{name} 1", "periods": list(periods)})] if periods else []
    return Listed(name, {"m-1": Entry(name, prices, **fields)})


def look(profile: Profile, *catalogues: Catalogue, **options: Any) -> Proposal:
    return propose(profile, catalogues, shipped=options.pop("shipped", {}), now=NOW, **options)


def make_known(**fields: Any) -> Profile:
    prices = [{"source": "a 0", "periods": [{"input": 1, "output": 2}]}]
    known = {"provider": "openai", "model_version": "m-1", "api_endpoint": OPENAI, "prices": prices}
    return make_profile("mine", **{**known, **fields})


def apply(profile: Profile, proposal: Proposal) -> Profile:
    store = MemoryStore()
    store.insert_profiles([profile])
    load_profiles([{**proposal.row, "model_name": profile.model_name}], store, now=NOW)
    return store.profiles()[0]


def test_a_price_that_has_changed_is_shown_and_written() -> None:
    profile = make_known()

    proposal = look(profile, one("a", {"input": 3, "output": 4}))

    assert proposal.is_changed
    assert proposal.findings == ["$1 in, $2 out [a 0] -> $3 in, $4 out [a 1]"]
    after = apply(profile, proposal)
    assert (after.cost_per_input_token, after.cost_per_output_token) == (3e-6, 4e-6)
    assert (after.prices_as_of, after.prices[0].source) == ("2026-11-27", "a 1")


def test_what_has_not_changed_is_dated_anew() -> None:
    profile = make_known(prices_as_of="2026-01-01")

    proposal = look(profile, one("a", {"input": 1, "output": 2}))

    assert not proposal.is_changed
    after = apply(profile, proposal)
    assert after.prices == profile.prices
    assert after.prices_as_of == "2026-11-27"


def test_where_two_disagree_both_are_kept_and_the_dearer_counts() -> None:
    profile = make_known()

    proposal = look(profile, one("a", {"input": 1, "output": 9}), one("b", {"input": 3, "output": 4}))

    assert proposal.is_disputed
    after = apply(profile, proposal)
    assert [each.source for each in after.prices] == ["a 1", "b 1"]
    assert (after.cost_per_input_token, after.cost_per_output_token) == (3e-6, 9e-6)


def test_two_that_say_the_same_in_other_words_agree() -> None:
    a = one("a", {"input": 1, "output": 2, "cached_input": 1, "tiers": [{"above": 5, "input": 1, "output": 2}]})
    b = one("b", {"input": 9, "output": 9}, {"since": datetime(2026, 1, 1, tzinfo=UTC), "input": 1, "output": 2})

    proposal = look(make_known(), a, b)

    assert not proposal.is_disputed
    assert not proposal.is_changed
    assert proposal.findings == ["unchanged: $1 in, $2 out [a 1, b 1]"]


def test_who_is_trusted_is_followed_from_then_on() -> None:
    a, b = one("a", {"input": 1, "output": 9}), one("b", {"input": 3, "output": 4})
    decided = apply(make_known(), look(make_known(), a, b, trust="a", is_named=True))

    again = look(decided, one("a", {"input": 2, "output": 9}), b)

    assert [each.source for each in decided.prices] == ["a 1"]
    assert not again.is_disputed
    after = apply(decided, again)
    assert [(each.source, each.is_decided, each.periods[0].input) for each in after.prices] == [("a 1", True, 2.0)]


def test_trust_in_who_does_not_know_the_model_is_refused() -> None:
    with pytest.raises(InputError, match="b does not know what m-1 of openai costs"):
        look(make_known(), one("a", {"input": 1, "output": 9}), Listed("b"), trust="b", is_named=True)


def test_prices_that_a_person_set_stay_until_the_model_is_named() -> None:
    profile, listed = make_known(prices=[]), one("a", {"input": 3, "output": 4})

    assert look(profile, listed).row == {}
    assert "keeps its own prices" in look(profile, listed).findings[0]
    assert look(profile, listed, is_named=True).row["prices"]


def test_an_edit_by_hand_takes_the_place_of_a_schedule() -> None:
    store = MemoryStore()
    store.insert_profiles([make_known()])

    load_profiles([{"model_name": "mine", "cost_per_input_token": 5e-6}], store, now=NOW)

    after = store.profiles()[0]
    assert (after.prices, after.cost_per_input_token) == ([], 5e-6)
    assert look(after, one("a", {"input": 3, "output": 4})).row == {}


def test_a_model_at_another_address_keeps_its_prices() -> None:
    gateway = make_known(api_endpoint="http://127.0.0.1:8080/v1")

    proposal = look(gateway, one("a", {"input": 3, "output": 4}))

    assert proposal.row == {}
    assert "http://127.0.0.1:8080/v1" in proposal.findings[0]


def test_a_model_that_nobody_knows_is_left_alone() -> None:
    proposal = look(make_known(model_version="m-2"), one("a", {"input": 3, "output": 4}))

    assert (proposal.row, proposal.findings) == ({}, ["no catalogue knows what m-2 costs"])


def test_a_context_longer_than_the_providers_is_shortened_and_a_shorter_one_stays() -> None:
    listed = one("a", {"input": 1, "output": 2}, max_context_length=4000)

    assert look(make_known(max_context_length=3000), listed).row.get("max_context_length") is None
    assert look(make_known(max_context_length=8000), listed).row["max_context_length"] == 4000


@pytest.mark.parametrize("status", ["deprecated", "removed"])
def test_a_retired_model_gives_its_slot_to_the_one_that_is_shipped_today(status: str) -> None:
    row = {**SHIPPED["gpt4"], "model_name": "mine"}
    old = make_known()

    proposal = look(old, one("a", {"input": 1, "output": 2}, status=status), *CATALOGUES, shipped={"mine": row})

    assert proposal.retirement is not None
    assert proposal.retirement.is_over is (status == "removed")
    after = apply(old, proposal)
    assert (after.model_version, after.rate_limits) == (row["model_version"], old.rate_limits)
    assert after.cost_per_input_token == row["cost_per_input_token"]


def test_a_retired_model_at_another_address_is_only_told() -> None:
    old = make_known(api_endpoint="https://gateway.example/v1")

    proposal = look(old, one("a", status="removed"), shipped={"mine": {**SHIPPED["gpt4"], "model_name": "mine"}})

    assert proposal.row == {}
    assert "marked removed by a" in proposal.findings[0]


@pytest.mark.parametrize(
    ("version", "today", "is_over"),
    [("gpt-4o-2024-08-06", date(2027, 1, 13), False), ("gpt-4o-2024-08-06", date(2027, 1, 14), True)],
)
def test_a_retirement_has_its_day(version: str, today: date, is_over: bool) -> None:
    found = find_retirement("openai", version, today)

    assert found is not None
    assert (found.is_over, found.successor) == (is_over, "gpt-6-luna")
    assert "2027-01-14" in found.text


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("gpt4-turbo", "gpt-4-turbo-2024-04-09"),
        ("claude", "claude-3-5-sonnet-20241022"),
        ("gemini", "gemini-1.5-pro-002"),
        ("grok", "grok-2-1212"),
        ("qwen", "qwen2.5-72b-instruct"),
        ("llama", "Llama-3.1-405B-Instruct"),
        ("mistral", "mistral-large-2407"),
    ],
)
def test_what_was_shipped_before_is_told_to_be_gone_without_any_catalogue(name: str, version: str) -> None:
    found = find_retirement(SHIPPED[name]["provider"], version, NOW.date())

    assert found is not None
    assert found.is_over


def test_every_row_of_our_own_table_says_where_it_is_from() -> None:
    for row in known_models().values():
        assert row.source
        assert row.looked_up <= NOW.date()
        assert row.retired_on or row.is_retired or row.max_context_length


@pytest.mark.parametrize("profile", shipped_profiles(NOW), ids=lambda profile: profile.model_name)
def test_no_shipped_model_is_marked_retired_and_all_are_priced_as_the_pinned_catalogues_say(profile: Profile) -> None:
    proposal = look(profile, *CATALOGUES, shipped=SHIPPED)

    assert proposal.retirement is None
    assert not proposal.is_changed
    assert proposal.findings[0].startswith("unchanged: ")
    row = SHIPPED[profile.model_name]
    costs = todays_costs(profile.prices, datetime.fromisoformat(row["prices_as_of"]).replace(tzinfo=UTC))
    assert {name: row.get(name) for name in costs} == costs
    assert row["model_version"] == profile.model_version


@pytest.mark.parametrize(
    ("provider", "name"),
    [("google", "gemini-4-argon-preview"), ("openai", "GPT-4o"), ("anthropic", "claude-sonnet-5.5"), ("xai", "grok")],
)
def test_models_are_asked_for_by_their_exact_ids(provider: str, name: str) -> None:
    assert [each.find(provider, name) for each in CATALOGUES] == [None, None]


def test_an_alias_has_no_price() -> None:
    profile = make_known(
        provider="mistral", model_version="mistral-large-latest", api_endpoint="https://api.mistral.ai/v1"
    )

    proposal = look(profile, *CATALOGUES, is_named=True)

    assert proposal.row == {}
    assert "is an alias" in proposal.findings[0]


def test_schedules_keep_the_future_and_forget_the_past() -> None:
    gemini = [entry for each in CATALOGUES if (entry := each.find("google", "gemini-4-argon"))]

    later = merge(gemini, datetime(2026, 12, 15, tzinfo=UTC))

    assert [(len(each.periods), each.periods[0].input) for each in later] == [(1, 4.0), (1, 2.0)]


def test_commands_load_no_catalogue_until_they_are_asked_to() -> None:
    code = "import sys, orchestratex.cli.main, orchestratex.bootstrap; print('genai_prices' in sys.modules)"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "False"
