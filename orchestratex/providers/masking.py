"""What a provider sends back, made harmless before anybody keeps it: without the keys that we sent, on one line."""

from __future__ import annotations

import base64
import re
import string
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable
from html.entities import html5
from typing import Any, Final

from orchestratex.terminal import HIDDEN

EXCERPT: Final = 300  # characters of a provider's words that we repeat
_SHORTEST_KEY: Final = 8  # shorter "keys" are placeholders and may be words
_WINDOW: Final = 20_000  # characters that are looked at for an excerpt
_LONGEST_SPELLING: Final = 16  # characters that one character of a key is written in at most, where a server means it
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MASK: Final = "***"
_SIGNS: Final = rf"{HIDDEN}\n\t"  # not seen, so that they may stand anywhere in a key
_WIDE: Final = r"\uff01-\uff5e"  # ASCII's signs as wide as ideographs
_ESCAPE: Final = re.compile(  # every run in it is bounded: an open one would be read again from each of its places
    r"%(?:25){0,3}(?:u00)?([0-9a-f]{2})|\\{1,4}(?:(?-i:U)000000|u\{0{0,4}|u00|x)([0-9a-f]{2})\}?"
    r"|&#x0{0,6}([0-9a-f]{1,2})(?![0-9a-f]);?|&#0{0,6}([0-9]{1,3})(?![0-9]);?|&([a-z]{2,31});"
    r"|\\{1,4}([0-3][0-7]{2})|\\{1,4}(?=[/\"'])"
    rf"|[{_SIGNS}]",
    re.IGNORECASE,
)
_SUSPECT: Final = re.compile(  # of what _ESCAPE finds, what JSON needs for nothing else; a NUL: not in UTF-8
    rb"%(?:25|u00)?[0-9A-Fa-f]{2}|\\(?:[uxUbf0-3/\"'\\])|&[#A-Za-z]|[\x00\x7f]"
)
_SUSPECT_SIGN: Final = re.compile(f"[{HIDDEN}{_WIDE}]")
_BREAKS: Final = (b"\\n", b"\\r", b"\\t")  # of lines, as JSON writes them
_ENTITIES: Final = {
    name.removesuffix(";"): sign for name, sign in html5.items() if len(sign) == 1 and sign in string.punctuation
}
_LOWER: Final = str.maketrans(  # unlike lower() it keeps every place
    {chr(0xFF01 + place): chr(0x21 + place).lower() for place in range(0x5E)}
    | dict(zip(string.ascii_uppercase, string.ascii_lowercase, strict=True))
)


class Mask:
    """Hides keys in every spelling that a server may repeat them in.

    Plain in any case and width, percent-encoded, escaped as in JSON, HTML and other languages, broken by signs that are
    not seen, these mixed, in hex, and base64 wherever in it the key begins.
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
        if _SUSPECT.search(content):
            return True
        if not content.isascii() and _SUSPECT_SIGN.search(content.decode(errors="replace")):
            return True
        lowered = unbroken = content.lower()
        for each in _BREAKS:
            unbroken = unbroken.replace(each, b"")
        return any(form.encode() in text for form in self._forms for text in (lowered, unbroken))


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
    if found[4] or found[6]:
        return chr(int(found[4])) if found[4] else chr(int(found[6], 8))
    name = found[5] or ""
    return _ENTITIES.get(name) or _ENTITIES.get(name.lower(), "")


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
