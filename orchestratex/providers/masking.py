"""What a provider sends back, made harmless before anybody keeps it: without the keys that we sent, on one line."""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final

EXCERPT: Final = 300  # characters of a provider's words that we repeat
_SHORTEST_KEY: Final = 8  # shorter "keys" are placeholders and may be words
_WINDOW: Final = 20_000  # characters that are looked at for an excerpt
_LONGEST_SPELLING: Final = 12  # characters that one character of a key is written in at most, where a server means it
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MASK: Final = "***"
_ESCAPES: Final = re.compile(rb"%[0-9A-Fa-f]{2}|\\[ux/]|&#")


class Mask:
    """Hides keys in every spelling that a server may repeat them in.

    Plain in any case, percent-encoded, JSON- and HTML-escaped, these mixed, and base64 wherever in it the key begins.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        kept = {key for key in keys if len(key) >= _SHORTEST_KEY}
        forms = [form for key in sorted(kept, key=len, reverse=True) for form in (key, *_base64_forms(key))]
        self._plain = [form.encode().lower() for form in forms]
        self._pattern = _make_pattern(forms) if forms else None
        self._longest = _LONGEST_SPELLING * max(map(len, kept), default=0)

    def hide(self, text: str) -> str:
        """The text without the keys."""
        return text if self._pattern is None else self._pattern.sub(_MASK, text)

    def excerpt(self, text: str, *, length: int = EXCERPT) -> str:
        """The beginning of a text on one line, without keys and without anything that a terminal would obey."""
        window = self.hide(text[:_WINDOW])
        if len(text) > _WINDOW and self._longest:  # the cut may have left the beginning of a key at the end
            window = window[: -self._longest]
        return clean(window)[:length]

    def hide_all(self, content: bytes, body: Any) -> Any:
        """The JSON value `body`, read from `content`, without the keys in its texts and names."""
        if self._pattern is None or not self._is_suspect(content):
            return body
        return _map_texts(body, self.hide)

    def _is_suspect(self, content: bytes) -> bool:
        """Whether a key may stand there: looked for cheaply, since hardly any answer holds one."""
        if _ESCAPES.search(content):
            return True
        lowered = content.lower()
        return any(form in lowered for form in self._plain)


def clean(text: str) -> str:
    """The text with every sign that is not seen (control, direction, zero-width, tags, halves of pairs) as a space."""
    if text.isascii() and text.isprintable():
        return text
    return " ".join("".join(" " if unicodedata.category(char) in _UNSEEN else char for char in text).split())


def _make_pattern(forms: list[str]) -> re.Pattern[str]:
    """One pattern for all; the look at the first sign lets most places of a text fail at once."""
    first = "".join(re.escape(char) for char in sorted({form[0] for form in forms} | set("%\\&")))
    return re.compile(f"(?=[{first}])(?:{'|'.join(map(_spell, forms))})", re.IGNORECASE)


def _spell(form: str) -> str:
    """A pattern for a text of which each character may be written in its own way."""
    return "".join(map(_spell_character, form))


def _spell_character(char: str) -> str:
    """Every run in it is bounded: an open one would be read again from each of its places."""
    code = ord(char)
    ways = [
        r"\\{0,4}" + re.escape(char),
        f"%(?:25)?{code:02x}",
        rf"\\{{1,4}}(?:u00|x){code:02x}",
        f"&#0{{0,4}}{code};",
        f"&#x0{{0,4}}{code:x};",
    ]
    return f"(?:{'|'.join(ways)})"


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
