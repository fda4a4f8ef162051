"""Answers computed from the prompts' text alone, by code that shares nothing with the generators."""

import ast
import operator
import re
from collections import Counter
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import count, permutations

SOLVERS = {}
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


def value(expression):
    def walk(node):
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        if isinstance(node, ast.UnaryOp):
            return OPERATORS[type(node.op)](walk(node.operand))
        return Fraction(str(node.value))

    return walk(ast.parse(expression.strip(), mode="eval").body)


def solves(pattern):
    """Register a solver; `#` in the pattern stands for a number, and numbers reach the solver as such."""

    def register(solver):
        SOLVERS[re.compile(pattern.replace("#", r"(-?\d+)"), re.DOTALL)] = solver
        return solver

    return register


def solve(prompt):
    found = [(solver, match) for pattern, solver in SOLVERS.items() if (match := pattern.fullmatch(prompt))]
    assert len(found) == 1, f"{len(found)} solvers fit {prompt!r}"
    ((solver, match),) = found
    return str(solver(*(int(group) if re.fullmatch(r"-?\d+", group) else group for group in match.groups())))


@solves(r"\w+ buys # \w+ at \$# each and # \w+ at \$# each, and pays with \$#\. How many dollars of change .*\?")
def change(n, p, m, q, paid):
    return paid - sum([p] * n + [q] * m)


@solves(r"\w+'s farm produces # .* a day\. \w+ keeps # of them .* at \$# each\. How many dollars .* in # days\?")
def produce(made, kept, price, days):
    return sum((made - kept) * price for _ in range(days))


@solves(r"A .* costs \$#\. The shop takes #% off, and .* a voucher worth \$#\. How many dollars does \w+ pay\?")
def discount(price, percent, voucher):
    return price * Fraction(100 - percent, 100) - voucher


@solves(r"# friends have a meal that costs \$#\. They add a tip of #% and share .* How many dollars .* pay\?")
def split_bill(people, bill, percent):
    return Fraction(bill * (100 + percent), 100 * people)


@solves(r"\w+ has \$# and wants a .* for \$#\. Each week \w+ earns \$# and spends \$# .* enough money\?")
def savings(has, price, earns, spends):
    return next(week for week in count() if has + week * (earns - spends) >= price)


@solves(r"\w+ puts \$# into an account that pays #% simple interest a year\. .* after # years\?")
def interest(principal, percent, years):
    return principal * (1 + Fraction(percent * years, 100))


@solves(r"Shop A sells (\w+) in packs of # for \$#, shop B in packs of # for \$#\. \w+ needs # \1\. .* save .*\?")
def cheaper_shop(_, size_a, price_a, size_b, price_b, amount):
    return abs(Fraction(amount * price_a, size_a) - Fraction(amount * price_b, size_b))


@solves(r"\w+ earns \$# an hour, and one and a half times as much for every hour over 40 .* of # hours\?")
def overtime(wage, hours):
    return sum(Fraction(wage) * (1 if hour < 40 else Fraction(3, 2)) for hour in range(hours))


@solves(r"\w+ opens # bags of # (?:\w+) each .* among # friends, as many as possible\. How many \w+ are left over\?")
def leftover(bags, size, friends):
    return bags * size % friends


@solves(r"A \w+ leaves with # passengers\. .* # get off and # get on\. .* half .* get off and # get on\. .*\?")
def bus(start, off, new, more):
    return Fraction(start - off + new, 2) + more


@solves(r"\w+ reads a book of # pages: # pages a day for # days, then # pages a day\. On which day .*\?")
def reading(pages, slow, days, fast):
    return next(day for day in count(1) if sum(slow if d < days else fast for d in range(day)) >= pages)


@solves(r"A warehouse has to move # boxes in one day\. A truck carries # boxes and makes # trips a day\. .*\?")
def trucks(boxes, load, trips):
    return next(number for number in count(1) if number * load * trips >= boxes)


@solves(r"A farm has only (\w+) and (\w+)\. Together they have # heads and # legs\. How many \2 are there\?")
def heads_and_legs(_, __, heads, legs):
    return next(four for four in range(heads + 1) if 4 * four + 2 * (heads - four) == legs)


@solves(r"A school has # students, and #% .* One in # of those is in the (\w+) club, .* in another club\?")
def school_sport(students, percent, one_in, _):
    return students * Fraction(percent, 100) * (1 - Fraction(1, one_in))


