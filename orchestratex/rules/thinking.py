"""A model's thinking and its control tokens, taken off a reply: the marks that the families of models use."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Set
from typing import Final, NamedTuple

# What a server should have taken off and some leave in. The plain names are also words of users' own XML.
_OWN_WORDS: Final = "think|thinking|antthinking|cot_budget_reflect"
_SHARED_WORDS: Final = "thought|thoughts|reasoning|reflection|scratchpad|analysis|inner_monologue|inner_thoughts"
_WORDS: Final = f"{_OWN_WORDS}|{_SHARED_WORDS}"
_SHARED: Final = frozenset(_SHARED_WORDS.split("|"))
_MARKS: Final = re.compile(
    rf"<(?P<slash>/?)(?:[a-z]{{1,10}}:)?(?P<word>{_WORDS})>"
    r"|\[(?P<bracket>/?)THINK\]"
    r"|◁(?P<kimi>/?)think▷"
    r"|<\|(?P<cohere>START|END)_THINKING\|>"
    r"|<\|(?P<sky>begin|end)_of_thought\|>"
    r"|<\|(?P<bar>/?)think(?:ing)?\|>"
    r"|(?P<gemma_open><\|channel>thought\b)|(?P<gemma_close><channel\|>)"
    r"|(?P<med_open><unused94>thought\b)|(?P<med_close><unused95>)",
    re.IGNORECASE,
)
_CHANNEL: Final = re.compile(r"<\|channel\|>\s{0,9}(\w{1,20})[^\n]{0,80}?<\|message\|>")
_CHANNEL_BEGUN: Final = re.compile(
    r"\s*(?:analysis|commentary|final)[^\n<]{0,80}<\|message\|>"
)  # its first mark was lost
_CHANNEL_END: Final = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
_STOP: Final = (
    r"<\|(?:im_end|endoftext|end_of_text|eot_id|eom_id|end|return|user|system|END_OF_TURN_TOKEN|END_RESPONSE|end_of_solution)\|>"
    r"|<end_of_turn>|<eos>|</s>|<｜end▁of▁sentence｜>"
)
_START: Final = (
    r"<\|im_start\|>(?:assistant\b)?|<\|start_header_id\|>assistant<\|end_header_id\|>|<\|start\|>(?:assistant\b)?"
    r"|<\|(?:begin_of_text|assistant|CHATBOT_TOKEN|START_OF_TURN_TOKEN|START_RESPONSE|begin_of_solution|message)\|>"
    r"|<start_of_turn>(?:model\b)?|<bos>|<s>|\[/INST\]|\[TOOL_CALLS\]|<\|python_tag\|>|<｜(?:Assistant|begin▁of▁sentence)｜>"
)
_LEADING: Final = re.compile(rf"\s*(?:{_START}|{_STOP})")
_TRAILING: Final = re.compile(_STOP)
_LAST: Final = re.compile(rf"(?:{_STOP})\Z")
_TOKEN: Final = re.compile(rf"{_START}|{_STOP}")
_GRANITE: Final = re.compile(r"Here(?:'s| is) my (?:thought|thinking) process:", re.IGNORECASE)
_GRANITE_ANSWER: Final = re.compile(r"Here(?:'s| is) my response:", re.IGNORECASE)
_BARE_HARMONY: Final = re.compile(
    r"\s*analysis(?=[\sA-Z\W]|we\b)"
)  # the channel tokens were taken off, their names not
_BARE_FINAL: Final = re.compile(r"assistantfinal(?!ly\b|i[sz])")
_ON_THOUGHT: Final = re.compile(r"\b(?:how|thoughts?|think|thinking|reason|reasoning|process)\b", re.IGNORECASE)
_FENCED: Final = re.compile(r"^[ \t]*```[^\n]*$", re.MULTILINE)
_QUOTES: Final = "`'\"“”‘’()"
_MOST_STRUCK: Final = 64  # passages struck through in HTML that are told from ends of turns
_LINE: Final = 200  # characters that are looked at to tell whether a mark stands on a line of its own


class _Mark(NamedTuple):
    start: int
    end: int
    kind: str
    is_closing: bool


def strip_thinking(reply: str, given: str = "") -> str:
    """The reply without its thinking and control tokens, stripped; empty when there is nothing else in it.

    `given` is what the user gave: a mark that stands there may be spoken of in the answer, and goes only where it
    stands as a mark beyond doubt.
    """
    spoken = _name_marks(given)
    if "</think>" in given and "<answer" in given:
        spoken |= {"think", "asked"}  # the form that the user wants
    text = _read_channels(reply, spoken)
    text = _strip_leading_tokens(text, spoken)
    text = _strip_granite(text, given)
    for _ in range(8):  # a model that thinks twice before it speaks
        shorter = _strip_leading(text, spoken)
        if shorter == text:
            break
        text = _strip_leading_tokens(shorter, spoken)
    return _cut_after_stop(_strip_inner(text, spoken), spoken).strip()


def strip_before_json(reply: str) -> str:
    """The reply without the thinking and tokens around its JSON; what stands inside of the JSON is left alone."""
    text = _read_channels(reply, frozenset())
    for _ in range(8):
        text = _strip_leading_tokens(text, frozenset())
        if text.lstrip()[:1] in ("{", "[", '"', "`", "~"):
            break
        shorter = _strip_leading(_strip_granite(text, ""), frozenset())
        if shorter == text:
            break
        text = shorter
    text = text.strip()
    while found := _LAST.search(text, max(0, len(text) - _LINE)):
        text = text[: found.start()].rstrip()
    return text


def _name_marks(given: str) -> Set[str]:
    """The marks and tokens that the user's own text names."""
    names = {_to_mark(found).kind for found in _MARKS.finditer(given)}
    names |= {found.group().strip() for found in _TOKEN.finditer(given)}
    return names | ({"channel"} if "<|channel|>" in given else set())


