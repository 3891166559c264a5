from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.audit.records import Records

Document = Mapping[str, Any]
Check = Callable[[Any, Records], bool | None]  # None: the rule does not concern this document

MOST_SHOWN: Final = 5


@dataclass(frozen=True)
class Rule:
    """What holds for every document of a collection; its name is the sentence that is broken."""

    collection: str
    name: str
    check: Check


RULES: Final[list[Rule]] = []


def rule(collection: str) -> Callable[[Check], Check]:
    """Take a function in as a rule, by its name."""

    def take_in(check: Check) -> Check:
        add_rule(collection, check.__name__.replace("_", " "), check)
        return check

    return take_in


def add_rule(collection: str, name: str, check: Check) -> None:
    """Take a rule in by a name of its own."""
    RULES.append(Rule(collection, name, check))


@dataclass
class Findings:
    """What an audit found."""

    broken: dict[str, list[str]] = field(default_factory=dict)  # ids of documents by rule
    judged: Counter[str] = field(default_factory=Counter)  # how many documents each rule concerned

    def describe(self) -> str:
        """Each broken rule, how often, and some of the documents."""
        return "\n".join(
            f"{name}: {len(ids)} of {self.judged[name]}, as {', '.join(ids[:MOST_SHOWN])}"
            for name, ids in sorted(self.broken.items())
        )


def judge(records: Records) -> Findings:
    """Judge every document by every rule of its collection. A rule that cannot even be asked counts as broken."""
    findings = Findings()
    for each in RULES:
        name = f"{each.collection}: {each.name}"
        for document in records.documents[each.collection]:
            verdict = _ask(each, document, records)
            if verdict is None:
                continue
            findings.judged[name] += 1
            if verdict is not True:
                findings.broken.setdefault(name, []).append(f"{document.get('_id')}{verdict or ''}")
    return findings


def _ask(each: Rule, document: Document, records: Records) -> bool | str | None:
    try:
        verdict = each.check(document, records)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        return f" ({error!r})"
    return None if verdict is None else bool(verdict)


def is_close(one: float, other: float) -> bool:
    """Equal but for the order in which floats were added."""
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
