"""The language that a prompt asks in, told by py3langid's model of letters and words."""

from __future__ import annotations

import functools
from collections import defaultdict
from typing import Any, Final

from orchestratex.rules.prose import read_prose

UNKNOWN: Final = "und"
SAMPLE_CHARS: Final = 6_000  # enough to tell a language; longer texts are judged by their beginning
LEAST_SHARE: Final = 0.5  # of all likelihood: a language that is less likely than not is not named

# A few words fit many languages, and then that one is meant which more is written in: known before a text is read.
_WRITTEN: Final = (
    (
        1.0,
        "en es de ja fr ru pt it nl pl tr fa zh vi id cs ko uk hu sv ar ro el da fi he sk th bg hr no nn sr hi bn zxx",
    ),
    (
        0.3,
        "lt sl ca et lv ms ta te ur mr sw tl ka hy is kk az gu kn ml pa be mk sq my km lo si am ne af bs mn uz gl eu",
    ),
)
_PRIORS: Final = {language: prior for prior, languages in _WRITTEN for language in languages.split()}
_LEAST_PRIOR: Final = 0.1

_CODE_LENGTH: Final = 2  # of ISO 639-1; the model knows some languages that have no such code
_NO_LANGUAGE: Final = "zxx"  # the model's name for numbers, markup and the like
_ONE: Final = {"nb": "no", "nn": "no", _NO_LANGUAGE: UNKNOWN}  # Norwegian is one language in two spellings


def detect_language(prompt: str) -> str:
    """Return the ISO 639-1 code of the language that a prompt asks in, "und" where none is likelier than not.

    Code in the prompt decides nothing. The first call loads the model: about half a second and 90 MB, which is why only
    a process that analyses prompts may call it.
    """
    prose = read_prose(prompt, limit=SAMPLE_CHARS)
    if not any(char.isalpha() for char in prose):
        return UNKNOWN
    shares: defaultdict[str, float] = defaultdict(float)
    for label, share in _load_model().rank(prose):
        if len(label) == _CODE_LENGTH or label == _NO_LANGUAGE:
            shares[fold_language(label)] += share * _PRIORS.get(label, _LEAST_PRIOR)
    likeliest = max(shares, key=shares.__getitem__)
    return likeliest if shares[likeliest] >= LEAST_SHARE * sum(shares.values()) else UNKNOWN


def fold_language(code: str) -> str:
    """Return the code under which we know a language: its region left out, Norwegian's spellings as one."""
    language = code.lower().split("-")[0]
    return _ONE.get(language, language)


def forget_model() -> None:
    """Let go of the model's 75 MB; the next prompt loads it again."""
    _load_model.cache_clear()


def is_model_loaded() -> bool:
    """Whether it takes memory now."""
    return _load_model.cache_info().currsize > 0


@functools.cache
def _load_model() -> Any:
    """The model: a constant, but too large to be loaded with the module."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # brings numpy

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
