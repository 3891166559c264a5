"""What a running sandbox knows."""

from __future__ import annotations

from orchestratex.sandbox.config import SandboxConfig
from orchestratex.sandbox.faults import FaultPlan
from orchestratex.sandbox.ledger import Ledger
from orchestratex.sandbox.models import build_catalogue


class State:
    """The set-up, the faults that are on, and the calls so far. Touched by the event loop alone."""

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.catalogue = build_catalogue(config.aliases, config.prices, config.versions)
        self.plan = FaultPlan(config.faults, seed=config.fault_seed)
        self.ledger = Ledger()
