from __future__ import annotations

import json
import logging
import sys
import unicodedata

import pytest

from orchestratex.loglines import TextFormatter
from orchestratex.terminal import dump_json, escape, escape_prose

HIDDEN = {
    "escape": ("\x1b[2J", "\\x1b[2J"),
    "bell": ("\x07", "\\x07"),
    "backspace": ("\x08", "\\x08"),
    "carriage return": ("good\rbad", "good\\x0dbad"),
    "delete": ("\x7f", "\\x7f"),
    "one-byte command": ("\x9b2J", "\\x9b2J"),
    "next line": ("\x85", "\\x85"),
    "soft hyphen": ("\xad", "\\xad"),
    "override": ("\u202egnp.exe", "\\u202egnp.exe"),
    "isolate": ("\u2066a\u2069", "\\u2066a\\u2069"),
    "marks of direction": ("\u200e\u200f\u061c", "\\u200e\\u200f\\u061c"),
    "zero-width space": ("a\u200bb", "a\\u200bb"),
    "joiners between Latin letters": ("ad\u200cm\u200din", "ad\\u200cm\\u200din"),
    "word joiner": ("\u2060", "\\u2060"),
    "byte order mark": ("\ufeff", "\\ufeff"),
    "fillers": ("\u3164\u115f\uffa0", "\\u3164\\u115f\\uffa0"),
    "tags": ("\U000e0041\U000e007f", "\\U000e0041\\U000e007f"),
    "selectors that hide bytes": ("a\ufe01\U000e0100\U000e01ef", "a\\ufe01\\U000e0100\\U000e01ef"),
    "a second selector": ("❤\ufe0f\ufe0f", "❤\ufe0f\\ufe0f"),
    "separators": ("\u2028\u2029", "\\u2028\\u2029"),
    "half a surrogate pair": ("\udc9b", "\\udc9b"),
    "annotation": ("\ufff9", "\\ufff9"),
    "joiners of hieroglyphs": ("a\U00013430\U0001343f", "a\\U00013430\\U0001343f"),
    "a note without a head": ("\U0001d159", "\\U0001d159"),
}
NEEDED = {
    "Persian": "می\u200cخواهم",
    "Hindi": "क्\u200dष और क्\u200cष",
    "a family": "👩\u200d👩\u200d👧",
    "a skin": "👩🏽\u200d🚀",
    "a heart on fire": "❤\ufe0f\u200d🔥",
    "a keycap": "1\ufe0f⃣",
    "a variant of an ideograph": "葛\U000e0100",
}
HARMLESS = (
    "Why is the sky blue?\n\tBecause.",
    "Grüße, Привет, 你好, こんにちは, שלום, नमस्ते",
    "x ≤ 2, €5 — “so”…",
    "a\u0301",
)


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_hidden_becomes_visible(name: str) -> None:
    text, shown = HIDDEN[name]

    assert escape_prose(text) == shown
    assert not any(is_hidden(char) for char in escape(text))


@pytest.mark.parametrize("name", NEEDED)
def test_a_text_keeps_the_joiners_and_variants_that_its_script_needs(name: str) -> None:
    assert escape_prose(NEEDED[name]) == NEEDED[name]


@pytest.mark.parametrize("name", NEEDED)
def test_a_name_keeps_nothing_that_cannot_be_seen(name: str) -> None:
    assert not any(is_hidden(char) for char in escape(NEEDED[name]))


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_stays_as_it_is(text: str) -> None:
    assert escape(text) == escape_prose(text) == text
    assert dump_json(text) == json.dumps(text, ensure_ascii=False)


def test_line_ends_of_windows_are_no_returns_to_the_start_of_a_line() -> None:
    assert escape("one\r\ntwo") == escape_prose("one\r\ntwo") == "one\ntwo"


def test_every_character_that_unicode_calls_a_control_or_format_is_told_apart() -> None:
    missed = [
        chr(code) for code in range(sys.maxunicode + 1) if is_hidden(chr(code)) and escape(chr(code)) == chr(code)
    ]

    assert [f"U+{ord(char):04X}" for char in missed if not has_a_look(char)] == []


def test_nothing_that_is_escaped_is_escaped_again() -> None:
    for text, _ in HIDDEN.values():
        assert escape(escape(text)) == escape(text)
        assert escape_prose(escape_prose(text)) == escape_prose(text)


def test_json_means_the_same() -> None:
    value = {name: text for name, (text, _) in HIDDEN.items()} | {"\u202ekey": [*NEEDED.values(), *HARMLESS]}

    for indent in (None, 2):
        dumped = dump_json(value, indent=indent)

        assert json.loads(dumped) == value
        assert not any(is_hidden(char) for char in dumped)
        assert "你好" in dumped


def test_a_log_record_with_its_traceback_is_harmless() -> None:
    try:
        raise ValueError("\x1b]0;title\x07 \u202e")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "GET %s failed", ("/\x9b2J",), sys.exc_info())

    line = TextFormatter("%(levelname)s: %(message)s").format(record)

    assert line.startswith("ERROR: GET /\\x9b2J failed\nTraceback")
    assert not any(is_hidden(char) for char in line)


def is_hidden(char: str) -> bool:
    """By Unicode's own classes: controls, formats, surrogates, separators of lines, selectors and fillers."""
    if char in "\n\t":
        return False
    is_selector = unicodedata.name(char, "").startswith(("VARIATION SELECTOR", "MONGOLIAN FREE VARIATION"))
    name = unicodedata.name(char, "")
    is_filler = name.endswith("GRAPHEME JOINER") or ("HANGUL" in name and "FILLER" in name)
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} or is_selector or is_filler


def has_a_look(char: str) -> bool:
    """Signs of numbers and abbreviations, and how hieroglyphs are put together: formats that are drawn."""
    is_sign = char in "\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd" or "\u0600" <= char <= "\u0605"
    return is_sign or "\U00013430" <= char <= "\U0001345f"
