"""By what models are reached, and what is told where that is not as somebody might think."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orchestratex.bootstrap import make_providers
from orchestratex.cli import reach
from orchestratex.cli.access import describe_access, describe_models
from orchestratex.cli.reach import Reached, apply_environment
from orchestratex.domain.profile import Profile
from orchestratex.settings import Settings
from tests.make import make_profile
from tests.support import World
from tests.unit.cli.test_following import FakeStack

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

NO_KEYS: dict[str, Any] = {name: None for name in Settings.model_fields if name.endswith("_api_key")}
SANDBOX = {
    "ORCHESTRATEX_KEYED_PROVIDERS": "",
    "ORCHESTRATEX_MODELS_BASE_URL": "http://127.0.0.1:8700/v1",
    "ORCHESTRATEX_MODELS_API_KEY": "sandbox",
}
OWN = make_profile("mine", provider="ollama", api_key_required=False, api_endpoint="http://127.0.0.1:11434/v1")
OPENAI = make_profile("gpt4", api_endpoint="https://api.openai.com/v1")
ADD = (
    *("models", "add", "mine", "--provider", "ollama", "--version", "m", "--endpoint", "http://127.0.0.1:11434/v1"),
    *("--input-price", "0", "--output-price", "0", "--context", "8000", "--specialty", "coding"),
    *("--requests-per-minute", "600", "--tokens-per-minute", "1000000"),
)

Use = Callable[..., Reached]


def make_settings(**values: Any) -> Settings:
    return Settings.model_validate({**NO_KEYS, **values})


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Iterator[Use]:
    """Commands reach a world with these profiles over this stack, through the real rule of who can be served."""
    made = []

    def use_stack(*profiles: Profile, stack: FakeStack | None = None, **settings: Any) -> Reached:
        applied = apply_environment(make_settings(**settings), stack.environment if stack else {})
        world = World(profiles=profiles or None)
        made.append(make_providers(applied))
        reached = Reached(replace(world.services, settings=applied, providers=made[-1]), stack)

        @contextmanager
        def reach_store(_settings: Settings, *, with_models: bool = False) -> Iterator[Reached]:
            yield reached

        monkeypatch.setattr(reach, "reach_store", reach_store)
        return reached

    yield use_stack
    for providers in made:
        providers.close()


def running(**environment: str) -> FakeStack:
    """A stack that another command runs, with workers."""
    names = ["mongodb", "redis", "worker", "control", "beat"]
    return FakeStack(names, uses_sandbox="ORCHESTRATEX_MODELS_API_KEY" in environment, environment=environment)


@pytest.mark.parametrize(
    ("profile", "settings", "expected"),
    [
        (OPENAI, {}, None),
        (OPENAI, {"models_base_url": "http://gateway"}, "gateway"),
        (OPENAI, {"openai_api_key": "k"}, "key"),
        (OPENAI, {"keyed_providers": "openai"}, "key"),
        (OPENAI, {"mistral_api_key": "k"}, None),
        (
            OPENAI.model_copy(update={"api_endpoint": "http://127.0.0.1:9/v1"}),
            {"openai_api_key": "sk-0123456789"},
            None,
        ),
        (OWN, {}, "open endpoint"),
        (OWN.model_copy(update={"dialect": "latin"}), {}, None),
        (OWN, {"openai_api_key": "k"}, "open endpoint"),
        (OWN.model_copy(update={"provider": "openai"}), {"openai_api_key": "sk-0123456789"}, "open endpoint"),
    ],
)
def test_how_a_model_is_reached_is_what_calls_do(
    use: Use, profile: Profile, settings: dict[str, Any], expected: str | None
) -> None:
    assert describe_access(profile, use(profile, **settings)) == expected


def test_a_running_stacks_own_sandbox_counts_and_not_what_is_set_here(use: Use, run: Run) -> None:
    use(stack=running(**SANDBOX), openai_api_key="sk-0123456789")

    listed = json.loads(run("models", "--json").out)

    assert {each["reached_by"] for each in listed} == {"sandbox"}


def test_a_running_stacks_own_keys_count_and_not_what_is_set_here(use: Use, run: Run) -> None:
    use(stack=running(ORCHESTRATEX_KEYED_PROVIDERS="mistral"), openai_api_key="sk-0123456789")

    listed = json.loads(run("models", "--json").out)

    assert {each["model_name"]: each["reached_by"] for each in listed if each["reached_by"]} == {"mistral": "key"}


def test_the_sandbox_is_not_said_to_play_a_model_that_it_does_not_know(use: Use, run: Run) -> None:
    use(OPENAI, OWN, stack=running(**SANDBOX))

    ran = run("models")

    assert "not in the sandbox" in next(line for line in ran.out.splitlines() if line.startswith("mine"))
    assert "not in the sandbox" not in next(line for line in ran.out.splitlines() if line.startswith("gpt4"))


def test_with_models_of_ones_own_the_shipped_ones_lack_a_key(use: Use, run: Run) -> None:
    use(OPENAI, OWN)

    listed = {each["model_name"]: each["reached_by"] for each in json.loads(run("models", "--json").out)}

    assert listed == {"gpt4": None, "mine": "open endpoint"}
    assert "no key is set" in run("models").out


def test_who_adds_a_model_hears_that_a_running_sandbox_plays_on(use: Use, run: Run) -> None:
    use(OPENAI, stack=running(**SANDBOX))

    ran = run(*ADD, "--no-key")

    assert (ran.code, ran.out) == (0, "mine: added\n")
    assert ran.err == (
        "The running stack's sandbox plays the models until `orchestratex up` is started again; "
        "then mine can be asked, and it plays none.\n"
    )


def test_who_edits_a_shipped_model_beside_a_running_sandbox_hears_nothing(use: Use, run: Run) -> None:
    use(OPENAI, stack=running(**SANDBOX))

    assert run("models", "edit", "gpt4", "--max-concurrent", "1").err == ""


def test_who_adds_a_model_that_needs_a_key_that_nobody_has_hears_how_to_say_that_it_needs_none(
    use: Use, run: Run
) -> None:
    use(OPENAI)

    err = run(*ADD).err

    assert "mine cannot be asked: it needs a key, and none for ollama is set" in err
    assert "orchestratex models edit mine --no-key" in err


@pytest.mark.parametrize(
    ("flag", "told"), [("--key", "gpt4 cannot be asked: "), ("--no-key", "gpt4 is not asked with")]
)
def test_who_edits_a_model_whose_key_is_withheld_hears_why(use: Use, run: Run, flag: str, told: str) -> None:
    use(OPENAI, openai_api_key="sk-0123456789")

    err = run("models", "edit", "gpt4", "--endpoint", "https://elsewhere.example/v1", flag).err

    assert told in err
    assert "ORCHESTRATEX_KEY_ORIGINS" in err
    assert "sk-0123456789" not in err


def test_who_is_left_with_one_model_hears_that_nobody_evaluates(use: Use, run: Run) -> None:
    use(OPENAI)

    assert "Only one model can be served, mine: it answers, and nobody evaluates." in run(*ADD, "--no-key").err


def test_who_switches_the_last_model_off_hears_it(use: Use, run: Run) -> None:
    use(OWN, stack=running(ORCHESTRATEX_KEYED_PROVIDERS=""))

    assert "No active model can be asked now" in run("models", "disable", "mine").err


def test_a_stack_that_reads_alone_takes_nothing_from_a_shells_settings() -> None:
    settings = make_settings(openai_api_key="k", models_base_url="http://gateway")

    assert apply_environment(settings, {"ORCHESTRATEX_REDIS_URL": "redis://127.0.0.1:2"}).provider_keys().keys() == {
        "openai"
    }
    joined = apply_environment(settings, {"ORCHESTRATEX_KEYED_PROVIDERS": "mistral"})
    assert (joined.provider_keys(), joined.models_base_url) == ({}, None)
    assert joined.providers_with_key() == {"mistral"}


def test_a_stack_that_starts_with_workers_forgets_which_models_were_out_of_reach_and_one_for_reading_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(profiles=[OWN.model_copy(update={"is_available": False})])

    monkeypatch.setattr(reach, "make_store", lambda _settings, **_: world.store)
    monkeypatch.setattr(reach, "make_providers", lambda _settings: world.services.providers)
    monkeypatch.setattr(reach, "init_database", lambda _settings: [])

    assert reach.prepare_database(make_settings(), {})
    assert [each.is_available for each in world.store.profiles()] == [False]
    assert reach.prepare_database(make_settings(), {}, forgets_health=True)
    assert [each.is_available for each in world.store.profiles()] == [True]


def test_keys_that_a_running_stack_does_not_have_are_not_used_and_that_is_said(use: Use) -> None:
    settings = make_settings(openai_api_key="sk-0123456789", mistral_api_key="k", models_base_url="http://gateway/v1")
    joined = use(OPENAI, OWN, stack=running(ORCHESTRATEX_KEYED_PROVIDERS="mistral"))

    told = describe_models(joined, settings)

    assert any("no key for openai" in line and "`orchestratex up` is started again" in line for line in told)
    assert any("ORCHESTRATEX_MODELS_BASE_URL" in line for line in told)
    assert "sk-0123456789" not in str(told)


def test_a_stack_of_ones_own_uses_what_is_set_here(use: Use) -> None:
    stack = FakeStack(["worker", "control"], is_owner=True, uses_sandbox=False)

    reached = use(OPENAI, OWN, stack=stack, openai_api_key="sk-0123456789")

    assert describe_models(reached, make_settings(openai_api_key="sk-0123456789")) == []
