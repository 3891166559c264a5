"""All rows, family by family, those of one shape together."""

from __future__ import annotations

from tests.faults.families import broker, clocks, database, delivery, disk, network, providers, workers
from tests.faults.trial import Row

FAMILIES = (workers, broker, database, delivery, clocks, providers, network, disk)
ROWS: list[Row] = [row for family in FAMILIES for row in family.ROWS]