def _read_channels(text: str, spoken: Set[str]) -> str:
    """The final channel of a reply in OpenAI's open format; nothing where it never got there."""
    if _CHANNEL_BEGUN.match(text):
        text = f"<|channel|>{text.lstrip()}"
    begins = text.lstrip().startswith("<|")
    if "channel" in spoken and not begins:
        return text
    found = [each for each in _CHANNEL.finditer(text) if begins or _is_channel(text, each.start())]
    if not begins and found:
        fences = [each.start() for each in _FENCED.finditer(text)]
        found = [each for each in found if not bisect_left(fences, each.start()) % 2]
    if found:
        final = [each for each in found if each.group(1).lower() == "final"]
        if not final:
            return ""
        end = _CHANNEL_END.search(text, final[-1].end())
        return text[final[-1].end() : end.start() if end else len(text)]
    if _BARE_HARMONY.match(text) and (bare := _BARE_FINAL.search(text)):
        return text[bare.end() :]
    return text


def _is_channel(text: str, place: int) -> bool:
    """Whether a channel begins here, and is not spoken of in a sentence."""
    before = text[max(0, place - 12) : place]
    return before.endswith(("|>", "assistant")) or _begins_line(text, place)


def _strip_granite(text: str, given: str) -> str:
    if not _GRANITE.match(text.lstrip()) or _GRANITE.search(given):
        return text
    answer = _GRANITE_ANSWER.search(text)
    if answer is None:
        return text if _ON_THOUGHT.search(given) else ""
    return text[answer.end() :]


def _strip_leading_tokens(text: str, spoken: Set[str]) -> str:
    place = 0
    while (found := _LEADING.match(text, place)) and found.group().strip() not in spoken:
        if found.group().strip() == "<s>" and text.partition("</s>")[2].strip():
            break  # what HTML strikes through
        place = found.end()
    return text[place:] if place else text


def _cut_after_stop(text: str, spoken: Set[str]) -> str:
    """What comes behind the first token that ends a turn is another turn, made up; code and sentences name tokens."""
    fences: list[int] | None = None
    struck = 0
    for found in _TRAILING.finditer(text):
        if found.group() in spoken or _is_quoted(text, found.start(), found.end()):
            continue
        if found.group() == "</s>":
            struck += 1
            if struck < _MOST_STRUCK and text.count("<s>", 0, found.start()) >= struck:
                continue
        if _is_in_sentence(text, found.start(), found.end()) or text[found.end() : found.end() + 1] in tuple(",;:)"):
            continue
        if fences is None:
            fences = [each.start() for each in _FENCED.finditer(text)]
        number = bisect_left(fences, found.start())
        if number % 2 and number < len(fences):
            continue
        return text[: found.start()]
    return text


