"""Every error that we raise, as one tree. Each says what was wrong, where, and what to do.

OrchestratexError
├── InputError                  bad input: nothing was written
│   ├── ProfilesError           all that is missing or wrong in what is said about models
│   ├── MistakesError           several fields of one request are wrong
│   ├── NotFoundError
│   └── ConflictError           well said, but not of what is there now
├── CapacityError               as many threads are in flight as may be: nothing was written
├── UnavailableError            a service that we need does not answer
│   ├── StoreUnavailableError
│   ├── NoModelError            no model can be asked here
│   ├── BrokerUnavailableError
│   └── LimiterUnavailableError
├── DocumentTooLargeError       a document would pass the store's 16 MB: nothing was written
├── LocalStackError             the embedded servers cannot run
├── BudgetError                 the next call could break the cost limit
├── StepFailedError             a step failed by our own error, which is recorded and counted
└── ProviderError               a model's call failed
    ├── ProviderRateLimitedError
    ├── ProviderQuotaError
    ├── ProviderOverloadedError
    ├── ProviderTimeoutError
    ├── ProviderConnectionError
    │   └── InsecureConnectionError
    ├── ProviderDisconnectedError
    ├── ProviderAuthenticationError
    ├── ProviderNotFoundError
    ├── ProviderRejectedError
    │   └── ParameterRefusedError
    ├── BreakerOpenError
    ├── CallUnwantedError
    ├── ContextTooLongError
    ├── RequestTooLargeError
    ├── ContentRefusedError
    └── MalformedCompletionError
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class OrchestratexError(Exception):
    """The root."""


class InputError(OrchestratexError):
    """Raised when a caller's input breaks a limit. `field` names it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field of a model's profile."""

    model_name: str
    field: str  # a path with dots, such as rate_limits.tokens_per_minute
    problem: str
    is_missing: bool = False


class ProfilesError(InputError):
    """Raised when profiles lack fields or break their limits.

    `problems` holds all of it in the order of the rows, and so does the message; `field` and `problem` are the first's.
    """

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__(f"{problems[0].model_name}.{problems[0].field}", problems[0].problem)
        self.problems = tuple(problems)
        if len(problems) > 1:
            names = dict.fromkeys(each.model_name for each in problems)
            self.args = ("; ".join(_describe_model(name, problems) for name in names),)


def _describe_model(name: str, problems: Sequence[FieldProblem]) -> str:
    mine = [each for each in problems if each.model_name == name]
    missing = [each.field for each in mine if each.is_missing]
    wrong = [f"{name}.{each.field}: {each.problem}" for each in mine if not each.is_missing]
    return "; ".join([*([f"{name} lacks {', '.join(missing)}"] if missing else []), *wrong])


class MistakesError(InputError):
    """Raised when several fields are wrong: all are told at once.

    `mistakes` holds each as it would be raised alone, and so does the message; `field` and `problem` are the first's.
    """

    def __init__(self, mistakes: Sequence[InputError]) -> None:
        super().__init__(mistakes[0].field, mistakes[0].problem)
        self.mistakes = tuple(mistakes)
        self.args = ("; ".join(map(str, mistakes)),)


def join_mistakes(mistakes: Sequence[InputError]) -> InputError:
    """One error for them all: the only one as it is."""
    return mistakes[0] if len(mistakes) == 1 else MistakesError(mistakes)


class NotFoundError(InputError):
    """Raised when an id, which is `wanted`, names nothing of the kind that `field` says."""

    def __init__(self, field: str, wanted: object, problem: str = "names nothing") -> None:
        super().__init__(field, f"{wanted} {problem}")
        self.wanted = wanted


class ConflictError(InputError):
    """Raised when what is asked does not fit the state of what it is asked of."""


class CapacityError(OrchestratexError):
    """Raised when a bound on threads in flight is reached; the message says which. `retry_after_s` may find room."""

    def __init__(self, problem: str, *, retry_after_s: float) -> None:
        super().__init__(problem)
        self.retry_after_s = retry_after_s


class UnavailableError(OrchestratexError):
    """Raised when a service does not answer; the message names it and its address."""


class StoreUnavailableError(UnavailableError):
    """Raised when MongoDB does not answer, or takes nothing."""


class NoModelError(UnavailableError):
    """Raised when no model can be asked in this installation; the message says why, and what to do."""


class BrokerUnavailableError(UnavailableError):
    """Raised when the broker, Redis or RabbitMQ, does not answer or takes no message."""


class LimiterUnavailableError(UnavailableError):
    """Raised when the shared limits cannot be asked: a call that costs money must not be sent."""


class DocumentTooLargeError(OrchestratexError):
    """Raised when a document would be larger than the store takes, 16 MB: this write changed nothing."""


class LocalStackError(OrchestratexError):
    """Raised when the embedded servers cannot start; the message says what to install or who is in the way."""


class BudgetError(OrchestratexError):
    """Raised when a call's worst case does not fit into what the budget leaves."""


