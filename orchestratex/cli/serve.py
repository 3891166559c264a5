"""`orchestratex api` and `orchestratex sandbox`: the servers of ours, in the foreground."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from orchestratex.errors import InputError, UnavailableError


def api() -> None:
    """Serve HTTP on ORCHESTRATEX_API_HOST and ORCHESTRATEX_API_PORT: loopback only, until keys exist."""
    from orchestratex.cli.inputs import read_settings
    from orchestratex.loglines import setup_logging

    settings = read_settings()
    setup_logging(settings.log_level, settings.log_format)
    # by name: the doors do not know each other, and this one only opens that one
    import_module("orchestratex.api.server").run(settings)


def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8700,
    latency_scale: Annotated[float, typer.Option(help="Times each model's own latency; 0 answers at once.")] = 1.0,
    fixed_latency: Annotated[float | None, typer.Option(help="Seconds for every call, whatever the scale.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="e.g. 'rate_limit share=0.1 models=gpt4'; repeatable.")
    ] = None,
    fault_seed: Annotated[int, typer.Option(help="Which calls the faults hit.")] = 0,
    alias: Annotated[list[str] | None, typer.Option(help="name=model: a further name of a model; repeatable.")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name beside localhost under which it is called; repeatable.")
    ] = None,
) -> None:
    """Serve the models that cost nothing and answer by rule, over OpenAI's API.

    Its faults and its ledger, at /sandbox/, want the key in ORCHESTRATEX_SANDBOX_ADMIN_KEY;
    without one nobody gets there.
    """
    from orchestratex.cli.inputs import read_settings
    from orchestratex.loglines import setup_logging
    from orchestratex.sandbox.config import SandboxConfig
    from orchestratex.sandbox.server import run

    settings = read_settings()
    try:
        config = SandboxConfig.from_options(
            latency_scale=latency_scale,
            fixed_latency_s=fixed_latency,
            faults=fault or (),
            fault_seed=fault_seed,
            aliases=alias or (),
            admin_key=settings.sandbox_admin_key,
            hosts=allow_host or (),
        )
    except ValueError as error:
        raise InputError(*_name_problem(error)) from error
    setup_logging("WARNING", settings.log_format)
    try:
        run(host, port, config)
    except OSError as error:
        raise UnavailableError(f"the sandbox cannot listen on {host}:{port}: {error.strerror or error}") from error


def _name_problem(error: ValueError) -> tuple[str, str]:
    """The field and the problem of pydantic's errors, or of our own."""
    from pydantic import ValidationError

    from orchestratex.domain.wordings import say_wrong

    if not isinstance(error, ValidationError):
        return "sandbox", str(error)
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])) or "sandbox", say_wrong(first)
