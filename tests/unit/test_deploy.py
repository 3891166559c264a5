"""What the files in deploy/ promise, read as they stand: no engine is needed."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from orchestratex.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if service["image"] == "orchestratex"}
CALLERS = {"worker", "control"}  # they alone call models
LOCKS = {
    "requirements.lock": lambda project: project["project"]["dependencies"],
    "build.lock": lambda project: project["build-system"]["requires"],
}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["pids_limit"]
    assert not service.get("privileged")
    assert not service.get("cap_add")
    assert name in OURS or service["user"] == "999:999"


@pytest.mark.parametrize("name", SERVICES)
def test_only_loopback_is_published(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))
    assert name in {"api", "flower"} or not SERVICES[name].get("ports")


def test_servers_are_in_reach_of_nothing_outside() -> None:
    assert COMPOSE["networks"]["data"]["internal"] is True
    assert SERVICES["mongo"]["networks"] == SERVICES["valkey"]["networks"] == ["data"]
    outside = {name for name in SERVICES if "outside" in SERVICES[name]["networks"]}
    assert outside == {"api", "flower", *CALLERS}


@pytest.mark.parametrize("name", SERVICES)
def test_neither_environment_nor_arguments_hold_a_secret(name: str) -> None:
    service = SERVICES[name]
    said = json.dumps([service.get(part) for part in ("environment", "command", "entrypoint")])

    assert not re.search(r"password|_key\b|://[^/\s]*@", said, re.IGNORECASE) or name in {"mongo", "mongo-setup"}
    assert not re.search(r"://[^/\s]*:[^/\s]*@", said)
    if name in OURS:
        assert service["environment"]["ORCHESTRATEX_SECRETS_DIR"] == "/run/secrets"


def test_the_example_of_an_environment_holds_no_secret() -> None:
    assert not re.search(r"(?m)^\W*\w+(?:_API_KEY|_URI|PASSWORD)=", (DEPLOY / ".env.example").read_text())


def test_keys_of_providers_are_where_models_are_called_and_nowhere_else() -> None:
    keys = {name for name in COMPOSE["secrets"] if name.endswith("_api_key")}

    having = {name: keys & set(service.get("secrets", [])) for name, service in SERVICES.items()}

    assert {name for name, held in having.items() if held} == CALLERS
    assert all(having[name] == keys for name in CALLERS)
    variables = {str(alias) for field in Settings.model_fields.values() for alias in _aliases(field)}
    assert {name.upper() for name in keys} - {"ORCHESTRATEX_MODELS_API_KEY"} == {
        alias for alias in variables if alias.endswith("_API_KEY")
    }


def test_a_service_gets_no_secret_that_it_does_not_need() -> None:
    services = {"orchestratex_mongodb_uri", "orchestratex_redis_url"}
    needed = {
        "mongo": {"mongo_keyfile"},
        "valkey": {"valkey_users", "valkey_password"},
        "mongo-setup": {"mongo_keyfile", "orchestratex_mongodb_uri"},
        "init": {"orchestratex_mongodb_uri"},
        "sandbox": set(),
        "api": services,
        "beat": {"orchestratex_redis_url"},
        "flower": {"orchestratex_redis_url"},
    }

    assert {name: set(SERVICES[name].get("secrets", [])) for name in needed} == needed


def test_no_server_answers_without_a_password() -> None:
    (mongod,) = SERVICES["mongo"]["command"]

    assert "--keyFile /tmp/keyfile" in mongod
    assert "enableLocalhostAuthBypass=false" in mongod
    assert SERVICES["valkey"]["command"][1:3] == ["--aclfile", "/run/secrets/valkey_users"]


def test_the_api_is_healthy_when_it_is_ready() -> None:
    assert "/readyz" in SERVICES["api"]["healthcheck"]["test"][-1]


def test_everything_is_made_that_compose_mounts(tmp_path: Path) -> None:
    directory = make_secrets(tmp_path)

    made = {path.name for path in directory.iterdir()}

    assert made == set(COMPOSE["secrets"])
    assert all(each["file"] == f"./secrets/{name}" for name, each in COMPOSE["secrets"].items())
    assert {secret for service in SERVICES.values() for secret in service.get("secrets", [])} == made
    assert (DEPLOY / COMPOSE["configs"]["mongo_setup"]["file"]).exists()


def test_secrets_are_random_behind_a_closed_directory_and_stay(tmp_path: Path) -> None:
    first, second = make_secrets(tmp_path / "a"), make_secrets(tmp_path / "b")
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    (first / "openai_api_key").chmod(0o600)
    (first / "openai_api_key").write_text("sk-1")

    make_secrets(tmp_path / "a")

    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {**before, "openai_api_key": b"sk-1"}
    for name in ("mongo_keyfile", "orchestratex_mongodb_uri", "valkey_password", "orchestratex_redis_url"):
        assert before[name] != (second / name).read_bytes()
        assert len(before[name]) >= 32
    password = before["valkey_password"]
    assert password in before["orchestratex_redis_url"]
    assert f"#{hashlib.sha256(password).hexdigest()} ".encode() in before["valkey_users"]
    assert b"user default off\n" in before["valkey_users"]


def test_half_a_group_of_secrets_is_refused(tmp_path: Path) -> None:
    directory = make_secrets(tmp_path)
    (directory / "valkey_password").unlink()

    ran = subprocess.run([sys.executable, DEPLOY / "make-secrets", directory], capture_output=True, text=True)

    assert ran.returncode == 1
    assert "without valkey_password" in ran.stderr


@pytest.mark.parametrize("name", LOCKS)
def test_what_the_image_installs_is_pinned_with_hashes(name: str) -> None:
    text = (DEPLOY / name).read_text()
    locked = read_lock(text)

    assert locked
    assert "://" not in text
    assert not re.search(r"--(?!hash=sha256:)", re.sub(r"(?m)^\s*#.*$", "", text)), "an option"
    assert all(hashes for _, hashes in locked.values()), "an entry without a hash"


@pytest.mark.parametrize("name", LOCKS)
def test_what_the_image_installs_is_what_the_project_asks_for(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    locked = read_lock((DEPLOY / name).read_text())

    for text in LOCKS[name](project):
        wanted = Requirement(text)
        version = locked[canonicalize_name(wanted.name)][0]
        assert wanted.specifier.contains(version), f"{wanted} but {version}: run deploy/lock"


def test_a_change_of_our_source_leaves_the_dependencies_layer_as_it_is() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().rpartition("\nFROM ")[2].splitlines()
    installs = next(at for at, line in enumerate(lines) if "--require-hashes" in line)
    ours = next(at for at, line in enumerate(lines) if "from=build" in line)

    assert installs < ours
    assert not any(re.match(r"COPY .*(?:orchestratex|workers)", line) for line in lines[:installs])


def test_the_image_runs_as_nobody_in_particular() -> None:
    users = re.findall(r"(?m)^USER (.+)$", (DEPLOY / "Dockerfile").read_text())

    assert users == ["10001:10001"]


def test_the_build_sees_what_it_copies_and_no_secret() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copies = re.findall(r"(?m)^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text())
    copied = {source for line in copies for source in line.split()}

    assert rules[0] == "*"
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)


def make_secrets(directory: Path) -> Path:
    """What the script makes, in a directory of its own."""
    subprocess.run([sys.executable, DEPLOY / "make-secrets", directory], check=True)
    return directory


def read_lock(text: str) -> dict[str, tuple[Version, list[str]]]:
    """Version and hashes by name."""
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text))
    locked: dict[str, tuple[Version, list[str]]] = {}
    for entry in filter(str.strip, entries):
        name, version = re.match(r"([\w.-]+)==(\S+)", entry).groups()  # type: ignore[union-attr]
        locked[canonicalize_name(name)] = Version(version), re.findall(r"--hash=sha256:[0-9a-f]{64}(?!\w)", entry)
    return locked


def _aliases(field: Any) -> list[Any]:
    return list(getattr(field.validation_alias, "choices", []))
