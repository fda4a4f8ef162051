"""Arithmetic, string and logic tasks without a story."""

from __future__ import annotations

import itertools

from tunix_eval.data.generators.problem import NAMES, Draw, Problem, TaskType, counted

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_KINDS = ("blicket", "dax", "fep", "gorp", "kiv", "lorp", "mib", "nuz", "pilk", "rell", "tove", "wug", "zorb")
_WORDS = (
    *("banana", "committee", "mississippi", "balloon", "reasoned", "assessment", "pepper", "institution", "bookkeeper"),
    *("parallel", "cinnamon", "referee", "successor", "tomorrow", "excellence", "possession", "whirlwind", "cocoon"),
)
_RELATIONS = (
    ("taller", "tallest", "shortest"),
    ("older", "oldest", "youngest"),
    ("faster", "fastest", "slowest"),
    ("heavier", "heaviest", "lightest"),
)


def arithmetic(draw: Draw) -> Problem:
    """An expression with brackets."""
    a, b, c, d = draw.between(11, 99), draw.between(11, 99), draw.between(3, 19), draw.between(11, 499)
    product = (a + b) * c
    return Problem(
        f"Calculate ({a} + {b}) * {c} - {d}.",
        f"{product - d}",
        (f"{a} + {b} = {a + b}", f"{a + b} * {c} = {product}", f"{product} - {d} = {product - d}"),
    )


def string_reverse(draw: Draw) -> Problem:
    """A string from its end."""
    text = _random_text(draw, draw.between(5, 9))
    return Problem(
        f"Reverse the string '{text}'.",
        text[::-1],
        (f"The characters from first to last are {', '.join(text)}.", f"From last to first: {', '.join(text[::-1])}."),
    )


def string_sort(draw: Draw) -> Problem:
    """Letters in order."""
    text = _random_text(draw, draw.between(5, 8))
    ordered = "".join(sorted(text))
    return Problem(
        f"Sort the letters of '{text}' alphabetically.",
        ordered,
        (f"The letters are {', '.join(text)}.", f"In alphabetical order they are {', '.join(ordered)}."),
    )


def letter_count(draw: Draw) -> Problem:
    """Occurrences of a letter in two words."""
    first, second = draw.several(_WORDS, 2)
    letter = draw.pick(first)
    n, m = first.count(letter), second.count(letter)
    return Problem(
        f"How many times does the letter '{letter}' occur in '{first} {second}'?",
        f"{n + m}",
        (f"'{first}' has it {counted(n, 'time')}.", f"'{second}' has it {counted(m, 'time')}.", f"{n} + {m} = {n + m}"),
    )


def logic_order(draw: Draw) -> Problem:
    """Who is first or last of four, from shuffled comparisons."""
    people = draw.several(NAMES, 4)
    comparative, first, last = draw.pick(_RELATIONS)
    facts = [f"{a} is {comparative} than {b}." for a, b in itertools.pairwise(people)]
    asked, answer = draw.pick(((first, people[0]), (last, people[-1])))
    return Problem(
        f"{' '.join(draw.several(facts, 3))} Who is the {asked}?",
        answer,
        (
            f"In order, each {comparative} than the next: {', '.join(people)}.",
            f"So the {asked} is {answer}.",
        ),
    )


def logic_truth(draw: Draw) -> Problem:
    """A statement of three truth values."""
    p, q, r = (draw.pick((True, False)) for _ in range(3))
    x, y, z = draw.several("abcdefghkmnpqrstuvwxyz", 3)
    inner, outer = draw.pick(("and", "or")), draw.pick(("and", "or"))
    left = (p and q) if inner == "and" else (p or q)
    whole = (left and not r) if outer == "and" else (left or not r)
    return Problem(
        f"Let {x} be {_word(p)}, {y} be {_word(q)} and {z} be {_word(r)}. "
        f"Is ({x} {inner} {y}) {outer} (not {z}) true or false?",
        _word(whole),
        (
            f"({x} {inner} {y}) is ({_word(p)} {inner} {_word(q)}), which is {_word(left)}.",
            f"(not {z}) is {_word(not r)}.",
            f"({_word(left)} {outer} {_word(not r)}) is {_word(whole)}.",
        ),
    )


def logic_syllogism(draw: Draw) -> Problem:
    """What follows from two rules about made-up kinds."""
    name, (a, b, c) = draw.pick(NAMES), draw.several(_KINDS, 3)
    quantifier, answer = draw.pick((("All", "yes"), ("No", "no")))
    link = "every" if quantifier == "All" else "no"
    return Problem(
        f"All {a}s are {b}s. {quantifier} {b}s are {c}s. {name} is a {a}. Is {name} a {c}? Answer yes or no.",
        answer,
        (
            f"{name} is a {a}, and all {a}s are {b}s, so {name} is a {b}.",
            f"Since {link} {b} is a {c}, {name} is {'' if answer == 'yes' else 'not '}a {c}.",
        ),
    )


def _random_text(draw: Draw, length: int) -> str:
    return "".join(draw.pick(_LETTERS) for _ in range(length))


def _word(value: bool) -> str:
    return "true" if value else "false"


SYMBOLS: tuple[TaskType, ...] = (
    arithmetic,
    string_reverse,
    string_sort,
    letter_count,
    logic_order,
    logic_truth,
    logic_syllogism,
)
