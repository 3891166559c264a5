"""models add, edit, enable, disable, check; init-db."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestratex.cli import reach
from orchestratex.domain.profile import Profile
from orchestratex.settings import Settings
from orchestratex.store.memory import MemoryStore
from tests.support import World

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Run

NEW = (
    *("models", "add", "mine", "--provider", "openai", "--version", "gpt-x", "--endpoint", "https://example.org/v1"),
    *("--input-price", "2.5", "--output-price", "10", "--context", "8000", "--specialty", "math"),
    *("--requests-per-minute", "5", "--tokens-per-minute", "9000"),
)
ALL_REQUIRED = (
    "--provider, --version, --specialty, --context, --endpoint, --input-price, --output-price, --requests-per-minute, "
    "--tokens-per-minute"
)
FILE = """
[[profiles]]
model_name = "gpt4"
strengths = "new"

[[profiles]]
model_name = "mine"
provider = "selfhosted"
model_version = "m"
specialties = ["coding"]
max_context_length = 32000
api_endpoint = "http://127.0.0.1:8081/v1"
api_key_required = false
cost_per_input_token = 0
cost_per_output_token = 0
rate_limits = { requests_per_minute = 600, tokens_per_minute = 1000000 }
"""


def find(world: World, name: str) -> Profile:
    return next(profile for profile in world.store.profiles() if profile.model_name == name)


def test_a_model_is_added_by_options(run: Run, world: World) -> None:
    ran = run(*NEW, "--specialty", "coding", "--no-key", "--language", "en", "--strengths", "fast")

    mine = find(world, "mine")
    assert (ran.code, ran.out) == (0, "mine: added\n")
    assert (mine.cost_per_input_token, mine.cost_per_output_token) == (2.5e-6, 1e-5)
    assert [each.value for each in mine.specialties] == ["math", "coding"]
    assert (mine.rate_limits.requests_per_minute, mine.rate_limits.tokens_per_minute) == (5, 9000)
    assert (mine.api_key_required, mine.supported_languages, mine.strengths) == (False, ["en"], "fast")
    assert (mine.is_active, mine.prices_as_of) == (True, "2026-01-01")


def test_models_are_added_from_a_file(run: Run, world: World, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FILE.replace('"gpt4"\n', '"gpt9"\n') + "[[profiles]]\nmodel_name = 'last'\n")

    refused = run("models", "add", str(path))
    path.write_text("[[profiles]]" + FILE.rpartition("[[profiles]]")[2])
    ran = run("models", "add", str(path), "--json")

    lacking = "provider, model_version, specialties, max_context_length, api_endpoint, cost_per_input_token"
    limits = "rate_limits.requests_per_minute, rate_limits.tokens_per_minute"
    assert refused.code == 2
    assert refused.err == (
        f"error: gpt9 lacks {lacking}, cost_per_output_token, {limits}; "
        f"last lacks {lacking}, cost_per_output_token, {limits}\n"
    )
    assert json.loads(ran.out) == {"added": ["mine"], "changed": {}, "unchanged": []}
    assert len(world.store.profiles()) == 9


def test_a_file_takes_no_options(run: Run, tmp_path: Path) -> None:
    ran = run("models", "add", str(tmp_path / "x.toml"), "--provider", "openai")

    assert ran.code == 2
    assert ran.err.startswith("error: provider: is no option beside a file")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("models", "add", "mine"), f"mine: give {ALL_REQUIRED}\n"),
        (
            ("models", "add", "mine", "--endpoint", "file:///x", "--context", "0", "--input-price", "-1", "--no-key"),
            "mine: give --provider, --version, --specialty, --output-price, --requests-per-minute, "
            "--tokens-per-minute; --context: must be at least 1; --endpoint: must start with "
            "http:// or https://; --input-price: must be from 0 to 10000, in US dollars per million tokens\n",
        ),
        ((*NEW, "--endpoint", "http://169.254.169.254/"), "mine: --endpoint: 169.254.169.254 is a link-local"),
        ((*NEW, "--endpoint", "file:///etc/passwd"), "mine: --endpoint: must start with http"),
        ((*NEW, "--input-price", "20000"), "mine: --input-price: must be from 0 to 10000, in US dollars per million"),
        ((*NEW, "--specialty", "baking"), "mine: --specialty: must be one of coding, "),
        ((*NEW, "--dialect", "latin"), "mine: --dialect: must be one of openai"),
        ((*NEW, "--context", "100"), "mine: --max-output: must be at most --context, which is 100"),
        ((*NEW, "--max-concurrent", "1000001"), "mine: --max-concurrent: must be at most 1000000"),
        ((*NEW, "--prices-as-of", "soon"), "mine: --prices-as-of: must be a day"),
        (("models", "add", "gpt4"), "model_name: known already: gpt4"),
        (("models", "edit", "gpt4"), "fields: nothing to change"),
        (("models", "edit", "gpt4", "--context", "0"), "gpt4: --context: "),
        (("models", "edit", "nope", "--context", "9"), "model: unknown: nope; known are claude, gemini, gpt4,"),
        (("models", "enable", "nope"), "model: unknown: nope; known are claude,"),
        (("models", "disable", "gpt4", "nope"), "model: unknown: nope; known are claude,"),
        (("models", "check", "nope"), "model: unknown: nope; known are claude,"),
        (("models", "--json", "check"), "--json: belongs behind `check`"),
        (("models", "add", "nope.toml"), "FILE: nope.toml cannot be read"),
        (("init-db", "--profiles", "nope.toml"), "ORCHESTRATEX_PROFILES: nope.toml cannot be read"),
    ],
)
def test_bad_input_writes_nothing(run: Run, world: World, arguments: tuple[str, ...], problem: str) -> None:
    before = world.store.profiles()

    ran = run(*arguments)

    assert ran.code == 2
    assert ran.err.startswith(f"error: {problem}")
    assert world.store.profiles() == before


def test_an_edit_changes_what_it_names(run: Run, world: World) -> None:
    before = find(world, "gpt4")

    ran = run("models", "edit", "gpt4", "--output-price", "8", "--tokens-per-minute", "5")

    gpt4 = find(world, "gpt4")
    assert ran.code == 0
    changed = {name for name in Profile.model_fields if getattr(gpt4, name) != getattr(before, name)}
    assert changed == {"cost_per_output_token", "prices", "rate_limits", "prices_as_of", "updated_at"}
    assert gpt4.rate_limits.requests_per_minute == before.rate_limits.requests_per_minute


def test_calls_at_once_are_limited_by_option_or_file_and_shown(run: Run, world: World, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    limits = "rate_limits = { requests_per_minute = 600, tokens_per_minute = 1000000, max_concurrent_calls = 2 }"
    path.write_text("[[profiles]]" + FILE.rpartition("[[profiles]]")[2].partition("rate_limits")[0] + limits)

    run("models", "add", str(path))
    run("models", "edit", "gpt4", "--max-concurrent", "1")
    shown = {each["model_name"]: each["max_concurrent_calls"] for each in json.loads(run("models", "--json").out)}

    assert (shown["mine"], shown["gpt4"], shown["qwen"]) == (2, 1, None)
    assert "at once" in run("models").out
    assert find(world, "gpt4").rate_limits.requests_per_minute > 1


def test_a_limit_of_calls_at_once_is_lifted_by_zero(run: Run, world: World) -> None:
    run("models", "edit", "gpt4", "--max-concurrent", "3")
    before = find(world, "gpt4").rate_limits.max_concurrent_calls

    run("models", "edit", "gpt4", "--max-concurrent", "0")

    assert before == 3
    assert find(world, "gpt4").rate_limits.max_concurrent_calls is None


def test_a_model_is_switched_off_and_on(run: Run, world: World) -> None:
    off = run("models", "disable", "gpt4", "qwen")
    assert (find(world, "gpt4").is_active, find(world, "qwen").is_active) == (False, False)
    on = run("models", "enable", "gpt4", "claude", "--json")

    assert (off.code, off.out) == (0, "gpt4: is_active = False\nqwen: is_active = False\n")
    assert json.loads(on.out) == {"added": [], "changed": {"gpt4": ["is_active"]}, "unchanged": ["claude"]}
    assert (find(world, "gpt4").is_active, find(world, "qwen").is_active) == (True, False)


def test_check_passes_over_all_that_are_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("models", "disable", "qwen")

    plain, as_json = run("models", "check"), run("models", "check", "--json")

    body = json.loads(as_json.out)
    assert (plain.code, as_json.code, len(body)) == (0, 0, 7)
    assert body[0]["findings"]["listed"] == {"grade": "ok", "text": "claude-sonnet-5-5"}
    assert "https://api.openai.com/v1" in plain.out


def test_check_exits_1_when_one_fails(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.provider, "probe", lambda profile: profile.model_name != "gpt4")

    assert run("models", "check", "claude").code == 0
    world.store.update_profile("gpt4", {"is_available": False})
    assert run("models", "check", "claude", "gpt4").code == 1
    assert run("models", "check").code == 1


def test_check_of_nothing(run: Run, world: World) -> None:
    run("models", "disable", *(profile.model_name for profile in world.store.profiles()))

    ran = run("models", "check")

    assert (ran.code, ran.err.split(";")[0]) == (2, "error: models: none is switched on")


@pytest.mark.parametrize("by", ["option", "setting"])
def test_init_db_loads_a_file(run: Run, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FILE)
    arguments = ["--profiles", str(path)] if by == "option" else []
    if by == "setting":
        monkeypatch.setenv("ORCHESTRATEX_PROFILES", str(path))

    def make_store(_settings: Settings) -> MemoryStore:
        return world.store

    monkeypatch.setattr(reach, "make_store", make_store)
    monkeypatch.setattr(reach, "init_db", lambda _store: ["done"])

    first, second = run("init-db", *arguments), run("init-db", *arguments, "--json")

    assert first.out == f"done\n{path}: mine: added\n{path}: gpt4: strengths = new\n"
    assert json.loads(second.out) == ["done", f"{path}: unchanged: gpt4, mine"]
    assert find(world, "gpt4").strengths == "new"
