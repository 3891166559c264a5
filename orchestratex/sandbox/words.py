"""The content words of a prompt, in any script."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from orchestratex.rules.characters import to_nfc

_MAX_CHARS: Final = 20_000  # of a prompt, read for its words
_MAX_WORD_CHARS: Final = 24
_MIN_LETTERS: Final = 3  # in Latin, Greek and Cyrillic; other scripts say more with less
_LAST_SHORT_SCRIPT: Final = "\u0590"

_IDEOGRAPHS: Final = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_UNSPACED: Final = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer: no spaces between words
# Vowel signs are not \w in Python; without them a Hindi or Tamil word would fall to pieces.
_MARKS: Final = r"\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0971-\u0dff"
_RUN: Final = re.compile(
    rf"(?P<two>[{_IDEOGRAPHS}]+)|(?P<four>[{_UNSPACED}]+)|(?P<word>(?:(?![{_IDEOGRAPHS}{_UNSPACED}])[\w{_MARKS}])+)"
)
_CHUNK_CHARS: Final = {"two": 2, "four": 4}

_STOPWORD_LINES: Final = """
    about above after again all also and any are because been before being below between both but can could did does
    doing don down during each few for from further give had has have having her here hers him his how into its itself
    just let like make may me might more most must need not now off once only other our out over own per please same
    she should show some such than that the their them then there these they this those through too under until up use
    used using very want was way were what when where which while who whom why will with within without would write
    you your yours tell explain describe
    der die das den dem des ein eine einen einem einer und oder aber ist sind war nicht mit von für auf aus bei nach
    wie was wer warum bitte schreibe erkläre sich auch als dass
    les des une est sont dans pour par sur avec pas qui que quoi comment pourquoi aux ces cette votre notre
    los las una unos unas con por para como qué cuál del son está este esta sus
    что как это для или при его она они
"""
_STOPWORDS: Final = frozenset(_STOPWORD_LINES.split())


def pick_words(text: str, limit: int) -> tuple[str, ...]:
    """Return up to `limit` content words in the order of the text: the most frequent, and of these the longest."""
    found = _split(to_nfc(text[:_MAX_CHARS]).casefold())
    counts = Counter(word for word in found if _is_content(word))
    order = {word: place for place, word in enumerate(counts)}
    chosen = sorted(counts, key=lambda word: (-counts[word], -len(word), order[word]))[:limit]
    return tuple(sorted(chosen, key=order.__getitem__))


def _split(text: str) -> list[str]:
    words: list[str] = []
    for run in _RUN.finditer(text):
        size = _CHUNK_CHARS.get(run.lastgroup or "")
        words += _chunk(run.group(), size) if size else [run.group().strip("_")]
    return words


def _chunk(run: str, size: int) -> list[str]:
    return [run[start : start + size] for start in range(0, len(run), size)]


def _is_content(word: str) -> bool:
    if not word or len(word) > _MAX_WORD_CHARS or word in _STOPWORDS:
        return False
    if word.isdigit():
        return len(word) > 1
    return len(word) >= _MIN_LETTERS or word[0] > _LAST_SHORT_SCRIPT
