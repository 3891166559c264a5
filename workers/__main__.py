"""`python -m workers --app workers.app worker|beat|flower …`: Celery's commands, each with what it needs alone.

`celery` loads every plug-in's command, and Flower with them, into each worker and the beat: 13 MB in every process. The
options are Celery's own; where they are all that is said, `celery` itself takes the same line.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import click
from celery.app.utils import find_app
from celery.bin.base import CLIContext

from orchestratex.settings import load_settings
from workers.logs import setup_worker_logging

COMMANDS: Final = {
    "worker": ("celery.bin.worker", "worker"),
    "beat": ("celery.bin.beat", "beat"),
    "flower": ("flower.command", "flower"),
}
RUN_TASKS: Final = frozenset({"worker"})  # the others know tasks by their names, and load none


class _Commands(click.Group):
    """Loads a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """See click.Group."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """See click.Group."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=_Commands)
@click.option("-A", "--app", "name", required=True, help="The module of the app, such as workers.app.")
@click.option("-q", "--quiet", is_flag=True, help="Print no banner.")
@click.pass_context
def run(context: click.Context, name: str, quiet: bool) -> None:
    """Run one of Celery's commands over the app."""
    app: Any = find_app(name)
    if context.invoked_subcommand not in RUN_TASKS:
        app.conf.imports = ()
    setup_worker_logging(load_settings())  # Flower does not ask us, and a worker warns of root before it does
    context.obj = CLIContext(app=app, no_color=None, workdir=None, quiet=quiet)


if __name__ == "__main__":
    run(prog_name="python -m workers")
