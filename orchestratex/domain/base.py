"""What all documents share: identifiers, ranges and closed sets of names."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from bson import ObjectId
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

MAX_ITERATIONS = 10
MAX_PROMPT_CHARS = 200_000
NANOS_PER_USD = 1_000_000_000


def _to_object_id(value: Any) -> ObjectId:
    if isinstance(value, ObjectId):
        return value
    if isinstance(value, str) and ObjectId.is_valid(value):
        return ObjectId(value)
    raise ValueError("must be an ObjectId or its 24 hexadecimal digits")


def _to_utc_ms(value: datetime) -> datetime:
    """MongoDB keeps milliseconds: what we compare must not have more."""
    value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


Id = Annotated[
    ObjectId,
    BeforeValidator(_to_object_id),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "objectid"}),
]
UtcDate = Annotated[datetime, AfterValidator(_to_utc_ms)]
ModelName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Score = Annotated[float, Field(ge=1, le=10)]  # 1 (worst) to 10 (best)
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0)]
Millis = Annotated[float, Field(ge=0)]
Usd = Annotated[float, Field(ge=0)]
Nanos = Annotated[int, Field(ge=0)]  # billionths of a US dollar: what sums are made of, so that no sum drifts


class Record(BaseModel):
    """A frozen value. Unknown fields are ignored, so that an older worker can read a newer document."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, extra="ignore", arbitrary_types_allowed=True, protected_namespaces=()
    )


def added(default: Any) -> Any:
    """The default of a field that came later: documents of older versions lack it, and the validators let them."""
    return Field(default=default, json_schema_extra={"added": True})


class Document(Record):
    """A record with an identity: one MongoDB document."""

    id: Id = Field(default_factory=ObjectId, alias="_id")


class Leased(Document):
    """Work that one worker at a time may hold. Only the server's clock judges `lease_until` and `not_before`."""

    lease_token: str | None = None
    lease_until: UtcDate | None = None
    attempt: Count = 0  # how often it was claimed to be sent or run
    crashes: Count = 0  # leases that expired: the holder died or hung
    errors: Count = 0  # failures that the holder itself reported
    not_before: UtcDate | None = None  # waiting: nobody may claim it earlier
    dispatched_at: UtcDate | None = None  # when a message for it was last handed to the broker
    dispatches: Count = 0  # how often reconcile sent it again


class Domain(StrEnum):
    """What a prompt is about."""

    CODING = "coding"
    CREATIVE = "creative"
    FACTUAL = "factual"
    MATH = "math"
    TRANSLATION = "translation"
    SENTIMENT = "sentiment"
    GENERAL = "general"


class Complexity(StrEnum):
    """How involved a prompt is."""

    SIMPLE = "simple"
    MODERATE = "moderate"
    COMPLEX = "complex"
    EXPERT = "expert"


class Specialty(StrEnum):
    """What a model is known to be good at."""

    CODING = "coding"
    CREATIVE = "creative"
    MATH = "math"
    TRANSLATION = "translation"
    REASONING = "reasoning"
    ANALYSIS = "analysis"


class SessionStatus(StrEnum):
    """A user's sitting."""

    ACTIVE = "active"
    COMPLETED = "completed"
    TERMINATED = "terminated"
    ERROR = "error"


class ThreadStatus(StrEnum):
    """What the user sees of a thread's progress."""

    INITIALIZING = "initializing"
    MODEL_SELECTION = "model_selection"
    RESPONDING = "responding"
    EVALUATING = "evaluating"
    CRITICISM = "criticism"
    REFINING = "refining"
    COMPLETED = "completed"
    FAILED = "failed"


class Step(StrEnum):
    """One move of the state machine; `due_step` of a thread names the one that is due."""

    ANALYSE = "analyse"
    SELECT = "select"
    RESPOND = "respond"
    EVALUATE = "evaluate"
    WEIGH = "weigh"
    REFINE = "refine"
    FINISH = "finish"


CALL_STEPS = frozenset({Step.RESPOND, Step.EVALUATE, Step.REFINE})  # leased by response, not by thread


class StopReason(StrEnum):
    """Why a thread stopped."""

    QUALITY_THRESHOLD = "quality_threshold"
    NO_IMPROVEMENT = "no_improvement"
    NOTHING_SEVERE = "nothing_severe"
    COST_LIMIT = "cost_limit"
    MAX_ITERATIONS = "max_iterations"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Role(StrEnum):
    """What a model was asked to be in one call."""

    PRIMARY = "primary"
    EVALUATOR = "evaluator"
    CRITIC = "critic"
    REFINER = "refiner"


class ResponseType(StrEnum):
    """What a response is in its thread."""

    INITIAL = "initial"
    EVALUATION = "evaluation"
    CRITICISM = "criticism"
    IMPROVEMENT = "improvement"
    FINAL = "final"


class ResponseStatus(StrEnum):
    """The life of one paid call."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class Purpose(StrEnum):
    """What a call was for; part of its unique key."""

    ANSWER = "answer"
    EVALUATION = "evaluation"
    RE_ASK = "re_ask"  # the same once more, because the reply could not be read
    ASSESSMENT = "assessment"  # only the assessment that an answer came without


class FinishReason(StrEnum):
    """Why a provider stopped generating."""

    STOP = "stop"
    LENGTH = "length"
    REFUSAL = "refusal"
    OTHER = "other"


FILTERED = frozenset({FinishReason.REFUSAL})  # beside a text: the provider's filter ended it


class CostSource(StrEnum):
    """Where an amount comes from: the provider's bill, its usage times our prices, or our own counting."""

    PROVIDER = "provider"
    COMPUTED = "computed"
    ESTIMATED = "estimated"


class Effort(StrEnum):
    """How hard a model thinks before it answers, the least first."""

    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class SelectionPhase(StrEnum):
    """When a selection was made."""

    INITIAL = "initial"
    REFINEMENT = "refinement"
    FINAL = "final"


class Strategy(StrEnum):
    """The rule that chooses a model."""

    DOMAIN_MATCH = "domain_match"
    PERFORMANCE = "performance"
    COST = "cost"
    HYBRID = "hybrid"


class LogLevel(StrEnum):
    """Severity of a log event."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    DEBUG = "debug"


class Component(StrEnum):
    """The part of the system that speaks in a log event."""

    SELECTOR = "selector"
    EVALUATOR = "evaluator"
    ORCHESTRATOR = "orchestrator"
    API = "api"


class Period(StrEnum):
    """The length of a metrics window."""

    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class Severity(StrEnum):
    """How much an objection matters. `major` and `critical` are severe."""

    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


SEVERE = frozenset({Severity.MAJOR, Severity.CRITICAL})

CRITERIA = (
    "accuracy",
    "relevance",
    "clarity",
    "completeness",
    "creativity",
    "efficiency",
    "safety",
    "domain_expertise",
)


def derive_id(*parts: object) -> ObjectId:
    """Return the ObjectId that belongs to a key: the same parts always give the same id, so inserting twice is once."""
    text = "\x1f".join(str(part) for part in parts)
    return ObjectId(hashlib.sha256(text.encode()).digest()[:12])


def to_usd(nanos: int) -> float:
    """Billionths of a dollar as US dollars."""
    return nanos / NANOS_PER_USD


def to_nanos(usd: float) -> int:
    """US dollars as billionths of a dollar, rounded to the nearest."""
    return round(usd * NANOS_PER_USD)
