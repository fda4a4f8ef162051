"""Short text patterns."""

from __future__ import annotations

from tunix_eval.data.generators.problem import Draw, Problem, TaskType, counted

_FRUIT = ("apple", "cherry", "damson", "elderberry", "fig", "grape", "lemon", "mango", "olive", "peach", "quince")
_COLOURS = ("amber", "blue", "coral", "green", "indigo", "maroon", "red", "silver", "violet", "white")
_PLACES = ("bridge", "castle", "forest", "garden", "harbour", "island", "market", "river", "tower", "village")


def uppercase(draw: Draw) -> Problem:
    """Words in capitals."""
    words = [draw.pick(_COLOURS), draw.pick(_FRUIT)]
    return Problem(
        f"Write '{' '.join(words)}' in capital letters.",
        " ".join(words).upper(),
        tuple(f"'{word}' becomes '{word.upper()}'." for word in words),
    )


def text_repeat(draw: Draw) -> Problem:
    """A word several times over."""
    word, count = draw.pick(_FRUIT), draw.between(2, 6)
    answer = ", ".join([word] * count)
    return Problem(
        f"Write the word '{word}' {count} times, separated by commas.",
        answer,
        (
            f"The word is '{word}'.",
            f"It is written {count} times, with {count} - 1 = {counted(count - 1, 'comma')} between.",
        ),
    )


def word_count(draw: Draw) -> Problem:
    """Occurrences of a word in a sentence."""
    word, (one, two), place = draw.pick(_FRUIT), draw.several(_COLOURS, 2), draw.pick(_PLACES)
    sentence, count = draw.pick(
        (
            (f"the {word} by the {place} is {one} and the other {word} is {two}", 2),
            (f"{_a(one)} {word}, {_a(two)} {word} and one more {word} lie near the {place}", 3),
            (f"the {one} {place} is far from the {two} {word}", 1),
        )
    )
    return Problem(
        f"How many times does the word '{word}' occur in \"{sentence}\"?",
        f"{count}",
        (f"Look for '{word}' word by word.", f"It is found {counted(count, 'time')}."),
    )


def initials(draw: Draw) -> Problem:
    """The first letter of each word."""
    words = [draw.pick(_COLOURS), draw.pick(_FRUIT), draw.pick(_PLACES)]
    letters = [word[0].upper() for word in words]
    return Problem(
        f"Give the initials of '{' '.join(words)}' in capital letters, without spaces.",
        "".join(letters),
        (f"The words begin with {', '.join(word[0] for word in words)}.", f"In capitals: {', '.join(letters)}."),
    )


def underscores(draw: Draw) -> Problem:
    """Words joined by underscores."""
    words = [draw.pick(_COLOURS), draw.pick(_PLACES), draw.pick(_FRUIT)]
    return Problem(
        f"Join the words of '{' '.join(words)}' with underscores.",
        "_".join(words),
        (f"The words are {', '.join(words)}.", "Each space becomes an underscore."),
    )


def next_in_pattern(draw: Draw) -> Problem:
    """A string that grows by one unit a time."""
    unit = "".join(draw.several("abcdefgh", 2))
    return Problem(
        f"What comes next: {unit}, {unit * 2}, {unit * 3}?",
        unit * 4,
        (
            f"Every term repeats '{unit}' once more.",
            "The third term has it 3 times, so the next has it 3 + 1 = 4 times.",
        ),
    )


def _a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


PATTERNS: tuple[TaskType, ...] = (
    uppercase,
    text_repeat,
    word_count,
    initials,
    underscores,
    next_in_pattern,
)
