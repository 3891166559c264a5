"""What a provider's error means, whatever status it came with, and in whatever shape."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from orchestratex.domain.response import Completion
from orchestratex.errors import (
    ContentRefusedError,
    ContextTooLongError,
    ProviderAuthenticationError,
    ProviderError,
    ProviderNotFoundError,
    ProviderOverloadedError,
    ProviderQuotaError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    RequestTooLargeError,
)
from orchestratex.providers.masking import EXCERPT, Mask
from orchestratex.providers.sizes import is_too_large_alone
from orchestratex.providers.waits import find_delay
from orchestratex.providers.wordings import (
    BAD_KEY,
    BUSY,
    NO_MODEL,
    NO_MONEY,
    NO_QUOTA,
    NOT_THERE,
    OF_THE_ACCOUNT,
    RATE_LIMITED,
    REFUSED,
    REFUSED_TEXT,
    TOO_LONG,
    TOO_LONG_FOR_SURE,
    TOO_LONG_TEXT,
)

_ANSWERS: Final = ("choices", "candidates", "content", "promptFeedback", "data", "models")
_TOP_WORDS: Final = ("message", "msg", "detail", "error_msg", "error_message")
_WORDS: Final = (*_TOP_WORDS, "details", "status_msg", "description", "title", "raw")
_CODES: Final = ("code", "type", "status", "reason", "error_code", "error_type", "status_code", "blockReason")
_INNER: Final = (
    "error",
    "message",
    "innererror",
    "inner_error",
    "metadata",
    "raw",
    "provider_error",
    "upstream_error",
    "cause",
)
_NO_CODES: Final = ("", "0", "200", "none", "null", "ok", "success")
_MOST_PARTS: Final = 50  # of one error body
_MOST_BYTES: Final = 100_000  # of a page that is no JSON
_MOST_WORDS: Final = 3000  # characters that are looked through
_UNTOLD: Final = frozenset(
    {504, 520, 524, 598, 599}
)  # a gateway stopped waiting: the model may have worked, and billed

_KIND_BY_STATUS: Final[dict[int, type[ProviderError]]] = {
    401: ProviderAuthenticationError,
    402: ProviderQuotaError,
    403: ProviderAuthenticationError,
    404: ProviderNotFoundError,
    405: ProviderNotFoundError,
    408: ProviderOverloadedError,
    409: ProviderOverloadedError,
    410: ProviderNotFoundError,
    413: ContextTooLongError,
    425: ProviderOverloadedError,
    429: ProviderRateLimitedError,
    451: ContentRefusedError,
}
_KIND_BY_WORDS: Final[tuple[tuple[re.Pattern[str], type[ProviderError]], ...]] = (
    (BAD_KEY, ProviderAuthenticationError),
    (RATE_LIMITED, ProviderRateLimitedError),
    (NOT_THERE, ProviderNotFoundError),
    (BUSY, ProviderOverloadedError),
)


@dataclass(frozen=True)
class Problem:
    """What an error body says, whatever its shape."""

    text: str  # what is repeated
    words: str = ""  # what is looked through, in lower case
    codes: str = ""  # every code, type, status and reason, in lower case
    status: int | None = None  # an HTTP status that stands in the body
    retry_after_s: float | None = None
    is_flagged: bool = False  # it lists what in the prompt was not liked
    fields: tuple[str, ...] = ()  # of the request that it names, in lower case


def status_error(
    model: str,
    status: int,
    content: bytes,
    mask: Mask,
    *,
    sent_bytes: int,
    request_id: str | None,
    retry_after_s: float | None,
) -> ProviderError:
    """The error that a status, and what the body says beside it, mean for a request of `sent_bytes`."""
    said = _read_content(content, mask)
    kind = _judge_size(_find_kind(status, said), said, sent_bytes)
    error = _make(model, f"HTTP {status}: {said.text}", kind, request_id, said, retry_after_s)
    if status in _UNTOLD:
        error.may_be_charged = True
    return error


def find_error(
    model: str, body: Any, mask: Mask, *, sent_bytes: int = 0, request_id: str | None = None
) -> ProviderError | None:
    """The error that stands in an answer of status 200, None where there is none. Nothing was charged for it."""
    found = _find_error_part(body)
    if found is None:
        return None
    said = _read_problem(found, mask)
    kind = _find_kind(said.status, said) if said.status else _guess_kind(said)
    kind = _judge_size(kind, said, sent_bytes)
    return _make(model, f"an error in place of an answer: {said.text}", kind, request_id, said, None)


def part_error(model: str, part: Any, *, completion: Completion | None = None) -> ProviderError:
    """The error that stands inside of an answer, whose keys are hidden already.

    Nothing was charged for it, unless there is a `completion` with what had been generated before.
    """
    said = _read_problem(part, Mask(()))
    kind = _find_kind(said.status, said) if said.status else _guess_kind(said)
    if kind is ProviderRejectedError and not said.status:  # the request was taken, or no answer would be around it
        kind = ProviderOverloadedError
    problem = f"an error in place of an answer: {said.text}"
    return kind(model, problem, retry_after_s=said.retry_after_s, completion=completion)


def is_error(value: Any) -> bool:
    """Whether the value of a field named `error` says that there was one."""
    if isinstance(value, dict):
        codes = {str(value.get(name)).lower() for name in _CODES if isinstance(value.get(name), str | int)}
        return any(
            isinstance(value.get(name), str | dict | list) and value[name] for name in (*_WORDS, *_INNER)
        ) or bool(codes - set(_NO_CODES))
    return bool(value) and isinstance(value, str | list | int)


def _make(
    model: str,
    problem: str,
    kind: type[ProviderError],
    request_id: str | None,
    said: Problem,
    retry_after_s: float | None,
) -> ProviderError:
    problem += f" [request {request_id}]" if request_id else ""
    wait_s = said.retry_after_s if retry_after_s is None else retry_after_s
    made = kind(model, problem, retry_after_s=wait_s if kind.is_retryable else None)
    if isinstance(made, ProviderRejectedError):
        made.said, made.fields = f"{said.codes} {said.words}", said.fields
    return made


def _find_kind(status: int, said: Problem) -> type[ProviderError]:
    """The status says who is at fault; where it is the caller, the words say more exactly with what."""
    if status >= 500:
        is_too_long = TOO_LONG.search(said.codes) or TOO_LONG_FOR_SURE.search(said.words)
        return ContextTooLongError if is_too_long else ProviderOverloadedError
    kind = _KIND_BY_STATUS.get(status, ProviderRejectedError)
    if NO_QUOTA.search(said.codes) or NO_MONEY.search(said.words):
        return ProviderQuotaError
    if REFUSED.search(said.codes) or (said.is_flagged and kind is not ProviderRateLimitedError):
        return ContentRefusedError
    is_of_content = kind in (ProviderRejectedError, ProviderAuthenticationError) and REFUSED_TEXT.search(said.words)
    if is_of_content and not OF_THE_ACCOUNT.search(said.words):
        return ContentRefusedError
    if kind is not ProviderRejectedError:
        return kind
    if BAD_KEY.search(said.codes):
        return ProviderAuthenticationError
    if TOO_LONG.search(said.codes) or TOO_LONG_TEXT.search(said.words):
        return ContextTooLongError
    return ProviderNotFoundError if status == 400 and NO_MODEL.search(f"{said.codes} {said.words}") else kind


def _judge_size(kind: type[ProviderError], said: Problem, sent_bytes: int) -> type[ProviderError]:
    """A rate limit that this request alone is larger than is one that no waiting helps against."""
    is_alone = kind is ProviderRateLimitedError and is_too_large_alone(said.words, sent_bytes=sent_bytes)
    return RequestTooLargeError if is_alone else kind


def _guess_kind(said: Problem) -> type[ProviderError]:
    """What an error without any status means, by its codes and words."""
    kind = _find_kind(400, said)
    if kind is not ProviderRejectedError:
        return kind
    words = f"{said.codes} {said.words}"
    return next((meant for pattern, meant in _KIND_BY_WORDS if pattern.search(words)), kind)


def _find_error_part(body: Any) -> Any:
    """The part of a 200's body that is an error, None where there is none."""
    body = body[0] if isinstance(body, list) and len(body) == 1 else body  # Google's streams wrap it
    if not isinstance(body, dict):
        return None
    if is_error(body.get("error")):
        return body["error"] if isinstance(body["error"], str | dict | list) else body  # a bare `true`: words beside it
    if "error" in (body.get("object"), body.get("type")):
        return body
    if any(body.get(name) for name in _ANSWERS):
        return None
    for name in ("errors", "base_resp"):
        part = body.get(name)
        part = part[0] if isinstance(part, list) and part else part
        if is_error(part) and not (isinstance(part, dict) and part.get("status_code") == 0):
            return part
    return body if any(isinstance(body.get(name), str | list) and body[name] for name in _TOP_WORDS) else None


