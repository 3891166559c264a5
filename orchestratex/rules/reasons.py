"""The words that a recorded selection explains itself with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from orchestratex.domain.base import Domain, Strategy
from orchestratex.domain.profile import Profile
from orchestratex.domain.selection import Candidate
from orchestratex.rules.candidates import Scores
from orchestratex.rules.causes import join_causes
from orchestratex.rules.evidence import Expectation

_LABELS: Final = {
    "domain_match_score": "domain match",
    "historical_performance": "past performance",
    "cost_efficiency": "cost efficiency",
    "availability_score": "availability",
    "specialty_alignment": "specialty",
}


class Wanted(Protocol):
    """What candidates are wanted for."""

    @property
    def domain(self) -> Domain: ...  # noqa: D102
    @property
    def strategy(self) -> Strategy: ...  # noqa: D102


def explain_candidate(
    profile: Profile,
    scores: Scores,
    weights: Mapping[str, float],
    wanted: Wanted,
    expected: Expectation,
    *,
    earned: float,
    exploring: float,
) -> str:
    """Say what speaks for and against the candidate under this strategy."""
    parts = [f"{_LABELS[name]} {getattr(scores, name):.1f}" for name in weights]
    text = f"{wanted.strategy.value} for {wanted.domain.value}: " + ", ".join(parts)
    text += f"; {_explain_evidence(expected)}"
    if earned:
        text += f"; {earned:+.2f} for its part in earlier iterations"
    if exploring:
        text += f"; {exploring:+.2f} drawn for being little tried"
    if not profile.is_available:
        text += "; its last probe failed"
    return text


def name_factors(chosen: Candidate, candidates: Sequence[Candidate], weights: Mapping[str, float]) -> list[str]:
    """Name up to three scores, weighed by the strategy, by which the chosen one most exceeds the candidates' mean."""
    gains = []
    for name, weight in weights.items():
        value = float(getattr(chosen, name))
        mean = sum(float(getattr(c, name)) for c in candidates) / len(candidates)
        gains.append((weight * (value - mean), f"{_LABELS[name]} {value:.1f} (candidates' mean {mean:.1f})"))
    mean = sum(c.exploration_bonus for c in candidates) / len(candidates)
    if chosen.exploration_bonus > mean:
        gains.append((chosen.exploration_bonus - mean, f"little tried: {chosen.exploration_bonus:+.2f} drawn"))
    gains.sort(key=lambda gain: (-gain[0], gain[1]))
    return [text for gain, text in gains if gain > 0][:3] or [gains[0][1]]


def explain_overrides(
    chosen: Profile,
    *,
    best: str,
    preferred: Collection[str],
    excluded: Collection[str],
    replaced: Mapping[str, str],
) -> str:
    """Say what else than the score decided: preferences, exclusions, failures; `best` scored highest."""
    reasons = []
    if chosen.model_name != best:
        reasons.append(f"preferred: {chosen.model_name} goes before {best}, which scored higher")
    missing = sorted(name for name in set(preferred) if name != chosen.model_name)
    if missing and chosen.model_name not in preferred:
        reasons.append(f"preferred but not available: {', '.join(missing)}")
    if excluded:
        reasons.append(f"excluded: {', '.join(sorted(set(excluded)))}")
    if replaced:
        reasons.append("replaced: " + ", ".join(f"{name} ({why})" for name, why in sorted(replaced.items())))
    if not chosen.is_available:
        reasons.append(f"last resort: every candidate failed its last probe, so did {chosen.model_name}")
    return "; ".join(reasons)


def explain_absence(profiles: Sequence[Profile], excluded: Collection[str], replaced: Mapping[str, str]) -> str:
    """Say of each model why it is no candidate: first what failed, by cause."""
    names = sorted(profile.model_name for profile in profiles)
    idle = {profile.model_name for profile in profiles if not profile.is_active}
    out = {name for name in names if name in excluded} - idle
    failed = {name: replaced[name] for name in names if name in replaced and name not in idle | out}
    parts = [
        join_causes(failed),
        f"excluded: {', '.join(sorted(out))}" if out else "",
        f"not active: {', '.join(sorted(idle))}" if idle else "",
    ]
    return "no model is left: " + ("; ".join(filter(None, parts)) or "there are no profiles")


def _explain_evidence(expected: Expectation) -> str:
    known = f"expected {expected.score:.1f} ± {expected.spread:.1f}"
    if not expected.total:
        return f"{known}, by its profile: no first answer of it was rated yet"
    return f"{known} from {expected.answers} rated first answers in this domain, {expected.answers_elsewhere} in others"
