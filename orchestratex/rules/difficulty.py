"""How hard a prompt is, judged by what can be seen: its length, its words, its marks of advanced work."""

from __future__ import annotations

import math
import re
from typing import Final

from orchestratex.domain.base import Complexity, Domain

READ_CHARS: Final = 6_000
BASE: Final = 1.6
BASE_BY_DOMAIN: Final = {Domain.CODING: 1.0, Domain.MATH: 0.8, Domain.TRANSLATION: 0.2, Domain.SENTIMENT: -0.4}
PER_DOUBLING: Final = 0.45  # points for each doubling of the length beyond 32 characters
MAX_LENGTH_POINTS: Final = 3.6
LONG_WORD: Final = 8
LONG_WORD_POINTS: Final = 5.0  # times the share of long words
DENSE_CHAR: Final = 3  # a Chinese character says as much as some three letters

# Each sign counts once. Points are on the scale of 1 to 10.
_SIGNS: Final = tuple(
    (points, re.compile(pattern, re.IGNORECASE))
    for points, pattern in (
        (
            1.6,
            r"\b(?:theorem|lemma|prove|proof|asymptotic|eigenvalue|manifold|topolog|homomorphism|isomorphi|"
            r"stochastic|hamiltonian|"
            r"quantum|relativistic|wavefunction|differential equation|gradient descent|hilbert|lagrangian|"
            r"entropy|cohomology|"
            r"abelian|bijection|spectr(?:um|a|oscop)\w{0,3}|np-hard|concurren\w{1,6}|distributed system|"
            r"compiler|kernel|"
            r"cryptograph\w{1,4}|证明|定理|微分|积分|量子|доказ)",
        ),
        (
            1.4,
            r"\b(?:statute|plaintiff|defendant|jurisdiction|liabilit|tort|appellate|fiduciary|negligence|"
            r"testator|easement|"
            r"differential diagnosis|pathophysiolog|contraindicat|enzyme|receptor|mutation|genome|oligo|"
            r"synthesi[sz]e of|"
            r"isotope|stoichiometr|catalyst|polymer|metabol|macroeconomic|monetary policy|amortiz|epistemolog|ontolog|"
            r"hermeneutic|neural network|transformer|bayesian|regression)",
        ),
        (1.0, r"\\(?:frac|sqrt|sum|int|prod|lim|binom|begin|infty|pmod|log|sin|cos)\b|\$[^$\n]{3,80}\$|[∑∫√≤≥∂∇]"),
        (
            1.2,
            r"\b(?:vertices|edges|(?:di|sub)?graph|permutations?|subsequences?|subarrays?|substrings?|"
            r"quer(?:y|ies)|modulo|"
            r"palindrom\w{1,3}|minimum (?:cost|number)|maximum (?:possible|total)|optimal(?:ly)?|"
            r"expected value|XOR|bitwise|tree)\b",
        ),
        (1.3, r"10\s{0,1}\^\s{0,1}\{?(?:5|6|9|1[0-8])|998244353|2 ?\\times ?10|10\*\*(?:5|9)|1e[5-9]|10\^?18"),
        (
            0.7,
            r"\b(?:analy[sz]e|evaluate|critique|compare|contrast|justify|derive|design|architect|optimi[sz]e|"
            r"trade-?offs?|synthesi[sz]e|implications?)\b",
        ),
        (0.5, r"\b(?:must|should|at least|at most|without|exactly|include|ensure|constraints?|requirements?)\b"),
        (0.6, r"(?:^|\n) {0,3}(?:[-*•]|\d{1,2}[.)]) .{1,200}\n {0,3}(?:[-*•]|\d{1,2}[.)]) "),
        (0.5, r"```|\bdef \w|\bclass \w|[{};]\n"),
        (-0.8, r"^\W{0,3}(?:who|when|where|which|what (?:is|was|are|year|color|colour)|hi|hello|hey|thanks?)\b"),
        (
            -0.7,
            r"\b(?:simple|basic|easy|beginner|elementary|for (?:kids|children)|5[- ]year[- ]old|recipe|joke|short)\b",
        ),
        (-0.5, r"\b(?:positive or negative|true or false|yes or no|multiple[- ]choice|one word|label only)\b"),
    )
)
_LETTERS = re.compile(r"[^\W\d_]+")
_DENSE = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7af]")

# Below the first bound simple, and so on.
_LEVELS: Final = ((3.5, Complexity.SIMPLE), (5.5, Complexity.MODERATE), (7.5, Complexity.COMPLEX))


def estimate_difficulty(text: str, domain: Domain) -> float:
    """Return 1 (trivial) to 10 (for experts), to one decimal: a ranking, not a calibrated chance of failure."""
    read = text[:READ_CHARS]
    length = len(text) + (DENSE_CHAR - 1) * len(_DENSE.findall(read))
    points = BASE + BASE_BY_DOMAIN.get(domain, 0.0)
    points += min(PER_DOUBLING * math.log2(max(length, 32) / 32), MAX_LENGTH_POINTS)
    words = _LETTERS.findall(read)
    if words:
        points += LONG_WORD_POINTS * sum(len(word) >= LONG_WORD for word in words) / (len(words) + 10)
    points += sum(value for value, sign in _SIGNS if sign.search(read))
    return round(min(max(points, 1.0), 10.0), 1)


def name_complexity(difficulty: float) -> Complexity:
    """Return the level that a difficulty of 1 to 10 falls into."""
    return next((level for bound, level in _LEVELS if difficulty < bound), Complexity.EXPERT)
