"""What every document must be, by the specification alone: small named rules, and what of a database breaks them.

The rules were written from `orchestratex_schema.md` and the readings agreed upon for its fields, not from the code that
fills them. `audit(records)` judges all documents of a database that is at rest: no thread runs, all money is settled.
"""

from __future__ import annotations

from tests.audit import (
    criticisms,
    evaluations,
    fields,
    logs,
    metrics,
    profiles,
    responses,
    selections,
    sessions,
    threads,
)
from tests.audit.engine import RULES, Findings, judge
from tests.audit.records import Records

__all__ = ["RULES", "Findings", "Records", "audit"]

_MODULES = (criticisms, evaluations, fields, logs, metrics, profiles, responses, selections, sessions, threads)


def audit(records: Records) -> Findings:
    """Judge every document by every rule of its collection."""
    return judge(records)