def _read_content(content: bytes, mask: Mask) -> Problem:
    """The message, codes and wait of an error body, whatever its shape."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return _say(mask.excerpt(content[:_MOST_BYTES].decode(errors="replace"), length=_MOST_WORDS))
    body = body[0] if isinstance(body, list) and body else body  # Google's streams wrap it
    error = body.get("error") if isinstance(body, dict) else None
    return _read_problem(error if is_error(error) and isinstance(error, str | dict | list) else body, mask)


def _read_problem(error: Any, mask: Mask) -> Problem:
    if not isinstance(error, dict):
        return _say(mask.excerpt(error if isinstance(error, str) else _dump(error), length=_MOST_WORDS))
    parts = list(_find_parts(error))
    words = list(dict.fromkeys(text for part in parts for text in _read_words(part)))
    codes = [_read_code(part[name]) for part in parts for name in _CODES if name in part]
    metadata = error.get("metadata")
    return replace(
        _say(mask.excerpt(": ".join(words) if words else _dump(error), length=_MOST_WORDS)),
        codes=" ".join(filter(None, codes)).lower(),
        status=_find_status(parts),
        retry_after_s=find_delay(parts),
        fields=tuple(field for part in parts for field in _find_fields(part)),
        is_flagged=isinstance(metadata, dict) and bool(metadata.get("reasons") or metadata.get("flagged_input")),
    )


def _say(text: str) -> Problem:
    return Problem(text[:EXCERPT], text.lower())


def _find_parts(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The error and the objects inside of it that say more, the outermost first."""
    waiting: list[Any] = [error]
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        part = waiting.pop(0)
        if isinstance(part, list):
            waiting[:0] = part[:_MOST_PARTS]
        elif isinstance(part, dict):
            yield part
            waiting += [part[name] for name in (*_INNER, "details", "detail", "errors") if name in part]


def _read_words(part: Mapping[str, Any]) -> Iterable[str]:
    return [part[name] for name in (*_WORDS, "error") if isinstance(part.get(name), str) and part[name]]


def _find_fields(part: Mapping[str, Any]) -> Iterator[str]:
    """The fields of the request that a part of an error names: `param` is OpenAI's, `loc` is pydantic's."""
    where = part.get("loc")
    names = where if isinstance(where, list) else [part.get("param")]
    yield from (name.lower()[:EXCERPT] for name in names[:_MOST_PARTS] if isinstance(name, str) and name != "body")


def _read_code(value: Any) -> str:
    return str(value)[:EXCERPT] if isinstance(value, str) or (isinstance(value, int) and abs(value) < 10**9) else ""


def _find_status(parts: Iterable[Mapping[str, Any]]) -> int | None:
    """The first HTTP status of an error, written as a number or as its digits."""
    for part in parts:
        for name in ("code", "status", "status_code", "error_code"):
            code = _read_code(part.get(name))
            if len(code) == 3 and code.isascii() and code.isdecimal() and 400 <= int(code) <= 599:
                return int(code)
    return None


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "an error that is nested too deeply to be repeated"
