"""The words by which providers and servers say what is wrong, where no status of its own says it.

Patterns of codes are looked for in codes, types and reasons; the others in messages. All of it in lower case, all of
it in excerpts of some hundred characters.
"""

from __future__ import annotations

import re
from typing import Final

NO_QUOTA: Final = re.compile(r"insufficient_(?:quota|credits|balance|funds)|billing_|\barrearage\b")
NO_MONEY: Final = re.compile(
    r"credit balance is too low|insufficient (?:credits|balance|funds|account balance)|used all available credits"
    r"|out of credits|not enough credits|(?:have|has) (?:any|no) credits|requires more credits"
    r"|exceeded_current_quota|余额不足|欠费"
)

REFUSED: Final = re.compile(
    r"content\w*(?:policy|filter)|data_?inspection_?failed|invalid_prompt|prohibited_content|responsibleaipolicy"
    r"|moderation|safety|sensitive|content_?blocked|guardrail"
)
REFUSED_TEXT: Final = re.compile(
    r"(?:input|prompt|request|message|messages|content|output|text|response|image)\b[^.]{0,80}\bflagged"
    r"|flagged (?:by|as|for) (?:[\w-]+ ){0,4}(?:moderation|harm|violat|unsafe|inappropriate|sexual|violen|hate)"
    r"|content (?:management|filter\w*|usage|safety|moderation) (?:policy|policies|system)|content exists risk"
    r"|violat\w+ (?:[\w'-]+ ){0,5}(?:policy|policies|guidelines)|(?:our|the) safety system"
    r"|(?:block|reject|refus|filter)\w* (?:[\w'-]+ ){0,6}(?:content filter|moderation|safety|guardrail|content polic)"
    r"|\b(?:moderation|guardrails?|safety (?:filter|check))\b[^.]{0,30}\b(?:block|reject|refus|interven|fail)"
    r"|inappropriate content|high[- ]risk content|considered high risk|prohibited content|requires moderation"
    r"|sensitive (?:content|words?|information)|new_sensitive|unsafe content|content risk|敏感|不安全"
)

# An account that was closed is no matter of one prompt, whatever it was closed for.
OF_THE_ACCOUNT: Final = re.compile(
    r"\b(?:account|organi[sz]ation|access|api key|project)\b[^.]{0,60}"
    r"\b(?:suspend|disab|deactiv|bann|terminat|restrict|flagged)"
)

TOO_LONG: Final = re.compile(
    r"context_?(?:length|window|size)|exceed_context_size|request_too_large|string_above_max_length"
    r"|tokens_limit_reached|prompt_too_long|input_too_long|max_tokens_exceeded|token_limit_exceeded"
)
_INPUT: Final = r"\b(?:prompt|inputs?|messages?|conversation|context|tokens?|request|text|length)"
_LIMIT: Final = r"(?:max\w*|limit|context|supports?|allowed|window|capacity|length)"
TOO_LONG_TEXT: Final = re.compile(
    rf"(?<!took )(?<!taking )(?<!takes )\btoo (?:long|many (?:input |prompt )?tokens)"
    rf"|{_INPUT}\b[^.]{{0,60}}\btoo (?:large|big)"
    r"|maximum (?:context|prompt|input|model|sequence|allowed input) length|max(?:imum)? (?:context|model) len"
    r"|context (?:length|window|size|limit)[^.]{0,60}\b(?:exceed|only|overflow|reached|full)"
    rf"|exceed(?:s|ed|ing)?\b[^.]{{0,60}}\b(?:context|token limit|max(?:imum)? (?:length|input))"
    r"|exceed(?:s|ed|ing)?\b[^.]{0,60}\bmax(?:imum)? number of (?:input )?tokens"
    rf"|{_INPUT}\b[^.]{{0,80}}\b(?:exceeds?|exceeded|longer than|greater than|larger than)\b[^.]{{0,60}}\b{_LIMIT}"
    r"|range of input length|tokens? \+ `?max_(?:new_)?tokens`? must be|must have less than \d+ tokens"
    r"|reduce the length of (?:the |your )?(?:messages|prompt|input)|context (?:the )?overflows?"
    r"|`?(?:inputs|tokens)`? (?:tokens )?must be <= ?\d|\btoken limit\b(?! reached| for)|超长"
    r"|only supports? up to \d+|exceed(?:ed|s)? (?:model )?token limit|prompt contains \d+ tokens"
)

TOO_LONG_FOR_SURE: Final = re.compile(  # where a server calls it its own trouble
    r"exceed\w* (?:the )?(?:[\w'-]+ ){0,3}context|context (?:length|size|window)[^.]{0,60}\b(?:exceed|overflow)"
    r"|longer than the (?:maximum model|model's context) length|(?:prompt|input) is too long"
    r"|maximum (?:context|prompt|input|model|allowed input) length (?:is|of) \d|(?:prompt|input) exceeds max\w* length"
)

BAD_KEY: Final = re.compile(
    r"api_?key_?invalid|(?:invalid|incorrect|missing)[ _]?api[ _]?(?:key|token)|invalid_?authentication"
    r"|authentication_?error|permission_?error"
    r"|authenticationerror|unauthenticated|unauthorized|permission_denied"
)
RATE_LIMITED: Final = re.compile(
    r"rate[ _-]?limit|too[ _]many[ _]requests|resource_exhausted|throttl|requests per (?:minute|second|day)|slow down"
    r"|\brequest limit\b|速率限制|请求频率|并发"
)
BUSY: Final = re.compile(
    r"overload|server_error|api_error|internal(?:[ _]server)?[ _]?error|internalerror|unavailable|temporar"
    r"|timed?[ -]?out|timeout|try again|retry|at capacity|no capacity|\bbusy\b|upstream|bad gateway"
    r"|(?:is|currently|still) loading|loading model|starting up|warming up|(?:high|heavy) (?:traffic|load|demand)"
    r"|network error|繁忙"
    r"|insufficient_system_resource|network_error|deadline_exceeded|connection (?:error|reset|refused)|out of memory"
)
NO_MODEL: Final = re.compile(r"model_not_(?:found|available|exist)|not a valid model|\bmodel\b[^.]{0,60}does not exist")
NOT_THERE: Final = re.compile(
    r"not[ _-]?found|does not exist|unexpected endpoint|no such (?:model|route|endpoint)|unknown (?:model|endpoint|url)"
    r"|not a valid model"
    r"|model_not_found|not supported by|no endpoints|no models? loaded|try pulling|method not allowed|cannot post"
)