@solves(r"(\w+) and (\w+) share # (\w+) in the ratio # to #\. How many \4 more than \2 does \1 get\?")
def ratio(_, __, total, ___, high, low):
    return total * Fraction(high, high + low) - total * Fraction(low, high + low)


@solves(r"The sum of three consecutive whole numbers is #\. What is the product of the smallest and the largest .*\?")
def consecutive(total):
    first = next(n for n in count() if n + (n + 1) + (n + 2) == total)
    return first * (first + 2)


@solves(r"(\w+) is # times as old as (\w+), who is # years old\. What will be the sum of their ages in # years\?")
def ages(_, times, __, age, years):
    return (times * age + years) + (age + years)


@solves(r"A \w+ has a route of # km\. It travels # hours at # km/h and then # hours at # km/h\. .* are left\?")
def route(length, h, v, k, w):
    return length - sum([v] * h + [w] * k)


@solves(r"\w+ \w+ # km in # hours, and after a rest # km in # hours\. What is the average speed .*\?")
def average_speed(d, h, e, k):
    return Fraction(d + e, h + k)


@solves(
    r"One machine makes # (\w+) an hour, another #\. The first works alone for # hours, then .* # \2 are made\. .*\?"
)
def machines(first, _, second, alone, total):
    return next(hours for hours in count() if first * hours + second * max(hours - alone, 0) >= total)


@solves(r"A rectangular \w+ is # m long and # m wide\. A fence at \$# a metre .* a gate of # m\. .*\?")
def fence(length, width, cost, gate):
    return (length + width + length + width - gate) * cost


@solves(r"The floor of a \w+ is # m by # m\. .* square tiles of # cm, which come in boxes of #\. .*\?")
def tiles(length, width, side, box):
    needed = Fraction(100 * length * 100 * width, side * side)
    return next(boxes for boxes in count() if boxes * box >= needed)


@solves(r"A \w+ for # litres holds # litres\. Every minute # litres flow in and # litres leak out\. .* is it full\?")
def tank(capacity, start, inflow, leak):
    return next(minute for minute in count() if start + minute * (inflow - leak) >= capacity)


@solves(r"A \w+ starts at (\d\d:\d\d)\. It lasts # minutes, and there is a break of # minutes as well\. .* clock\.")
def clock(start, length, pause):
    return (datetime.strptime(start, "%H:%M") + timedelta(minutes=length + pause)).strftime("%H:%M")


@solves(
    r"At .* it is # degrees?\. The temperature falls by # degrees an hour for # hours, then rises by # .* # hours\..*"
)
def temperature(now, fall, hours, rise, more):
    return now + sum([-fall] * hours + [rise] * more)


@solves(r"A recipe for # people needs # g of (\w+)\. \w+ cooks it for # people and has # g of \3\. How many more .*\?")
def recipe(people, grams, _, guests, has):
    return Fraction(grams * guests, people) - has


@solves(r"Calculate (.*)\.")
def arithmetic(expression):
    return value(expression)


@solves(r"Reverse the string '(\w+)'\.")
def string_reverse(text):
    return "".join(text[-k] for k in range(1, len(text) + 1))


