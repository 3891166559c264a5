"""What a provider sends back, made harmless before anybody keeps it: without the keys that we sent, on one line."""

from __future__ import annotations

import base64
import re
import string
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Any, Final

EXCERPT: Final = 300  # characters of a provider's words that we repeat
_SHORTEST_KEY: Final = 8  # shorter "keys" are placeholders and may be words
_WINDOW: Final = 20_000  # characters that are looked at for an excerpt
_LONGEST_SPELLING: Final = 12  # characters that one character of a key is written in at most, where a server means it
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MASK: Final = "***"
_ESCAPE: Final = re.compile(  # every run in it is bounded: an open one would be read again from each of its places
    r"%(?:25)?([0-9a-f]{2})|\\{1,4}(?:u00|x)([0-9a-f]{2})|&#x0{0,4}([0-9a-f]{1,2});|&#0{0,4}([0-9]{1,3});"
    r"|&(amp|lt|gt|quot|apos);|\\{1,4}(?=[/\"'])"
    r"|[\u00ad\u200b-\u200f\u2060-\u2064\ufeff\r\n\t]",  # signs that are not seen, which may break a key
    re.IGNORECASE,
)
_ESCAPES: Final = re.compile(
    rb"%[0-9A-Fa-f]{2}|\\[ux/\"']|&[#a-z]|\xc2\xad|\xe2\x80[\x8b-\x8f]|\xe2\x81[\xa0-\xa4]|\xef\xbb\xbf"
)
_ENTITIES: Final = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # unlike lower() it keeps every place


class Mask:
    """Hides keys in every spelling that a server may repeat them in.

    Plain in any case, percent-encoded, JSON- and HTML-escaped, broken by signs that are not seen, these mixed, in hex,
    and base64 wherever in it the key begins.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        kept = {key for key in keys if len(key) >= _SHORTEST_KEY}
        self._forms = {
            form.translate(_LOWER) for key in kept for form in (key, *_base64_forms(key), key.encode().hex())
        }
        self._longest = _LONGEST_SPELLING * max(map(len, kept), default=0)

    def hide(self, text: str) -> str:
        """The text without the keys."""
        if not self._forms:
            return text
        plain, marks = _unescape(text)
        spans = _find_spans(plain.translate(_LOWER), self._forms)
        return _cut_out(text, [(marks.find(start), marks.find(end)) for start, end in spans])

    def excerpt(self, text: str, *, length: int = EXCERPT) -> str:
        """The beginning of a text on one line, without keys and without anything that a terminal would obey."""
        window = self.hide(text[:_WINDOW])
        if len(text) > _WINDOW and self._longest:  # the cut may have left the beginning of a key at the end
            window = window[: -self._longest]
        return clean(window)[:length]

    def hide_all(self, content: bytes, body: Any) -> Any:
        """The JSON value `body`, read from `content`, without the keys in its texts and names."""
        if not self._forms or not self._is_suspect(content):
            return body
        return _map_texts(body, self.hide)

    def _is_suspect(self, content: bytes) -> bool:
        """Whether a key may stand there: looked for cheaply, since hardly any answer holds one."""
        if _ESCAPES.search(content):
            return True
        lowered = content.lower()
        return any(form.encode() in lowered for form in self._forms)


def clean(text: str) -> str:
    """The text with every sign that is not seen (control, direction, zero-width, tags, halves of pairs) as a space."""
    if text.isascii() and text.isprintable():
        return text
    return " ".join("".join(" " if unicodedata.category(char) in _UNSEEN else char for char in text).split())


class _Marks:
    """Where places of a text and of the same text without escapes go together."""

    def __init__(self) -> None:
        self._plain = [0]
        self._text = [0]

    def add(self, plain: int, text: int) -> None:
        """From here on both run in step."""
        self._plain.append(plain)
        self._text.append(text)

    def find(self, plain: int) -> int:
        """The place in the text itself."""
        last = bisect_right(self._plain, plain) - 1
        return self._text[last] + plain - self._plain[last]


def _unescape(text: str) -> tuple[str, _Marks]:
    """The text with its escapes read."""
    pieces: list[str] = []
    marks = _Marks()
    length = end = 0
    for found in _ESCAPE.finditer(text):
        start = found.start()
        char = _read_escape(found)
        pieces += (text[end:start], char)
        length += start - end
        marks.add(length, start)
        length, end = length + len(char), found.end()
        marks.add(length, end)
    return "".join([*pieces, text[end:]]), marks


def _read_escape(found: re.Match[str]) -> str:
    hexadecimal = found[1] or found[2] or found[3]
    if hexadecimal:
        return chr(int(hexadecimal, 16))
    return chr(int(found[4])) if found[4] else _ENTITIES.get((found[5] or "").lower(), "")


def _find_spans(text: str, forms: Iterable[str]) -> list[tuple[int, int]]:
    """Where the forms stand, in order."""
    spans: list[tuple[int, int]] = []
    for form in forms:
        at = text.find(form)
        while at >= 0:
            spans.append((at, at + len(form)))
            at = text.find(form, at + len(form))
    return sorted(spans)


def _cut_out(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        if start >= done:
            pieces += (text[done:start], _MASK)
        done = max(done, end)
    return "".join([*pieces, text[done:]])


def _base64_forms(key: str) -> list[str]:
    """The part of base64 that depends on the key alone, for each of the three places that it can begin at."""
    forms = []
    for before in range(3):
        content = b"\0" * before + key.encode()
        whole = base64.b64encode(content).decode()
        first = -(-before * 8 // 6)  # characters that hold bits of what stands before
        last = len(content) * 8 // 6  # whole characters of what is known
        forms.append(whole[first:last])
    return [*forms, *(form.translate(str.maketrans("+/", "-_")) for form in forms)]


def _map_texts(body: Any, change: Callable[[str], str]) -> Any:
    """Change all texts and names of a JSON value, which may be nested deeper than functions can be."""
    root: list[Any] = [body]
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        for key, value in list(enumerate(node) if isinstance(node, list) else node.items()):
            if isinstance(value, str):
                node[key] = change(value)
            elif isinstance(value, dict | list):
                waiting.append(value)
            if isinstance(key, str) and change(key) != key:
                node[change(key)] = node.pop(key)
    return root[0]
