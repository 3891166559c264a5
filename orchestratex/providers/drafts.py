"""A request that is being written, and what in it a model may refuse: what was not sent cannot have been refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestratex.domain.base import Effort
from orchestratex.domain.capabilities import Capabilities, Parameter, is_thinking, name_value
from orchestratex.errors import ParameterRefusedError, ProviderRejectedError
from orchestratex.providers.base import CompletionRequest
from orchestratex.providers.http import HttpClient, Reply

_NEAR: Final = r"[^{}\n]{0,120}"  # in one sentence of theirs, not in a request that is repeated
_REFUSAL: Final = (
    r"(?:unsupported|(?:n['o]t|never|no longer)(?: be| a)? ?(?:currently )?(?:support|permit|allow|compatib|accept|"
    r"availabl|valid|enabled|work|recogni|known|implement)\w*|deprecated|removed|unknown|unrecogni[sz]ed|unexpected|"
    r"extra[ _](?:inputs?|fields?|forbidden)|invalid|incompatible|can ?not|can't|may (?:not|only)|only (?:the |be )?"
    r"(?:default|works?|supports?|accepts?|set)|must (?:not )?be|should be|not set|rejects?|use ['\"`]|不支持|无效)"
)
_VALUE: Final = re.compile(
    r"value|level|budget|option|one of|literal|enum|turned off|disabled?\b|switched off|thinking mode|input should"
)
_WHOLE: Final = re.compile(
    r"unsupported[ _]parameter|parameter|argument|extra[ _]|unknown|unrecogni|unexpected|cannot find field|adaptive"
)


@dataclass(frozen=True)
class _Sent:
    """A parameter that was sent, and the names by which a refusal may speak of it."""

    parameter: Parameter
    value: str | None  # where another value may be taken
    names: tuple[str, ...]
    only: re.Pattern[str] | None  # what must be said, too


class Draft:
    """The body of a request, written piece by piece."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self._sent: list[_Sent] = []

    def put(
        self,
        parameter: Parameter,
        fields: Mapping[str, Any],
        *names: str,
        value: str | None = None,
        into: dict[str, Any] | None = None,
        only: re.Pattern[str] | None = None,
    ) -> None:
        """Add fields, to a part of the body if `into` is one; refusals are told by their names and by further `names`.

        Give `value` where it may be another one that is taken.
        """
        target = self.body if into is None else into
        target.update(fields)
        self._sent.append(_Sent(parameter, value, tuple(name.lower() for name in (*fields, *names)), only))

    def send(self, http: HttpClient, model: str, url: str, headers: Mapping[str, str]) -> Reply:
        """Post it. Raises ProviderError, which names the parameter where that is what was refused."""
        try:
            return http.post(model, url, self.body, headers)
        except ProviderRejectedError as error:
            refused = self._find_refused(error)
            if refused is None:
                raise
            problem = str(error).removeprefix(f"{model}: ")
            found = ParameterRefusedError(model, problem, parameter=refused)
            found.said, found.fields = error.said, error.fields
            raise found from error

    def _find_refused(self, error: ProviderRejectedError) -> str | None:
        """The parameter that an error speaks of. Fields that it names by themselves are surer than its words."""
        named = {part for field in error.fields for part in (field, *re.split(r"[.\[\]]+", field))}
        for sent in self._sent:
            is_named = any(name in named for name in sent.names) if named else _is_near(sent.names, error.said)
            if is_named and (sent.only is None or sent.only.search(error.said)):
                return _name(sent, error.said)
        return None


def _is_near(names: tuple[str, ...], said: str) -> bool:
    """Whether one of the names stands close to words that refuse."""
    name = rf"(?<![a-z0-9_])(?:{'|'.join(map(re.escape, names))})(?!\.?[a-z0-9_])"
    return re.search(rf"{name}{_NEAR}{_REFUSAL}|{_REFUSAL}{_NEAR}{name}", said) is not None


def _name(sent: _Sent, said: str) -> str:
    is_effort = sent.parameter is Parameter.EFFORT  # of the others every value is said to be refused for itself
    if sent.value is None or (is_effort and not _VALUE.search(said) and _WHOLE.search(said)):
        return sent.parameter.value
    return name_value(sent.parameter, sent.value)


def thinks(request: CompletionRequest) -> bool:
    """Whether the model thinks in this call."""
    return is_thinking(request.capabilities, request.effort)


def find_word(capabilities: Capabilities, effort: Effort | None) -> bool | int | str | None:
    """How an effort is said to the model, None where it is not."""
    return None if effort is None else (capabilities.efforts or {}).get(effort)


def thought_budget(max_tokens: int, wanted: int | None = None) -> int:
    """The tokens that a model may think with, so that some are left for its text."""
    most = max_tokens * 3 // 4
    return most if wanted is None else min(wanted, most)
