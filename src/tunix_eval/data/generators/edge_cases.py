"""Odd prompts with plain answers: noise, extremes, quoting, and text that looks like markup."""

from __future__ import annotations

from tunix_eval.data.generators.problem import NAMES, Draw, Problem, TaskType

_FRUIT = ("apple", "cherry", "fig", "grape", "lemon", "mango", "peach", "plum", "quince")
_MARKUP = (
    "<bos>",
    "<eos>",
    "<end_of_turn>",
    "<start_of_turn>model",
    "<|im_end|>",
    "</s>",
    "</answer>",
    "{{ x }}",
    "#### 4",
)


def punctuation(draw: Draw) -> Problem:
    """Stray punctuation."""
    a, b = draw.between(2, 99), draw.between(2, 99)
    return Problem(
        f"What is... {a} + {b}???",
        f"{a + b}",
        ("The extra punctuation changes nothing.", f"{a} + {b} = {a + b}"),
    )


def spacing(draw: Draw) -> Problem:
    """Stray white space."""
    a, b = draw.between(50, 99), draw.between(2, 49)
    return Problem(
        f"  What   is\n\n {a}   -   {b}  ?  ",
        f"{a - b}",
        ("The extra white space changes nothing.", f"{a} - {b} = {a - b}"),
    )


def shouting(draw: Draw) -> Problem:
    """Capitals only."""
    a, b = draw.between(3, 25), draw.between(3, 12)
    return Problem(
        f"WHAT IS {a} TIMES {b}? ANSWER NOW!",
        f"{a * b}",
        ("'TIMES' asks for a product.", f"{a} * {b} = {a * b}"),
    )


def long_prompt(draw: Draw) -> Problem:
    """A long preface."""
    a, b, count = draw.between(10, 99), draw.between(10, 99), draw.between(9, 13)
    return Problem(
        "This sentence is repeated and says nothing. " * count + f"What is {a} + {b}?",
        f"{a + b}",
        ("Only the last sentence asks something.", f"{a} + {b} = {a + b}"),
    )


def zero(draw: Draw) -> Problem:
    """A product with zero."""
    a, b = draw.between(1000, 9999), draw.between(100, 999)
    return Problem(
        f"What is {a} * {b} * 0?",
        "0",
        ("One factor is 0.", f"{a} * {b} * 0 = 0"),
    )


def big_numbers(draw: Draw) -> Problem:
    """More digits than a machine word holds."""
    a = 10**20 + draw.between(1, 10**9)
    b = draw.between(10, 99)
    return Problem(f"What is {a} + {b}?", f"{a + b}", (f"{a} + {b} = {a + b}",))


def below_zero(draw: Draw) -> Problem:
    """A negative result."""
    a, b, c = draw.between(2, 20), draw.between(21, 60), draw.between(5, 40)
    return Problem(
        f"What is {a} - {b} - {c}?",
        f"{a - b - c}",
        (f"{a} - {b} = {a - b}", f"{a - b} - {c} = {a - b - c}"),
    )


def leading_zeros(draw: Draw) -> Problem:
    """Numbers with leading zeros."""
    a, b = draw.between(2, 9), draw.between(11, 99)
    return Problem(
        f"What is 00{a} + 0{b}? Answer without leading zeros.",
        f"{a + b}",
        (f"00{a} is {a} and 0{b} is {b}.", f"{a} + {b} = {a + b}"),
    )


def numbered_list(draw: Draw) -> Problem:
    """An answer of several lines."""
    words = draw.several(_FRUIT, 3)
    return Problem(
        f"Write as a numbered list, one entry a line: {', '.join(words)}",
        "\n".join(f"{number}. {word}" for number, word in enumerate(words, 1)),
        ("There are three entries.", "Each gets its number, a full stop and a space."),
    )


def symbols_counted(draw: Draw) -> Problem:
    """Characters outside ASCII."""
    symbol, count = draw.pick("★♥→€東"), draw.between(3, 12)
    return Problem(
        f"How many characters does '{symbol * count}' have?",
        f"{count}",
        (f"It is '{symbol}' again and again.", f"Counting them gives {count}."),
    )


def quotation(draw: Draw) -> Problem:
    """Quotation marks inside the prompt."""
    name, words = draw.pick(NAMES), " ".join(draw.several(_FRUIT, 2))
    return Problem(
        f'{name} wrote "{words}" on the board. What stands between the quotation marks?',
        words,
        ("The marks open before the first quoted word and close after the last.", f"Between them stands {words}."),
    )


def markup_length(draw: Draw) -> Problem:
    """Text that looks like a control token or a mark."""
    text = draw.pick(_MARKUP)
    return Problem(
        f"How many characters, spaces included, does the text {text} have?",
        f"{len(text)}",
        (
            f"The characters are {' '.join(character for character in text if character != ' ')}.",
            f"Counted with every space, there are {len(text)}.",
        ),
    )


def distraction(draw: Draw) -> Problem:
    """Numbers that do not matter."""
    name, age, red, blue = draw.pick(NAMES), draw.between(8, 80), draw.between(2, 9), draw.between(2, 9)
    return Problem(
        f"{name} is {age} years old, lives at number {age + red} and has {red} red and {blue} blue hats. "
        "How many hats is that?",
        f"{red + blue}",
        ("Age and house number do not matter.", f"{red} + {blue} = {red + blue}"),
    )


def single_character(draw: Draw) -> Problem:
    """A reply of one character."""
    inside, outside = draw.several("abcdefghjkmnpqrstuvwxyz", 2)
    return Problem(
        f"{outside}{outside}[{inside}]{outside}{outside}: which character stands in the brackets?",
        inside,
        (f"Outside the brackets stands only {outside}.", f"Inside stands {inside}."),
    )


def backslashes(draw: Draw) -> Problem:
    """Characters that JSON has to escape."""
    parts = draw.several(_FRUIT, draw.between(2, 4))
    path = "\\".join(parts)
    return Problem(
        f"How many backslashes are in {path}\\?",
        f"{len(parts)}",
        ("Every word is followed by one.", f"There are {len(parts)} words."),
    )


EDGE_CASES: tuple[TaskType, ...] = (
    punctuation,
    spacing,
    shouting,
    long_prompt,
    zero,
    big_numbers,
    below_zero,
    leading_zeros,
    numbered_list,
    symbols_counted,
    quotation,
    markup_length,
    distraction,
    single_character,
    backslashes,
)