def _strip_leading(text: str, spoken: Set[str]) -> str:
    """Take off thinking that begins the reply, or whose opening was taken off before us."""
    marks = _find_marks(text)
    first = next(marks, None)
    if first is None:
        return text
    is_spoken_of = first.kind in spoken
    if first.is_closing:
        return text[first.end :] if _closes_thinking(text, first, is_spoken_of=is_spoken_of) else text
    if text[: first.start].strip() or (is_spoken_of and (first.kind in _SHARED or "asked" in spoken)):
        return text
    closing = next((each for each in marks if each.is_closing and each.kind == first.kind), None)
    if closing is None:
        return text if is_spoken_of else ""
    is_block = _ends_line(text, closing.end) and not re.match(r" [a-z]", text[first.end : first.end + 2])
    return text[closing.end :] if not is_spoken_of or is_block else text


def _closes_thinking(text: str, mark: _Mark, *, is_spoken_of: bool) -> bool:
    """Whether a closing that nothing opens ends the thinking before it."""
    if text.count("```", 0, mark.start) % 2 or _is_in_sentence(text, mark.start, mark.end):
        return False
    if is_spoken_of and (mark.kind in _SHARED or not text[mark.end :].strip()):
        return False
    return not (is_spoken_of or mark.kind in _SHARED) or (_begins_line(text, mark.start) and _ends_line(text, mark.end))


def _strip_inner(text: str, spoken: Set[str]) -> str:
    """Take out thinking between two parts of an answer: blocks on lines of their own, outside of code."""
    marks = list(_find_marks(text))
    fences = [found.start() for found in _FENCED.finditer(text)] if marks else []
    closings: dict[str, list[_Mark]] = {}
    for each in marks:
        if each.is_closing:
            closings.setdefault(each.kind, []).append(each)
    kept, place = [], 0
    for each in marks:
        if each.start < place or each.is_closing or each.kind in _SHARED or each.kind in spoken:
            continue
        if bisect_left(fences, each.start) % 2:
            continue
        behind = closings.get(each.kind, [])
        number = bisect_left(behind, each)
        later = behind[number : number + 1]
        if not _begins_line(text, each.start) and not _is_afterthought(text, each, later):
            continue
        if not later and not _ends_line(text, each.end):
            continue
        kept.append(text[place : each.start].rstrip())
        place = later[0].end if later else len(text)
    return "\n\n".join([*kept, text[place:].lstrip()]) if kept else text


def _is_afterthought(text: str, opening: _Mark, closings: list[_Mark]) -> bool:
    """Whether thinking ends the text, behind the end of a sentence on the same line."""
    before = text[max(0, opening.start - 8) : opening.start].rstrip(" \t")
    return bool(closings) and before[-1:] in (".", "!", "?", "。") and not text[closings[0].end :].strip()


def _find_marks(text: str) -> Iterator[_Mark]:
    for found in _MARKS.finditer(text):
        if not _is_quoted(text, found.start(), found.end()):
            yield _to_mark(found)


def _to_mark(found: re.Match[str]) -> _Mark:
    name = found.lastgroup or ""
    if name == "word":
        return _Mark(found.start(), found.end(), found["word"].lower(), bool(found["slash"]))
    is_closing = found[name] == "/" or found[name].lower() == "end" or name.endswith("_close")
    return _Mark(found.start(), found.end(), name.partition("_")[0], is_closing)


def _is_quoted(text: str, start: int, end: int) -> bool:
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    return bool(before) and before in _QUOTES and bool(after) and after in _QUOTES


def _is_in_sentence(text: str, start: int, end: int) -> bool:
    """Whether a mark is a word of a sentence or a table: `it ends with </think> and goes on`."""
    before, after = text[max(0, start - 1) : start], text[end : end + 2]
    if before == " ":
        return bool(re.match(r" [a-z(|=–—-]|[,.;:?!)]", after))
    return _begins_line(text, start) and bool(re.match(r" [a-z]", after))


def _begins_line(text: str, place: int) -> bool:
    before = text[max(0, place - _LINE) : place]
    return not before.rpartition("\n")[2].strip()


def _ends_line(text: str, place: int) -> bool:
    return not text[place : place + _LINE].partition("\n")[0].strip()
