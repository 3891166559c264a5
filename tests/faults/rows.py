"""All rows, family by family, those of one shape together."""

from __future__ import annotations

from tests.faults.families import workers
from tests.faults.trial import Row

ROWS: list[Row] = [*workers.ROWS]
