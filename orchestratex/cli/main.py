"""The commands, and the one place where their errors become a line and an exit code.

What a command needs is imported when it runs, so that `--help` is quick.
"""

from __future__ import annotations

import io
import sys
import traceback
from typing import Annotated

import typer

from orchestratex import __version__
from orchestratex.cli import listing, metrics, models, purge, results, serve, show, solve, stack, stop, submit, trace
from orchestratex.cli.streams import settle_streams
from orchestratex.errors import InputError, OrchestratexError
from orchestratex.terminal import escape

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"orchestratex {__version__}")
        raise typer.Exit


app = typer.Typer(
    name="orchestratex",
    help="Answer a prompt with several large language models as one durable, budgeted job.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Answer a prompt with several large language models as one durable, budgeted job."""


app.command()(solve.solve)
app.command()(stack.up)
app.command()(submit.submit)
app.command()(show.show)
app.command()(trace.trace)
app.command("list")(listing.list_threads)
app.command()(results.results)
app.command()(stop.cancel)
app.command()(stop.retry)
app.command()(purge.purge)
app.add_typer(models.app, name="models")
app.add_typer(metrics.app, name="metrics")
app.command("init-db")(stack.init_db)
app.command()(serve.sandbox)
app.command()(serve.api)


def main() -> None:
    """Run the command line; exits 0 when it worked, 2 on bad input, 1 when something failed, 130 on Ctrl-C."""
    settle_streams()
    try:
        code = app(prog_name="orchestratex", standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost loop: whatever is printed must be harmless
        told, code = _describe(error)
        print(escape(told), file=sys.stderr)
    sys.exit(code)


def _describe(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit code."""
    if isinstance(error, OrchestratexError):
        return f"error: {error}", BAD_INPUT if isinstance(error, InputError) else FAILED
    if isinstance(error, typer.Abort):
        return "Aborted!", FAILED
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's own, which it has no public name for
        said = io.StringIO()
        error.show(said)
        return said.getvalue().rstrip("\n"), error.exit_code
    return "".join(traceback.format_exception(error)).rstrip("\n"), FAILED
