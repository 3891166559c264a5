"""The command lines of the process types. The Procfile at the top says the same lines; a test holds them together."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping

CELERY = "celery -A workers.app"
QUIET = "--without-gossip --without-mingle"  # they only add reconnect trouble

LINES = {
    "api": "orchestratex api",
    "worker": f"{CELERY} worker --pool threads --concurrency ${{ORCHESTRATEX_WORKER_CONCURRENCY:-64}}"
    f" --queues ox.respond,ox.evaluate,ox.refine --hostname worker-$$@%h {QUIET}",
    "control": f"{CELERY} worker --pool prefork --concurrency ${{ORCHESTRATEX_CONTROL_CONCURRENCY:-2}}"
    f" --queues ox.control,ox.default --hostname control-$$@%h {QUIET}",
    "beat": f"{CELERY} beat --schedule ${{ORCHESTRATEX_BEAT_SCHEDULE:-/tmp/orchestratex-beat-$$}}",
    "flower": f"{CELERY} flower --address=127.0.0.1 --port=${{ORCHESTRATEX_FLOWER_PORT:-5555}}"
    " --max_tasks=20000 --purge_offline_workers=300 --read_only=True",
    "sandbox": "orchestratex sandbox --port ${ORCHESTRATEX_SANDBOX_PORT:-8700}",
}
MODULES = {"celery": "celery", "orchestratex": "orchestratex"}  # run by -m: no script need be on the PATH
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")


def process_commands(environ: Mapping[str, str], *, instance: str) -> dict[str, list[str]]:
    """Return each process type's argument list; `instance` makes the node names unique on this host, as `$$` does."""
    return {name: _expand(line, environ, instance) for name, line in LINES.items()}


def procfile_text() -> str:
    """Return what the Procfile says."""
    return "".join(f"{name}: {line}\n" for name, line in LINES.items())


def _expand(line: str, environ: Mapping[str, str], instance: str) -> list[str]:
    """Split first, expand then: a value with spaces stays one argument."""
    program, *arguments = shlex.split(line)
    expanded = [_substitute(argument, environ).replace("$$", instance) for argument in arguments]
    return [sys.executable, "-m", MODULES[program], *expanded]


def _substitute(argument: str, environ: Mapping[str, str]) -> str:
    return VARIABLE.sub(lambda match: environ.get(match[1]) or match[2], argument)
