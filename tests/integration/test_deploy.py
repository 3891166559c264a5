"""What compose.yaml starts, started by hand: the same command lines and files, each service with its own secrets."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pymongo
import pytest
import redis
import yaml
from pymongo.errors import OperationFailure
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry

from orchestratex.local.binaries import Program, find_binary
from orchestratex.local.ports import free_port
from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.server import serve
from tests.cluster import ROOT, wait_for

pytestmark = pytest.mark.integration

DEPLOY = ROOT / "deploy"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
BROKER = next(name for name in get_args(Program) if name != "mongod")
WORKING = ("worker", "control", "beat", "api", "flower")


class Host:
    """A directory that stands for the containers' files, and ports that stand for their addresses."""

    def __init__(self, home: Path, models_url: str) -> None:
        self.home = home
        self.ports = {name: free_port() for name in ("mongo", "valkey", "api", "flower")}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.secrets = home / "secrets"
        self.models_url = models_url
        subprocess.run([sys.executable, DEPLOY / "make-secrets", self.secrets], check=True)
        for path in self.secrets.iterdir():
            text = path.read_text()
            text = text.replace("@mongo:27017", f"@127.0.0.1:{self.ports['mongo']}")
            text = text.replace("@valkey:6379", f"@127.0.0.1:{self.ports['valkey']}")
            path.chmod(0o644)
            path.write_text(text)

    def start(self, service: str, *more: str) -> subprocess.Popen[bytes]:
        """Start what a service runs, with its secrets alone."""
        logs = (self.home / f"{service}.log").open("ab")
        with logs:
            process = subprocess.Popen(
                [*self.command(service), *more],
                env=self.environment(service),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=logs,
                stderr=logs,
                start_new_session=True,
            )
        self.processes[service] = process
        return process

    def run(self, service: str) -> None:
        """Run a service that ends."""
        code = self.start(service).wait(60)
        assert code == 0, self.log(service)

    def log(self, service: str) -> str:
        return (self.home / f"{service}.log").read_text(errors="replace")

    def command(self, service: str) -> list[str]:
        return [self._place(word, service) for word in [*SERVICES[service].get("entrypoint", []), *_command(service)]]

    def is_healthy(self, service: str) -> bool:
        words = [self._place(word, service) for word in SERVICES[service]["healthcheck"]["test"]]
        kind, *command = words
        command = ["sh", "-c", *command] if kind == "CMD-SHELL" else command
        return subprocess.run(command, env=self.environment(service), capture_output=True).returncode == 0

    def environment(self, service: str) -> dict[str, str]:
        """What a container would have, and the ports."""
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOSTNAME": os.uname().nodename,
            "HOME": str(self.home),
            "ORCHESTRATEX_SECRETS_DIR": str(self._mount(service)),
            "ORCHESTRATEX_MODELS_BASE_URL": self.models_url,
            "ORCHESTRATEX_API_PORT": str(self.ports["api"]),
        }

    def stop(self) -> None:
        """End all at once: nothing of it is needed again."""
        for process in self.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def _mount(self, service: str) -> Path:
        mounted = self.home / f"{service}-secrets"
        mounted.mkdir(exist_ok=True)
        for name in SERVICES[service].get("secrets", []):
            (mounted / name).write_bytes((self.secrets / name).read_bytes())
        return mounted

    def _place(self, word: str, service: str) -> str:
        """A word of a command line, with this host's paths and ports for the container's."""
        places = {
            "/run/secrets": str(self._mount(service)),
            "/mongo-setup.py": str(DEPLOY / "mongo-setup.py"),
            "/tmp/": f"{self.home}/",
            "exec mongod": f"exec {find_binary('mongod')} --port {self.ports['mongo']} --dbpath {self.home}/mongodb",
            "--bind_ip_all": "--bind_ip 127.0.0.1",
            "valkey-server": str(find_binary(BROKER)),
            "8000": str(self.ports["api"]),
            "5555": str(self.ports["flower"]),
            "0.0.0.0": "127.0.0.1",
            "$$": "$",
        }
        return re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], word)


