from __future__ import annotations

import time

import pytest

from orchestratex.domain.base import MAX_PROMPT_CHARS, Complexity, Domain
from orchestratex.rules.analysis import analyse_prompt


@pytest.mark.parametrize(
    ("prompt", "domain"),
    [
        ("Write a Python function that reverses a linked list.", Domain.CODING),
        ("```js\nlet x = 1;\n```\nWhy does this fail?", Domain.CODING),
        ("写一个python函数，计算列表的平均值", Domain.CODING),
        ("Write a short poem about the sea.", Domain.CREATIVE),
        ("请写一个关于小狐狸的故事", Domain.CREATIVE),
        ("Escribe un poema sobre la lluvia.", Domain.CREATIVE),
        ("Who was the first president of France?", Domain.FACTUAL),
        ("什么是光合作用？", Domain.FACTUAL),
        ("Solve for x: 3x^2 - 12 = 0", Domain.MATH),
        ("Tom has 3 boxes with 12 pencils each and gives away 7. How many pencils are left?", Domain.MATH),
        ("小明有12个苹果，吃了3个，还剩多少个？", Domain.MATH),
        ("Translate to French: the weather is lovely today.", Domain.TRANSLATION),
        ("How do you say good night in Japanese?", Domain.TRANSLATION),
        ("把这句话翻译成英文：我喜欢读书", Domain.TRANSLATION),
        ("Is the sentiment of this review positive or negative? The soup was cold.", Domain.SENTIMENT),
        ("请判断下面评论的情感倾向：味道很好", Domain.SENTIMENT),
        ("Summarize the following article in three sentences: ...", Domain.GENERAL),
        ("Can you suggest a few ideas for my mother's birthday?", Domain.GENERAL),
        ("hm", Domain.GENERAL),
    ],
)
def test_tells_the_domain_by_what_is_asked(prompt: str, domain: Domain) -> None:
    assert analyse_prompt(prompt).domain is domain


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("What is the capital of Australia?", "en"),
        ("¿Cuál es la capital de Australia?", "es"),
        ("Quelle est la capitale de l'Australie et pourquoi ?", "fr"),
        ("Was ist die Hauptstadt von Australien?", "de"),
        ("Qual è la capitale della Francia e perché?", "it"),
        ("Qual é a capital da França e por que não é Lyon?", "pt"),
        ("Wat is de hoofdstad van het land?", "nl"),
        ("Jaka jest stolica Polski i dlaczego nie jest to Kraków?", "pl"),
        ("Türkiye'nin başkenti neresidir ve neden?", "tr"),
        ("Thủ đô của Việt Nam là gì?", "vi"),
        ("Какая столица России и почему это не Петербург?", "ru"),
        ("Яка столиця України і чому це не Львів?", "uk"),
        ("澳大利亚的首都是哪里？", "zh"),
        ("オーストラリアの首都はどこですか", "ja"),
        ("호주의 수도는 어디입니까?", "ko"),
        ("ما هي عاصمة أستراليا؟", "ar"),
        ("Ποια είναι η πρωτεύουσα;", "el"),
        ("מהי בירת אוסטרליה?", "he"),
        ("ऑस्ट्रेलिया की राजधानी क्या है?", "hi"),
        ("เมืองหลวงของไทยคืออะไร", "th"),
        ("1234 + 5678", "und"),
        ("🙂🙂", "und"),
        ("Was macht dieser Code?\n```\nif the of and to in is that for it with as was on\n```", "de"),
    ],
)
def test_tells_the_language_of_the_prose(prompt: str, language: str) -> None:
    assert analyse_prompt(prompt).language == language


@pytest.mark.parametrize(
    ("prompt", "processed"),
    [
        ("  What   is DNA?  \n\n", "What is DNA?"),
        ("Cafe\u0301 or tea?", "Café or tea?"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("a\u200bb\ufeff\x00c", "abc"),
        ("first\n\n\n\n\n\nsecond", "first\n\n\nsecond"),
        ("Hi there, can you explain DNA?", "Can you explain DNA?"),
        ("你好，请解释DNA", "请解释DNA"),
        # what has to stay
        ("Hi, can you come? Translate this to German", "Hi, can you come? Translate this to German"),
        ("Hello world in C, please", "Hello world in C, please"),
        ("Please explain DNA", "Please explain DNA"),
        ('How many spaces are in "a   b"?', 'How many spaces are in "a   b"?'),
        ("a  b\nc  d", "a  b\nc  d"),
        ("Fix:\nif x:\n    return  1", "Fix:\nif x:\n    return  1"),
        ("Fix:\n```py\nx  = 'e\u0301'   \n\n\n\n\ty\n```", "Fix:\n```py\nx  = 'e\u0301'   \n\n\n\n\ty\n```"),
        ("    if x:\n        y()", "    if x:\n        y()"),
        ("می‌خواهم 👩‍💻", "می‌خواهم 👩‍💻"),
        ("   ", ""),
    ],
)
def test_cleans_without_changing_what_is_meant(prompt: str, processed: str) -> None:
    assert analyse_prompt(prompt).processed_prompt == processed


def test_cleaning_twice_changes_nothing_more() -> None:
    once = analyse_prompt("Hello, please   explain\n\n\n\n\nthis:\n```\na  b\n```\n").processed_prompt

    assert analyse_prompt(once).processed_prompt == once


def test_harder_prompts_rank_higher() -> None:
    prompts = [
        "What color is the sky?",
        "Explain the difference between weather and climate with two examples.",
        "Prove that each finite integral domain is a field, and show where the proof of $ab = ac \\Rightarrow b = c$ "
        "needs the absence of zero divisors; compare it with skew fields and derive its implications.",
    ]

    difficulties = [analyse_prompt(prompt).estimated_difficulty for prompt in prompts]

    assert difficulties == sorted(difficulties)
    assert analyse_prompt(prompts[0]).complexity_level is Complexity.SIMPLE
    assert analyse_prompt(prompts[2]).complexity_level in {Complexity.COMPLEX, Complexity.EXPERT}


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "\n",
        "1,",
        "的",
        "̣́",
        "how many 12 ",
        "say ",
        "```\n",
        "-\n",
        "a) x ",
        "$a",
        "{",
        "def a(",
        "  a",
        "positive, ",
        "SELECT x FROM ",
        "write a translate ",
        "hi, ",
        "x ^ ",
        "👩\u200d💻",
    ],
)
def test_stays_linear_on_the_longest_prompts(unit: str) -> None:
    prompt = (unit * MAX_PROMPT_CHARS)[:MAX_PROMPT_CHARS]
    started = time.process_time()

    analysis = analyse_prompt(prompt)

    assert time.process_time() - started < 2
    assert 1 <= analysis.estimated_difficulty <= 10