@solves(r"Sort the letters of '(\w+)' alphabetically\.")
def string_sort(text):
    return "".join(letter * text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz")


@solves(r"How many times does the letter '(\w)' occur in '(.*)'\?")
def letter_count(letter, text):
    return len(re.findall(letter, text))


@solves(r"(\w+ is (\w+) than .*) Who is the (\w+)\?")
def logic_order(facts, comparative, superlative):
    pairs = re.findall(r"(\w+) is \w+ than (\w+)\.", facts)
    (order,) = (
        order
        for order in permutations({name for pair in pairs for name in pair})
        if all(order.index(more) < order.index(less) for more, less in pairs)
    )
    return order[0] if superlative == comparative.removesuffix("er") + "est" else order[-1]


@solves(r"Let (\w) be (\w+), (\w) be (\w+) and (\w) be (\w+)\. Is (.*) true or false\?")
def logic_truth(x, p, y, q, z, r, expression):
    return str(eval(expression, {x: p == "true", y: q == "true", z: r == "true"})).lower()


@solves(r"All (\w+)s are (\w+)s\. (All|No) \2s are (\w+)s\. (\w+) is a \1\. Is \5 a \4\? Answer yes or no\.")
def logic_syllogism(_, __, quantifier, ___, ____):
    return {"All": "yes", "No": "no"}[quantifier]


@solves(r"Write '(.*)' in capital letters\.")
def uppercase(text):
    return "".join(chr(ord(letter) - 32) if letter != " " else " " for letter in text)


@solves(r"Write the word '(\w+)' # times, separated by commas\.")
def text_repeat(word, times):
    return f"{word}, " * (times - 1) + word


@solves(r"How many times does the word '(\w+)' occur in \"(.*)\"\?")
def word_count(word, sentence):
    return Counter(re.findall(r"\w+", sentence))[word]


@solves(r"Give the initials of '(.*)' in capital letters, without spaces\.")
def initials(words):
    return "".join(re.findall(r"\b\w", words)).upper()


@solves(r"Join the words of '(.*)' with underscores\.")
def underscores(words):
    return words.replace(" ", "_")


@solves(r"What comes next: (\w+), \1\1, \1\1\1\?")
def next_in_pattern(unit):
    return unit + unit + unit + unit


@solves(r"What is\.\.\. (.*)\?\?\?")
def punctuation(expression):
    return value(expression)


@solves(r"  What   is\n\n (.*)  \?  ")
def spacing(expression):
    return value(expression)


@solves(r"WHAT IS # TIMES #\? ANSWER NOW!")
def shouting(a, b):
    return sum([a] * b)


@solves(r"(?:This sentence is repeated and says nothing\. )+What is # \+ #\?")
def long_prompt(a, b):
    return a + b


@solves(r"What is ([1-9][\d *+-]*)\?")
def plain_expression(expression):
    return value(expression)


@solves(r"What is (0\d+) \+ (0\d+)\? Answer without leading zeros\.")
def leading_zeros(a, b):
    return int(a) + int(b)


@solves(r"Write as a numbered list, one entry a line: (\w+), (\w+), (\w+)")
def numbered_list(a, b, c):
    return f"1. {a}\n2. {b}\n3. {c}"


@solves(r"How many characters does '(.*)' have\?")
def symbols_counted(text):
    return len(text)


@solves(r"\w+ wrote \"(.*)\" on the board\. What stands between the quotation marks\?")
def quotation(words):
    return words


@solves(r"How many characters, spaces included, does the text (.*) have\?")
def markup_length(text):
    return len(list(text))


@solves(r"\w+ is # years old, lives at number # and has # red and # blue hats\. How many hats is that\?")
def distraction(_, __, red, blue):
    return red + blue


@solves(r"(\w)\1\[(\w)\]\1\1: which character stands in the brackets\?")
def single_character(_, inside):
    return inside


@solves(r"How many backslashes are in (.*)\?")
def backslashes(text):
    return text.count("\\")


@solves(r"Write '(.*)' in small letters\.")
def lowercase(text):
    return "".join(chr(ord(letter) + 32) if letter != " " else " " for letter in text)


@solves(r"Begin every word of '(.*)' with a capital letter\.")
def capitalised(text):
    return re.sub(r"\b\w", lambda found: found[0].upper(), text)


@solves(r"How many vowels \(a, e, i, o, u\) are in '(.*)'\?")
def vowel_count(text):
    return len(re.findall("[aeiou]", text))


@solves(r"Leave out the vowels \(a, e, i, o, u\) of '(.*)'\.")
def vowels_removed(text):
    return re.sub("[aeiou]", "", text)


@solves(r"Put '(\w)' in place of every '(\w)' in '(.*)'\.")
def letter_replaced(new, old, text):
    return new.join(text.split(old))


@solves(r"Counting from the (first|last) letter, which is letter number # of '(\w+)'\?")
def letter_at(end, place, word):
    return word[place - 1] if end == "first" else word[-place]


@solves(r"Write every second letter of '(\w+)', beginning with the first\.")
def alternate_letters(word):
    return "".join(letter for k, letter in enumerate(word) if k % 2 == 0)


@solves(r"Write '([a-z ]*)' with every letter twice\.")
def doubled_letters(text):
    return re.sub(r"(\w)", r"\1\1", text)


@solves(r"Put these words into alphabetical order: (.*)\.")
def words_sorted(words):
    left, ordered = words.split(", "), []
    while left:
        ordered.append(min(left))
        left.remove(ordered[-1])
    return ", ".join(ordered)


@solves(r"Write the words of '(.*)' from the last to the first\.")
def words_reversed(text):
    return " ".join(text.split()[::-1])


@solves(r"Which of these words has the most letters: (.*)\?")
def longest_word(words):
    longest = max(map(len, words.split(", ")))
    (word,) = (word for word in words.split(", ") if len(word) == longest)
    return word
