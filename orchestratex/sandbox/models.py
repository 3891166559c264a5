"""The eight models of the schema as the sandbox plays them: skills, habits, speed and prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from orchestratex.domain.base import Domain
from orchestratex.sandbox.manners import MANNERS, Manners


@dataclass(frozen=True, slots=True)
class Style:
    """How a model's texts look; the opening is how it knows its own."""

    opening: str
    bullet: str
    closing: str


@dataclass(frozen=True, slots=True)
class Model:
    """One model: probabilities unless said otherwise."""

    name: str
    version: str
    former: str  # the version that served the slot before: databases of then still ask for it
    input_nanos: int  # price per token in billionths of a US dollar
    output_nanos: int
    skill: Mapping[Domain, float]  # that it covers a requirement
    flaw_rate: float  # that a statement it writes is wrong
    evaluating: float  # that it finds a fault that is there
    false_alarm: float  # that an evaluation names a fault that is not there
    mending: float  # that it mends a fault that is named
    severity: float  # points it adds to every score
    noise: float  # standard deviation of its scores, in points
    base_latency_s: float
    token_latency_s: float  # per output token
    style: Style
    manners: Manners | None = None  # of the version that is played; None: it takes everything


def _skills(base: float, **better: float) -> Mapping[Domain, float]:
    """Skills that are `base` but where said otherwise."""
    return {domain: better.get(domain.value, base) for domain in Domain}


MODELS: Final = {
    model.name: model
    for model in (
        Model(
            name="gpt4",
            version="gpt-6.1-sol",
            former="gpt-4o-2024-08-06",
            input_nanos=2_000,
            output_nanos=10_000,
            skill=_skills(0.76, coding=0.80, math=0.80, factual=0.79),
            flaw_rate=0.06,
            evaluating=0.86,
            false_alarm=0.03,
            mending=0.93,
            severity=-0.2,
            noise=0.35,
            base_latency_s=0.25,
            token_latency_s=0.0014,
            style=Style("Here is a structured answer, point by point.", "- ", "Say so if any point should go deeper."),
        ),
        Model(
            name="gpt4-turbo",
            version="gpt-6.1-terra",
            former="gpt-4-turbo-2024-04-09",
            input_nanos=1_000,
            output_nanos=5_000,
            skill=_skills(0.73, coding=0.77, math=0.76, sentiment=0.78),
            flaw_rate=0.07,
            evaluating=0.82,
            false_alarm=0.04,
            mending=0.92,
            severity=0.3,
            noise=0.40,
            base_latency_s=0.30,
            token_latency_s=0.0022,
            style=Style("Certainly. The main points are these.", "* ", "These points together answer the question."),
        ),
        Model(
            name="grok",
            version="grok-4.7",
            former="grok-2-1212",
            input_nanos=2_000,
            output_nanos=6_000,
            skill=_skills(0.68, factual=0.72, sentiment=0.74),
            flaw_rate=0.11,
            evaluating=0.70,
            false_alarm=0.06,
            mending=0.88,
            severity=0.7,
            noise=0.45,
            base_latency_s=0.22,
            token_latency_s=0.0015,
            style=Style("Right, straight to it.", "> ", "That is the whole of it, no padding."),
        ),
        Model(
            name="qwen",
            version="qwen3.8-max",
            former="qwen2.5-72b-instruct",
            input_nanos=2_000,
            output_nanos=6_000,
            skill=_skills(0.68, coding=0.76, math=0.78, translation=0.76),
            flaw_rate=0.09,
            evaluating=0.72,
            false_alarm=0.05,
            mending=0.89,
            severity=0.5,
            noise=0.45,
            base_latency_s=0.20,
            token_latency_s=0.0012,
            style=Style("The answer consists of the following parts.", "+ ", "The parts above are complete as listed."),
        ),
        Model(
            name="claude",
            version="claude-sonnet-5-5",
            former="claude-3-5-sonnet-20241022",
            input_nanos=2_000,
            output_nanos=10_000,
            skill=_skills(0.77, coding=0.84, creative=0.84),
            flaw_rate=0.05,
            evaluating=0.88,
            false_alarm=0.03,
            mending=0.95,
            severity=-0.6,
            noise=0.35,
            base_latency_s=0.28,
            token_latency_s=0.0016,
            style=Style("I would approach it in this way.", "", "I have left out what the question does not need."),
        ),
        Model(
            name="llama",
            version="muse-spark-1.3",
            former="Llama-3.1-405B-Instruct",
            input_nanos=1_250,
            output_nanos=4_250,
            skill=_skills(0.67, creative=0.71, translation=0.70),
            flaw_rate=0.12,
            evaluating=0.66,
            false_alarm=0.06,
            mending=0.87,
            severity=1.0,
            noise=0.50,
            base_latency_s=0.24,
            token_latency_s=0.0018,
            style=Style("Great question, let us go through it.", "• ", "I hope that this overview is helpful."),
        ),
        Model(
            name="mistral",
            version="mistral-large-4",
            former="mistral-large-2407",
            input_nanos=1_360,
            output_nanos=4_180,
            skill=_skills(0.66, coding=0.71, translation=0.77),
            flaw_rate=0.10,
            evaluating=0.68,
            false_alarm=0.05,
            mending=0.88,
            severity=-0.9,
            noise=0.45,
            base_latency_s=0.18,
            token_latency_s=0.0013,
            style=Style("In short, then in detail.", "– ", "In sum, the points above carry the answer."),
        ),
        Model(
            name="gemini",
            version="gemini-4-argon",
            former="gemini-1.5-pro-002",
            input_nanos=2_000,
            output_nanos=10_000,
            skill=_skills(0.71, factual=0.80, translation=0.81, math=0.75),
            flaw_rate=0.08,
            evaluating=0.78,
            false_alarm=0.04,
            mending=0.91,
            severity=0.1,
            noise=0.40,
            base_latency_s=0.26,
            token_latency_s=0.0015,
            style=Style("Let us break this down.", "1. ", "This covers the key aspects of the request."),
        ),
    )
}


def build_catalogue(
    aliases: Mapping[str, str], prices: Mapping[str, tuple[int, int]], versions: Mapping[str, str] | None = None
) -> dict[str, Model]:
    """Return the models by every name they answer to: schema name, version and alias, in lower case.

    `aliases` maps further names to schema names, and `versions` versions that are played with their manners; `prices`
    maps schema names to nano-dollars per input and output token.
    """
    models = {name: _price(model, prices.get(name)) for name, model in MODELS.items()}
    by_name = models | {name.lower(): model for model in models.values() for name in (model.version, model.former)}
    played = {
        version.lower(): replace(models[name], version=version, manners=MANNERS[version])
        for version, name in (versions or {}).items()
    }
    return by_name | {alias.lower(): models[name] for alias, name in aliases.items()} | played


def _price(model: Model, price: tuple[int, int] | None) -> Model:
    return replace(model, input_nanos=price[0], output_nanos=price[1]) if price else model
