from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestratex.errors import LocalStackError
from orchestratex.local.plan import Request, choose_ports, make_commands, model_environment, process_environment
from orchestratex.settings import Settings


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ORCHESTRATEX_") or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)


def make_request(events: list[str] | None = None, **changes: Any) -> Request:
    settings = {name: changes.pop(name) for name in list(changes) if name in Settings.model_fields}
    values: dict[str, Any] = {"processes": ("worker",), "worker_count": 1, "is_quiet": True, "stop_grace_s": 1.0}
    return Request(
        settings=Settings(**settings),
        on_event=(events if events is not None else []).append,
        before_processes=lambda _environment: None,
        **(values | changes),
    )


def test_sandbox_runs_when_no_model_could_be_called() -> None:
    request = make_request()

    ports = choose_ports(request, {})

    assert request.process_types == ("sandbox", "worker")
    assert model_environment(request, ports) == {
        "ORCHESTRATEX_MODELS_BASE_URL": f"http://127.0.0.1:{ports['sandbox']}/v1",
        "ORCHESTRATEX_MODELS_API_KEY": "sandbox",
    }


@pytest.mark.parametrize("setting", [{"mistral_api_key": "k"}, {"models_base_url": "http://gateway/v1"}])
def test_sandbox_does_not_run_when_a_model_is_set(setting: dict[str, Any]) -> None:
    request = make_request(**setting)

    assert request.process_types == ("worker",)
    assert model_environment(request, choose_ports(request, {})) == {}


def test_sandbox_asked_for_by_name_runs_beside_real_models() -> None:
    request = make_request(processes=("worker", "sandbox"), openai_api_key="k")

    assert request.process_types == ("sandbox", "worker")
    assert model_environment(request, choose_ports(request, {})) == {}


def test_taken_api_port_is_an_error_that_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        request = make_request(processes=("api",), api_port=server.getsockname()[1])

        with pytest.raises(LocalStackError, match="ORCHESTRATEX_API_PORT"):
            choose_ports(request, {})


def test_taken_flower_port_moves_and_says_so() -> None:
    events: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]

        ports = choose_ports(make_request(events, processes=("flower",)), {"ORCHESTRATEX_FLOWER_PORT": str(taken)})

    assert ports["flower"] != taken
    assert events == [f"Port {taken} is in use: Flower is on port {ports['flower']}"]


def test_processes_get_ports_sizes_and_paths() -> None:
    request = make_request(worker_concurrency=5)

    environment = process_environment(request, {"sandbox": 1234}, {"PYTHONPATH": "."})

    assert environment["ORCHESTRATEX_SANDBOX_PORT"] == "1234"
    assert environment["ORCHESTRATEX_WORKER_CONCURRENCY"] == "5"
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == os.getcwd()


@pytest.mark.parametrize("variable", ["ORCHESTRATEX_SECRETS_DIR", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_relative_paths_mean_the_directory_of_the_command(tmp_path: Path, variable: str) -> None:
    (tmp_path / "secrets").mkdir()
    request = make_request(processes=("worker",), openai_api_key="k")
    given = {variable: os.path.relpath(tmp_path / "secrets")}

    own = process_environment(request, {}, given)
    worker = make_commands(request, tmp_path / "home", {**given, **own})[0]

    assert os.path.samefile(worker.env[variable], tmp_path / "secrets")
    assert os.path.isabs(worker.env[variable])


def test_several_workers_have_names_and_nodes_of_their_own(tmp_path: Path) -> None:
    commands = make_commands(
        make_request(worker_count=3, processes=("worker", "beat"), openai_api_key="k"), tmp_path, {}
    )

    assert [command.name for command in commands] == ["worker.1", "worker.2", "worker.3", "beat"]
    nodes = {word for command in commands for word in command.argv if word.startswith("worker-")}
    assert nodes == {f"worker-{os.getpid()}-{number}@%h" for number in (1, 2, 3)}
    assert {command.cwd for command in commands} == {tmp_path}
