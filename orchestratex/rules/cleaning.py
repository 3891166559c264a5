"""The prompt, normalised: Unicode, line ends, stray whitespace, a greeting to the assistant. Never its meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from orchestratex.rules.characters import to_nfc

_FENCES: Final = ("```", "~~~")
# Zero-width space, byte order mark and control characters. Joiners stay: Persian and emoji need them.
_INVISIBLE = re.compile("[\u200b\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
VISIBLE: Final = (
    r"[^\s\x00-\x1f\x7f\u200b\ufeff]"  # a character that is left of a prompt; every dialect of regexes reads it
)
_SOMETHING = re.compile(VISIBLE)
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")
_LAYOUT = re.compile("[\"'`“”‘’«»「」|=<>{}\\\\_*#~^\t]|\\bspac|\\bwhitespace|空格")
_GREETING = re.compile(
    r"(?:hi|hello|hey|greetings|good (?:morning|afternoon|evening))(?: there| chatgpt| chat| gpt| claude| ai| bot)?"
    r"\s*[,!.]\s*(?=(?:can|could|would|will) you |please |i need |i want you |i would like |i'd like |help me )",
    re.IGNORECASE,
)
_GREETING_ZH = re.compile(r"(?:你好|您好)[,，!！。]\s*(?=请|帮我|能不能|可以)")
# What may be quoted without quotation marks: there the greeting can belong to the text that is worked on.
_ON_TEXT = re.compile(
    r"translat|rewrit|rephras|paraphras|proofread|correct|grammar|summar|repl[yi]|e-?mail|letter|message|sentence|text|"
    r"sentiment|tone|dialog|翻译|改写|润色|回复|邮件|句|语气|情感|对话|消息|短信",
    re.IGNORECASE,
)
_PEEK: Final = 4_000  # characters read to decide whether a greeting may go


def is_blank(text: str) -> bool:
    """Tell whether nothing of a prompt would be left when it is cleaned."""
    return _SOMETHING.search(text) is None


def split_code(text: str) -> Iterator[tuple[bool, str]]:
    """Yield each line with whether it belongs to a fenced code block; an open fence runs to the end."""
    fence = ""
    for line in text.split("\n"):
        start = line.lstrip()[:3]
        if fence:
            yield True, line
            if start == fence:
                fence = ""
        elif start in _FENCES:
            fence = start if line.count(start) == 1 else ""
            yield True, line
        else:
            yield False, line


def clean_prompt(text: str) -> str:
    """Return the prompt in Unicode NFC without stray whitespace, invisible characters and a greeting to the assistant.

    Fenced code stays as it is, but for its line ends. Indentation, quoted text and whatever looks laid out by hand
    (tables, drawings) keep their spaces. Never empty unless the prompt is blank.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    is_one_line = "\n" not in text.lstrip()
    lines = list(split_code(text.lstrip() if is_one_line else text))
    cleaned: list[str] = []
    blanks = 0
    for index, (is_code, line) in enumerate(lines):
        if is_code:
            cleaned.append(line)
            continue
        line = to_nfc(_INVISIBLE.sub("", line)).rstrip()
        blanks = 0 if line else blanks + 1
        if blanks > 2:
            continue
        cleaned.append(_close_gaps(line) if _stands_alone(lines, index) else line)
    return _drop_greeting("\n".join(cleaned).strip("\n"))


def _stands_alone(lines: list[tuple[bool, str]], index: int) -> bool:
    """Whether neither neighbour has gaps too: two such lines in a row are a table or a drawing."""
    around = lines[max(index - 1, 0) : index] + lines[index + 1 : index + 2]
    return not any(_GAP.search(line) for _, line in around)


def _close_gaps(line: str) -> str:
    if line[:1].isspace() or "  " not in line or _LAYOUT.search(line):
        return line
    return _GAP.sub(" ", line)


def _drop_greeting(text: str) -> str:
    greeting = _GREETING.match(text) or _GREETING_ZH.match(text)
    if greeting is None or _ON_TEXT.search(text, 0, _PEEK):
        return text
    rest = text[greeting.end() :]
    return rest[:1].upper() + rest[1:]
