"""What the real models are asked: six domains, eleven prompts each, answerable in a few lines."""

from __future__ import annotations

from typing import Final

PROMPTS: Final[dict[str, tuple[str, ...]]] = {
    "coding": (
        "Write a Python function that returns the largest of three numbers.",
        "Write a Python one-liner that removes duplicates from a list and keeps the order.",
        "What does this print? for i in range(3): print(i * i)",
        "Write a SQL query that counts the orders of each customer.",
        "Find the bug: def add(a, b): return a - b",
        "Write a JavaScript function that reverses a string.",
        "Output only the JSON object with the keys name and age for Ann, who is 31.",
        "Write a regular expression that matches a date such as 2024-05-31.",
        "Show the smallest valid XML document with one <answer> element that holds the text hi.",
        "Which Git command shows the last three commits? Give the command alone.",
        "Write a Bash command that counts the lines of all .txt files in this folder.",
    ),
    "creative": (
        "Write a haiku about rain.",
        "Write the first two sentences of a story about a lighthouse keeper.",
        "Invent a name and a slogan for a bicycle repair shop.",
        "Write a four-line rhyme for a child who is afraid of the dark.",
        "Describe the smell of an old library in two sentences.",
        "Write a short toast for a colleague who retires after thirty years.",
        "Give three titles for a novel about a lost letter.",
        "Write a riddle whose answer is a mirror.",
        "Describe autumn to someone who has never seen it, in two sentences.",
        "Write a limerick about a cat that learns to type.",
        "Write a two-line birthday wish for a neighbour.",
    ),
    "factual": (
        "Name the noble gas with the smallest atomic number.",
        "Which planet has the most mass in the solar system?",
        "Why is the sky blue? Answer in two sentences.",
        "Name a mammal that lays eggs.",
        "Who wrote Don Quixote?",
        "What is the capital of Australia?",
        "What does DNA stand for?",
        "How many bones does an adult human have?",
        "What causes the tides? Answer in two sentences.",
        "In which year did the Berlin Wall fall?",
        "Which metal is liquid at room temperature?",
    ),
    "math": (
        "What is 17 * 24? Show one line of working and the result.",
        "A train goes 120 km in 1.5 hours. What is its mean speed in km/h?",
        "Solve 3x + 5 = 20 for x.",
        "What is the sum of the first ten odd numbers?",
        "A shirt costs 40 dollars and is reduced by 15 %. What does it cost now?",
        "What is the area of a rectangle of 7 m by 4.5 m?",
        "How many minutes are there in two and a half hours?",
        "What is the probability of throwing a six with one fair die?",
        "Simplify the fraction 42/56.",
        "What is the next number: 2, 6, 12, 20, 30?",
        "What is 15 % of 80?",
    ),
    "translation": (
        "Translate into French: The train leaves at nine.",
        "Translate into German: Where is the nearest pharmacy?",
        "Translate into Spanish: I would like a glass of water, please.",
        "Translate into Italian: The museum is closed on Mondays.",
        "Translate into English: Je ne parle pas très bien français.",
        "Translate into English: Das Wetter ist heute sehr schön.",
        "Translate into Portuguese: Thank you for your help.",
        "Translate into English: ¿Cuánto cuesta este libro?",
        "Translate into French: She has lived here for ten years.",
        "Translate into German: Please answer by Friday.",
        "Translate into Spanish: The shop opens at ten.",
    ),
    "sentiment": (
        "Is this review positive, negative or mixed? The food was great, but the waiter was rude.",
        "Is this review positive, negative or mixed? I waited an hour and the soup was cold.",
        "Is this review positive, negative or mixed? Best phone I have ever owned.",
        "Is this review positive, negative or mixed? It works, but the manual is useless.",
        "Classify the mood in one word: I cannot believe they cancelled my flight again.",
        "Classify the mood in one word: We finally moved into our own home.",
        "Does the author like the film? The acting saves a script that has nothing to say.",
        "Does the customer want to come back? Clean room, friendly staff, we will book again.",
        "Rate the sentiment from 1 to 5: The battery dies after two hours.",
        "Rate the sentiment from 1 to 5: Quick delivery and exactly as described.",
        "Classify the mood in one word: My team lost the final in the last minute.",
    ),
}


def interleave(count: int) -> list[tuple[str, str]]:
    """The first `count` prompts with their domains, the domains in turn; from the start again when they are used up."""
    rows = [(domain, prompts[at]) for at in range(11) for domain, prompts in PROMPTS.items()]
    return [rows[at % len(rows)] for at in range(count)]
