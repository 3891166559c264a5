"""How a sandbox is set up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from orchestratex.sandbox.faults import Fault, parse_fault
from orchestratex.sandbox.manners import MANNERS
from orchestratex.sandbox.models import MODELS


class Pace(BaseModel):
    """How long completions take; may be changed while the sandbox runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latency_scale: float = Field(default=1.0, ge=0)  # times each model's own latency; 0 answers at once
    fixed_latency_s: float | None = Field(default=None, ge=0)  # the same for every call, whatever the scale


class SandboxConfig(Pace):
    """All that can be chosen when a sandbox is started."""

    faults: tuple[Fault, ...] = ()
    fault_seed: int = 0
    aliases: Mapping[str, str] = {}  # further model names, by the schema name that plays them
    versions: Mapping[str, str] = {}  # versions of MANNERS that are played, refusals and all, by schema name
    prices: Mapping[str, tuple[int, int]] = {}  # nano-dollars per input and output token, by schema name
    chars_per_token: float = Field(default=4.0, gt=0)
    admin_key: SecretStr | None = None  # wanted at /sandbox/*; None: nobody may see or change anything there
    hosts: tuple[str, ...] = ()  # names beside this machine's loopback under which it is served
    bills_worst_case: bool = False  # every call is billed for all the output that it allows: for testing budgets

    @model_validator(mode="after")
    def _know_models(self) -> Self:
        unknown = {*self.aliases.values(), *self.prices, *(name for fault in self.faults for name in fault.models)}
        unknown -= MODELS.keys()
        unknown |= {*self.versions.values()} - MODELS.keys() | self.versions.keys() - MANNERS.keys()
        if unknown:
            raise ValueError(f"the sandbox plays no {', '.join(sorted(unknown))}")
        return self

    @classmethod
    def from_options(
        cls,
        *,
        latency_scale: float = 1.0,
        fixed_latency_s: float | None = None,
        faults: Sequence[str] = (),
        fault_seed: int = 0,
        aliases: Sequence[str] = (),
        admin_key: SecretStr | None = None,
        hosts: Sequence[str] = (),
    ) -> Self:
        """Read command line options: faults as `parse_fault` takes them, aliases as `name=schema-name`.

        Raises ValueError for what cannot be read.
        """
        return cls(
            latency_scale=latency_scale,
            fixed_latency_s=fixed_latency_s,
            faults=tuple(map(parse_fault, faults)),
            fault_seed=fault_seed,
            admin_key=admin_key,
            hosts=tuple(host.lower() for host in hosts),
            aliases={alias: name for alias, _, name in (pair.rpartition("=") for pair in aliases)},
        )
