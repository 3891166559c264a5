"""The language that a prompt asks in, told by py3langid's model of letters and words."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
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

    Code in the prompt decides nothing. The first call in a minute loads the model: about half a second and 90 MB, which
    is why only a process that analyses prompts may call it.
    """
    prose = read_prose(prompt, limit=SAMPLE_CHARS)
    if not any(char.isalpha() for char in prose):
        return UNKNOWN
    shares: defaultdict[str, float] = defaultdict(float)
    for label, share in _MODEL.get().rank(prose):
        if len(label) == _CODE_LENGTH or label == _NO_LANGUAGE:
            shares[fold_language(label)] += share * _PRIORS.get(label, _LEAST_PRIOR)
    likeliest = max(shares, key=shares.__getitem__)
    return likeliest if shares[likeliest] >= LEAST_SHARE * sum(shares.values()) else UNKNOWN


def fold_language(code: str) -> str:
    """Return the code under which we know a language: its region left out, Norwegian's spellings as one."""
    language = code.lower().split("-")[0]
    return _ONE.get(language, language)


class KeptModel:
    """The model while it is in use: who has asked nothing for `keep_s` seconds holds none of its 75 MB.

    Loading it again takes half a second.
    """

    def __init__(self, load: Callable[[], Any], *, keep_s: float) -> None:
        self._load = load
        self._keep_s = keep_s
        self._lock = threading.Condition()
        self._model: Any = None
        self._used_at = 0.0

    @property
    def is_loaded(self) -> bool:
        """Whether it takes memory now."""
        return self._model is not None

    def get(self) -> Any:
        """The model, loaded where it is not."""
        with self._lock:
            self._used_at = time.monotonic()
            if self._model is None:
                self._model = self._load()
                threading.Thread(target=self._let_go, name="language-model", daemon=True).start()
            return self._model

    def _let_go(self) -> None:
        with self._lock:
            while (left_s := self._used_at + self._keep_s - time.monotonic()) > 0:
                self._lock.wait(left_s)
            self._model = None


def _load_model() -> Any:
    """The model: a constant, but too large to be loaded with the module."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # brings numpy

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


_MODEL: Final = KeptModel(_load_model, keep_s=60)
