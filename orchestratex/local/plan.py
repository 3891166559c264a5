"""What a stack consists of: which servers and processes, on which ports, with which environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestratex.local.child import Command
from orchestratex.local.environment import select_environment
from orchestratex.local.ports import free_port, next_free_port, require_free
from orchestratex.local.processes import process_commands
from orchestratex.settings import Settings

FLOWER_PORT = 5555
KEYED_PROVIDERS = "ORCHESTRATEX_KEYED_PROVIDERS"
PACKAGE_ROOT = Path(__file__).parents[2]
PATH_VARIABLES = (  # those that processes read; a relative one means our directory, and they run in another
    "ORCHESTRATEX_SECRETS_DIR",
    "ORCHESTRATEX_FAULT_POINTS",
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OPENSSL_CONF"),
)

LEAN = {  # of glibc, others ignore it: what threads and large objects have let go goes back to the system
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
}


@dataclass(frozen=True)
class Request:
    """What a command asks of the local stack."""

    settings: Settings
    processes: tuple[str, ...]
    worker_count: int
    is_quiet: bool
    stop_grace_s: float
    on_event: Callable[[str], None]
    before_processes: Callable[[dict[str, str]], None]
    prepare_database: Callable[[dict[str, str]], bool] = lambda _environment: False
    calls_models: bool = True

    @property
    def may_use_sandbox(self) -> bool:
        """Whether no key and no gateway is set; then the sandbox plays, unless a model's endpoint needs neither."""
        return not self.settings.provider_keys() and not self.settings.models_base_url

    @property
    def process_types(self) -> tuple[str, ...]:
        """The types to run, the sandbox first when it may be needed."""
        others = tuple(name for name in self.processes if name != "sandbox")
        is_needed = self.may_use_sandbox and self.calls_models
        return ("sandbox", *others) if is_needed or "sandbox" in self.processes else others


def choose_ports(request: Request, environ: Mapping[str, str]) -> dict[str, int]:
    """Choose the ports of the process types that listen. Raises LocalStackError when the API's is taken."""
    choices: dict[str, Callable[[], int]] = {
        "sandbox": free_port,
        "api": lambda: _choose_api_port(request.settings),
        "flower": lambda: _choose_flower_port(request, environ),
    }
    return {name: choices[name]() for name in request.process_types if name in choices}


def model_environment(request: Request, ports: Mapping[str, int]) -> dict[str, str]:
    """Point every model to the sandbox, where it may play."""
    if not request.may_use_sandbox or "sandbox" not in ports:
        return {}
    return {
        "ORCHESTRATEX_MODELS_BASE_URL": f"http://127.0.0.1:{ports['sandbox']}/v1",
        "ORCHESTRATEX_MODELS_API_KEY": "sandbox",
    }


def reach_environment(request: Request) -> dict[str, str]:
    """By what this stack's workers reach models, for commands that join it from an environment of their own.

    Providers that have a key, never a key.
    """
    settings = request.settings
    if not request.calls_models:
        return {}
    named = {
        "ORCHESTRATEX_MODELS_BASE_URL": settings.models_base_url,
        "ORCHESTRATEX_KEY_ORIGINS": settings.key_origins,
    }
    return {
        KEYED_PROVIDERS: ",".join(sorted(settings.provider_keys())),
        **{name: value for name, value in named.items() if value},
    }


def process_environment(request: Request, ports: Mapping[str, int], environ: Mapping[str, str]) -> dict[str, str]:
    """Return what only the stack's own processes get: their ports, sizes, and whose keys there are."""
    settings = request.settings
    listening = {f"ORCHESTRATEX_{name.upper()}_PORT": str(port) for name, port in ports.items()}
    return {
        **listening,
        "ORCHESTRATEX_API_HOST": settings.api_host,
        "ORCHESTRATEX_WORKER_CONCURRENCY": str(settings.worker_concurrency),
        "ORCHESTRATEX_CONTROL_CONCURRENCY": str(settings.control_concurrency),
        KEYED_PROVIDERS: ",".join(sorted(settings.provider_keys())),  # the API knows these alone
        "PYTHONUNBUFFERED": "1",  # a line appears when it is printed
        **{name: value for name, value in LEAN.items() if name not in environ},
        **{name: str(Path(path).absolute()) for name in PATH_VARIABLES if (path := environ.get(name))},
        **_make_python_path(environ),
    }


def make_commands(request: Request, home: Path, environ: Mapping[str, str]) -> list[Command]:
    """Return the processes to run, in the order of their start; each gets what is for its type of `environ`.

    They run in `home`: no `workers` of the user's directory is taken for ours, and nothing is written there.
    """
    return [
        Command(
            name=name,
            argv=tuple(process_commands(environ, instance=instance)[kind]),
            env=select_environment(kind, environ),
            cwd=home,
        )
        for kind in request.process_types
        for name, instance in _name_instances(kind, request.worker_count)
    ]


def _name_instances(kind: str, worker_count: int) -> list[tuple[str, str]]:
    pid = os.getpid()
    if kind != "worker" or worker_count == 1:
        return [(kind, str(pid))]
    return [(f"{kind}.{number}", f"{pid}-{number}") for number in range(1, worker_count + 1)]


def _choose_api_port(settings: Settings) -> int:
    remedy = "stop it, or set ORCHESTRATEX_API_PORT to another port"
    return require_free(settings.api_port, settings.api_host, remedy=remedy)


def _choose_flower_port(request: Request, environ: Mapping[str, str]) -> int:
    wished = int(environ.get("ORCHESTRATEX_FLOWER_PORT") or FLOWER_PORT)
    port = next_free_port(wished)
    if port != wished:
        request.on_event(f"Port {wished} is in use: Flower is on port {port}")
    return port


def _make_python_path(environ: Mapping[str, str]) -> dict[str, str]:
    """Let processes that start in another directory import a source checkout."""
    if PACKAGE_ROOT.name in ("site-packages", "dist-packages"):
        return {}
    inherited = [str(Path(entry).resolve()) for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([*inherited, str(PACKAGE_ROOT)]))}