def _command(service: str) -> list[str]:
    return list(SERVICES[service]["command"])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    home = tmp_path_factory.mktemp("host")
    with ExitStack() as held:
        sandbox = held.enter_context(serve(SandboxConfig(latency_scale=0)))
        host = Host(home, sandbox.base_url)
        held.callback(host.stop)
        (home / "mongodb").mkdir()
        host.start("mongo")
        host.start("valkey", "--port", str(host.ports["valkey"]), "--dir", str(home), "--bind", "127.0.0.1")
        for service in ("mongo-setup", "mongo-setup", "init", "init"):  # again is harmless
            host.run(service)
        for service in WORKING:
            host.start(service)
        yield host


def test_a_thread_is_answered(host: Host) -> None:
    wait_for(lambda: host.is_healthy("api"), timeout_s=60, what="a ready API")

    thread_id = _ask(host, "/v1/threads", {"prompt": "Why is the sky blue?", "max_iterations": 1})["id"]

    ended = wait_for(lambda: _ended(host, thread_id), timeout_s=90, what="the end of the thread")
    assert ended["status"] == "completed", ended
    assert ended["final_response"]


def test_every_service_is_healthy(host: Host) -> None:
    for service in WORKING:
        wait_for(lambda service=service: host.is_healthy(service), timeout_s=90, what=f"a healthy {service}")  # type: ignore[misc]


def test_nobody_reads_the_database_without_the_password(host: Host) -> None:
    with pymongo.MongoClient[Any]("127.0.0.1", host.ports["mongo"], directConnection=True) as client:
        with pytest.raises(OperationFailure, match="requires authentication"):
            client["orchestratex"]["ai_model_profiles"].find_one()
        with pytest.raises(OperationFailure, match="requires authentication"):
            client.admin.command("createUser", "me", pwd="me", roles=["root"])


def test_the_services_user_of_the_database_rules_no_server(host: Host) -> None:
    with pymongo.MongoClient[Any]((host.secrets / "orchestratex_mongodb_uri").read_text()) as client:
        assert client["orchestratex"]["ai_model_profiles"].find_one()
        for refused in ({"shutdown": 1}, {"getLog": "global"}, {"usersInfo": {"forAllDBs": True}}):
            with pytest.raises(OperationFailure, match="not authorized"):
                client.admin.command(refused)
        with pytest.raises(OperationFailure, match="not authorized"):
            client["other"]["things"].find_one()


def test_nobody_asks_the_broker_without_the_password(host: Host) -> None:
    with (
        redis.Redis(port=host.ports["valkey"], retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(AuthenticationError),
    ):
        client.ping()


def test_the_services_user_of_the_broker_rules_no_server(host: Host) -> None:
    with redis.Redis.from_url((host.secrets / "orchestratex_redis_url").read_text()) as client:
        assert client.ping()
        for refused in (
            "CONFIG GET dir",
            "MODULE LIST",
            "ACL LIST",
            "REPLICAOF a 1",
            "SHUTDOWN NOSAVE",
        ):
            with pytest.raises(NoPermissionError):
                client.execute_command(*refused.split())
        with pytest.raises(ResponseError):  # refused by the server itself, or by the user's rights
            client.execute_command("DEBUG", "SLEEP", "0")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes in /proc")
def test_no_process_has_a_secret_in_its_environment_or_arguments(host: Host) -> None:
    words = [
        path.read_text().partition("://")[2].partition("@")[0].rpartition(":")[2] or path.read_text()
        for path in host.secrets.iterdir()
        if path.name != "orchestratex_models_api_key" and path.read_text()
    ]

    for process in host.processes.values():
        if process.poll() is None:
            seen = Path(f"/proc/{process.pid}/environ").read_text() + Path(f"/proc/{process.pid}/cmdline").read_text()
            assert not any(word in seen for word in words)


def _ask(host: Host, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{host.ports['api']}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


def _ended(host: Host, thread_id: str) -> Any:
    thread = _ask(host, f"/v1/threads/{thread_id}")
    return thread if thread["status"] in {"completed", "failed", "cancelled"} else None
