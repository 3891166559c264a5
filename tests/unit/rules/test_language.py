"""The language that a prompt asks in: the right one, or none named; whatever code stands in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestratex.rules.language import UNKNOWN, detect_language, fold_language, forget_model, is_model_loaded
from orchestratex.rules.prose import read_prose

LISTING = """def gcd(a, b):
    # the base case comes first, and then the rest of the numbers
    return a if b == 0 else gcd(b, a % b)"""
FAULT = """Traceback (most recent call last):
  File "main.py", line 3, in <module>
    total(values)
TypeError: unsupported operand type(s) for +: 'int' and 'str'"""
JAVA = """public static void main(String[] args) {
    // this prints the name of the user and the time of the day
    System.out.println("the way of all the things that are");
}"""
QUERY = "SELECT name, age FROM users WHERE age > 30 ORDER BY name;"
PAGE = """<div class="all">
  <p>The name of the thing is what it is</p>
</div>"""
COMPOSE = """services:
  web:
    image: nginx
    restart: always"""


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("Let's talk somewhere else", "en"),
        ("El Niño explained", "en"),
        ("résumé tips", "en"),
        ("naïve Bayes explained", "en"),
        ("Café culture in Vienna", "en"),
        ("Plan a trip to São Paulo", "en"),
        ("Spiega la fotosintesi", "it"),
        ("Napisz wiersz o jesieni", "pl"),
        ("Obrigado", "pt"),
        ("как дела", "ru"),
        ("Mi a fotoszintézis?", "hu"),
        ("Escribe un poema", "es"),
        ("Scrivi una poesia", "it"),
        ("Scrie o poezie", "ro"),
        ("Erzähl mir einen Witz", "de"),
        ("Skriv en dikt", "sv"),
        ("Hyvää päivää", "fi"),
        ("Xin chào", "vi"),
        ("Tulis puisi", "id"),
        ("Habari za asubuhi", "sw"),
        ("Què és la fotosíntesi?", "ca"),
        ("Што такое фотасінтэз?", "be"),
        ("प्रकाशसंश्लेषण म्हणजे काय?", "mr"),
    ],
)
def test_a_short_prompt_has_its_own_language_or_none(prompt: str, language: str) -> None:
    assert detect_language(prompt) in {language, UNKNOWN}


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("python で fibonacci を書いて", "ja"),
        ("Как использовать Docker Compose volumes?", "ru"),
        ("用python写排序", "zh"),
        ("python 정렬", "ko"),
        ("Sortiere eine Liste in Python", "de"),
        ("cómo ordenar una lista en python", "es"),
        ("WAS IST DIE HAUPTSTADT VON FRANKREICH", "de"),
    ],
)
def test_names_from_other_languages_do_not_decide(prompt: str, language: str) -> None:
    assert detect_language(prompt) == language


@pytest.mark.parametrize("prompt", ["Hva er hovedstaden i Norge?", "Korleis fungerer fotosyntese, og kvifor?"])
def test_norwegian_is_one_language_in_both_spellings(prompt: str) -> None:
    assert detect_language(prompt) == "no"


@pytest.mark.parametrize(("code", "language"), [("nb", "no"), ("nn", "no"), ("pt-BR", "pt"), ("EN", "en")])
def test_codes_of_one_language_are_one(code: str, language: str) -> None:
    assert fold_language(code) == language


@pytest.mark.parametrize("code", [LISTING, FAULT, JAVA, QUERY, PAGE, COMPOSE], ids=lambda code: code.split()[0])
@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Was macht das hier, und warum funktioniert es nicht?", "de"),
        ("¿Qué hace esto y por qué no funciona?", "es"),
        ("Объясни, что здесь происходит и почему это не работает.", "ru"),
        ("これは何をしますか", "ja"),
    ],
)
def test_code_in_a_prompt_decides_nothing(question: str, language: str, code: str) -> None:
    one_line = " ".join(code.split())

    assert detect_language(f"{question}\n```\n{code}\n```") == language  # in a fence
    assert detect_language(f"{question}\n\n{code}") == language  # as it was pasted
    assert detect_language(f"{code}\n\n{question}") == language
    assert detect_language(f"{question} `{one_line}`") == language  # in the sentence


@pytest.mark.parametrize(
    "code",
    [
        LISTING,
        FAULT,
        JAVA,
        QUERY,
        COMPOSE,
        '```python\nprint("Hello, how are you today, my friend?")\n```',
        "`git commit --amend`",
        "$ git log --oneline --since yesterday",
        'import os\nimport sys\nprint("the way of all things")',
        'print("Wie geht es dir heute, mein Freund")',
        '{"name": "the name of the thing", "city": "Berlin"}',
        "const theNameOfTheThing = 5;",
        "https://example.com/the/way/of/all/things",
        "C:\\Users\\me\\Documents",
        "1234 + 5678",
        "🙂🙂",
        "",
    ],
)
def test_what_is_code_alone_has_no_language(code: str) -> None:
    assert detect_language(code) == UNKNOWN


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("For each of the following sentences, say which one is right:", "en"),
        ("if you could have dinner with anyone, who would it be:", "en"),
        ("with these words write a story: cat, house, moon", "en"),
        ("Let me know (please) what the capital of France is", "en"),
        ("import duties on cars from China", "en"),
        ("final exam (math) tips for students", "en"),
        ("Is 3 < 5 and 5 > 2 in every ordered field?", "en"),
        ("Explain the trade-off between precision/recall and accuracy", "en"),
        ("Τι είναι το DNA;", "el"),  # a Greek question ends as statements do
        ("Πώς λειτουργεί η φωτοσύνθεση (στα φυτά);", "el"),
        ("Écris une fonction qui trie une liste; explique ensuite sa complexité;", "fr"),
    ],
)
def test_prose_that_resembles_code_is_read(prompt: str, language: str) -> None:
    assert detect_language(prompt) == language


def test_a_question_behind_a_long_listing_is_found() -> None:
    listing = "\n".join(f"the_total_of_{number} = the_value_of({number})" for number in range(3_000))

    assert read_prose(f"{listing}\n\nWarum ist das so langsam?", limit=6_000) == "Warum ist das so langsam?"


def test_the_model_is_loaded_at_first_use() -> None:
    program = """
import sys
import threading
import workers.tasks
from orchestratex.rules.analysis import analyse_prompt
assert not {"py3langid", "numpy"} & set(sys.modules), "loaded with the program"
assert analyse_prompt("Warum ist der Himmel blau?").language == "de"
assert {"py3langid", "numpy"} <= set(sys.modules)
"""
    root = Path(__file__).parents[3]

    ran = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


def test_a_model_that_was_let_go_is_loaded_again() -> None:
    detect_language("Warum ist der Himmel blau?")
    was_loaded = is_model_loaded()

    forget_model()

    assert was_loaded
    assert not is_model_loaded()
    assert detect_language("Warum ist der Himmel blau?") == "de"
    assert is_model_loaded()
