"""Short text tasks with one exact answer each: what a model that follows instructions gets right to the letter."""

from __future__ import annotations

from functools import partial

from tunix_eval.data.generators.generated import CREATED, generate_dataset
from tunix_eval.data.generators.mixture import Category, worked_traces
from tunix_eval.data.generators.patterns import PATTERNS
from tunix_eval.data.generators.problem import Draw, Problem, TaskType, counted
from tunix_eval.data.generators.symbols import letter_count, string_reverse, string_sort
from tunix_eval.records import Dataset, Generator

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_VOWELS = "aeiou"
_WORDS = (
    *("anchor", "basket", "candle", "desert", "engine", "feather", "guitar", "hammer", "insect", "jacket", "kettle"),
    *("ladder", "mirror", "needle", "orange", "pencil", "quarry", "ribbon", "saddle", "tunnel", "umbrella", "valley"),
    *("window", "yellow", "zebra", "acorn", "bell", "cloud", "drum", "envelope", "flute", "goose", "hill", "iron"),
    *("jewel", "king", "lantern", "moon", "notebook", "owl", "pocket", "rain", "sugar", "thunder", "violin", "whale"),
)


def lowercase(draw: Draw) -> Problem:
    """Words in small letters."""
    words = draw.several(_WORDS, 2)
    return Problem(
        f"Write '{' '.join(words).upper()}' in small letters.",
        " ".join(words),
        tuple(f"'{word.upper()}' becomes '{word}'." for word in words),
    )


def capitalised(draw: Draw) -> Problem:
    """A capital at the start of every word."""
    words = draw.several(_WORDS, 3)
    return Problem(
        f"Begin every word of '{' '.join(words)}' with a capital letter.",
        " ".join(word.capitalize() for word in words),
        tuple(f"'{word}' becomes '{word.capitalize()}'." for word in words),
    )


def vowel_count(draw: Draw) -> Problem:
    """The number of vowels in two words."""
    first, second = draw.several(_WORDS, 2)
    found = [[letter for letter in word if letter in _VOWELS] for word in (first, second)]
    n, m = map(len, found)
    return Problem(
        f"How many vowels (a, e, i, o, u) are in '{first} {second}'?",
        f"{n + m}",
        (
            f"'{first}' has {', '.join(found[0])}, which is {counted(n, 'vowel')}.",
            f"'{second}' has {', '.join(found[1])}, which is {counted(m, 'vowel')}.",
            f"{n} + {m} = {n + m}",
        ),
    )


def vowels_removed(draw: Draw) -> Problem:
    """Words without their vowels."""
    words = draw.several(_WORDS, 2)
    left = ["".join(letter for letter in word if letter not in _VOWELS) for word in words]
    return Problem(
        f"Leave out the vowels (a, e, i, o, u) of '{' '.join(words)}'.",
        " ".join(left),
        tuple(f"'{word}' becomes '{short}'." for word, short in zip(words, left, strict=True)),
    )


def letter_replaced(draw: Draw) -> Problem:
    """One letter in place of another."""
    words = " ".join(draw.several(_WORDS, 2))
    old = draw.pick(words.replace(" ", ""))
    new = draw.pick([letter for letter in _LETTERS if letter not in words])
    return Problem(
        f"Put '{new}' in place of every '{old}' in '{words}'.",
        words.replace(old, new),
        (f"The letter '{old}' occurs {counted(words.count(old), 'time')}.", "Every other letter stays as it is."),
    )


def letter_at(draw: Draw) -> Problem:
    """A letter by its place, from one end."""
    word = draw.pick(_WORDS)
    place, end = draw.between(2, len(word)), draw.pick(("first", "last"))
    ordered = word if end == "first" else word[::-1]
    return Problem(
        f"Counting from the {end} letter, which is letter number {place} of '{word}'?",
        ordered[place - 1],
        (f"From the {end} letter on they are {', '.join(ordered)}.", f"Number {place} is {ordered[place - 1]}."),
    )


def alternate_letters(draw: Draw) -> Problem:
    """Every second letter."""
    word = "".join(draw.several(_WORDS, 2))
    return Problem(
        f"Write every second letter of '{word}', beginning with the first.",
        word[::2],
        (f"The letters are {', '.join(word)}.", f"Every second one: {', '.join(word[::2])}."),
    )


def doubled_letters(draw: Draw) -> Problem:
    """Each letter twice."""
    word, other = draw.several(_WORDS, 2)
    return Problem(
        f"Write '{word} {other}' with every letter twice.",
        f"{_doubled(word)} {_doubled(other)}",
        tuple(f"'{one}' becomes '{_doubled(one)}'." for one in (word, other)),
    )


def words_sorted(draw: Draw) -> Problem:
    """Words in alphabetical order."""
    words = draw.several(_WORDS, 4)
    return Problem(
        f"Put these words into alphabetical order: {', '.join(words)}.",
        ", ".join(sorted(words)),
        tuple(f"Number {place} is '{word}'." for place, word in enumerate(sorted(words), 1)),
    )


def words_reversed(draw: Draw) -> Problem:
    """Words from the last to the first."""
    words = draw.several(_WORDS, draw.between(3, 5))
    return Problem(
        f"Write the words of '{' '.join(words)}' from the last to the first.",
        " ".join(reversed(words)),
        (f"There are {len(words)} words.", f"The last one is '{words[-1]}', the first one '{words[0]}'."),
    )


def longest_word(draw: Draw) -> Problem:
    """The one word that is longer than all others."""
    while True:
        words = draw.several(_WORDS, 4)
        lengths = [len(word) for word in words]
        if lengths.count(max(lengths)) == 1:
            break
    longest = words[lengths.index(max(lengths))]
    return Problem(
        f"Which of these words has the most letters: {', '.join(words)}?",
        longest,
        (
            *(f"'{word}' has {length} letters." for word, length in zip(words, lengths, strict=True)),
            f"The longest is '{longest}'.",
        ),
    )


def _doubled(word: str) -> str:
    return "".join(letter * 2 for letter in word)


_TASK_TYPES: tuple[TaskType, ...] = (
    *PATTERNS,
    string_reverse,
    string_sort,
    letter_count,
    lowercase,
    capitalised,
    vowel_count,
    vowels_removed,
    letter_replaced,
    letter_at,
    alternate_letters,
    doubled_letters,
    words_sorted,
    words_reversed,
    longest_word,
)

GOLDEN = Generator(
    partial(worked_traces, "golden", (Category("golden", _TASK_TYPES),)), version="2", count=100, seed=42
)


def golden_dataset() -> Dataset:
    """Return `golden-v2`: 100 traces, five of each task type, none on the holdout side."""
    return generate_dataset(GOLDEN, "golden", "golden", "v2", created_at=CREATED)