class StepFailedError(OrchestratexError):
    """Raised when a step failed by our own error, and what it held was given back: its task has nothing more to do."""


class ProviderError(OrchestratexError):
    """Raised when a model's call failed.

    `is_retryable` says whether sending again can help, `retry_after_s` after how long (None: the caller's back-off),
    `may_be_charged` whether the provider may have billed the call although it failed; `completion` is what came all the
    same, with the usage that was billed, where the provider sent one.
    """

    is_retryable: ClassVar[bool] = False
    may_be_charged: bool = False

    def __init__(
        self, model: str, problem: str, *, retry_after_s: float | None = None, completion: object | None = None
    ) -> None:
        super().__init__(f"{model}: {problem}")
        self.model = model
        self.retry_after_s = retry_after_s
        self.completion = completion
        self.may_be_charged = self.may_be_charged or completion is not None


class ProviderRateLimitedError(ProviderError):
    """Raised on 429: too many requests or tokens."""

    is_retryable = True


class ProviderQuotaError(ProviderError):
    """Raised when the provider's account has no money or no quota left: waiting does not help, paying does."""


class ProviderOverloadedError(ProviderError):
    """Raised on 5xx: the provider's own trouble."""

    is_retryable = True


class ProviderTimeoutError(ProviderError):
    """Raised when no complete answer came in time; the provider may have worked all the same."""

    is_retryable = True
    may_be_charged = True


class ProviderConnectionError(ProviderError):
    """Raised when the connection could not be made: nothing was sent."""

    is_retryable = True


class InsecureConnectionError(ProviderConnectionError):
    """Raised when somebody is there, and no secure connection to it can be made: nothing was sent."""


class ProviderDisconnectedError(ProviderError):
    """Raised when the connection broke after the request was sent; the provider may have worked all the same."""

    is_retryable = True
    may_be_charged = True


class ProviderAuthenticationError(ProviderError):
    """Raised on 401 and 403: the key is missing, wrong or not allowed."""


class ProviderNotFoundError(ProviderError):
    """Raised on 404: the endpoint or the model's version does not exist."""


class ProviderRejectedError(ProviderError):
    """Raised on any other 4xx: the provider finds the request itself wrong.

    `said` is all that it says of that, in lower case, `fields` the fields of the request that it names.
    """

    said: str = ""
    fields: tuple[str, ...] = ()


class ParameterRefusedError(ProviderRejectedError):
    """Raised when what is wrong is one parameter that the call can do without, or say otherwise.

    `parameter` is its name, or its name and value, as `domain.capabilities` spells them.
    """

    def __init__(self, model: str, problem: str, *, parameter: str) -> None:
        super().__init__(model, problem)
        self.parameter = parameter


class BreakerOpenError(ProviderError):
    """Raised when a model's calls kept failing and it is left alone for a while; nothing was sent."""


class CallUnwantedError(ProviderError):
    """Raised when a call's thread went on or was cancelled in the moment before it left: nothing was sent."""


class ContextTooLongError(ProviderError):
    """Raised when the prompt does not fit into the model's context."""


class RequestTooLargeError(ProviderError):
    """Raised on a 429 whose words say that the request alone is larger than the limit: waiting does not help."""


class ContentRefusedError(ProviderError):
    """Raised when the provider refuses the content."""


class MalformedCompletionError(ProviderError):
    """Raised when what came back is not a completion in the provider's dialect."""

    is_retryable = True
    may_be_charged = True
