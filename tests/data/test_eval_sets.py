"""Each answer is computed again, by another way than the sentence of its question suggests where there is one."""

import calendar
import re
from collections import Counter
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import combinations, pairwise, permutations, product
from math import ceil, floor, prod

import pytest

from tunix_eval.data import BUILTIN_EVALSETS
from tunix_eval.digest import normalised_prompt
from tunix_eval.records import Completion
from tunix_eval.scoring import BUILTIN_SCORERS

WRITTEN = ("eval_v1", "eval_v2")
F = Fraction
MINUTE = timedelta(minutes=1)


def clock(start, minutes):
    return (datetime.strptime(start, "%H:%M") + minutes * MINUTE).strftime("%H:%M")


def only(found):
    (one,) = found
    return one


def yes(value):
    return "yes" if value else "no"


def weekdays_from(name):
    first = list(calendar.day_name).index(name)
    return [calendar.day_name[(first + k) % 7] for k in range(400)]


def orders(people, *rules):
    return [order for order in permutations(people) if all(rule(order.index) for rule in rules)]


def roman(text):
    values = [dict(zip("IVXLCDM", (1, 5, 10, 50, 100, 500, 1000), strict=True))[letter] for letter in text]
    return sum(-a if a < b else a for a, b in pairwise([*values, 0]))


def last_floor():
    floors = [6, 1, 10]
    travelled = sum(abs(b - a) for a, b in pairwise(floors))
    return floors[-1] - travelled // 2


def basin_minutes():
    level, minutes = 0, 0
    while level < 72 * 2:
        # In 72ths of half a basin, twice a minute.
        level += 12 + (6 if minutes < 6 else 0)
        minutes += 1
    return F(minutes, 2) - 3


def colony(ants, weeks):
    return ants if not weeks else colony(ants * 3 // 2 - 100, weeks - 1)


def painter_days():
    left, day = 60, 0
    while left > 0:
        left -= 6 if day < 4 else 4
        day += 1
    return day


def working_day(start, count):
    day = start
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < 5 and (day.month, day.day) != (5, 1)
    return day.day


def printed(pages):
    minutes = F(0)
    for page in range(1, pages + 1):
        minutes += F(1, 24) + (page % 100 == 1 and page > 1)
    return minutes


LABELS = {"A": lambda box: box != "A", "B": lambda box: box != "B", "C": lambda box: box == "B"}
BOOKS = (
    lambda at: at("red") == 2,
    lambda at: at("blue") == 0,
    lambda at: at("green") == at("red") + 1,
    lambda at: at("black") != 4,
)
AGES = [(w, x) for w in range(6, 120) for x in range(6, 120) if w - 5 == 3 * (x - 5) and w + 5 == 2 * (x + 5)]
COUNTS = {
    # eval_v1
    "cinema-rows": sum(22 for _ in range(14)) - 37,
    "pencil-boxes": ceil(F(25 * 3, 12)),
    "loaf-left": F(2, 3) * 900 - 250,
    "bell-rings": len([minute for minute in range(24 * 60) if 435 <= minute <= 540 and (minute - 435) % 20 == 0]),
    "reduced-tent": F(65, 100) * 160,
    "third-angle": 180 - 48 - 67,
    "ribbon-pieces": F("2.1") / 6 * 100,
    "spring-days": (date(2023, 7, 1) - date(2023, 4, 1)).days,
    "middle-number": sorted([F("0.75"), F(2, 3), F("0.7"), F(5, 8), F(3, 5)])[2],
    "saved-and-spent": F(8 * 15, 2) + 3 * 20,
    "two-reductions": 250 * F(80, 100) * F(75, 100),
    "lettuces-sold": 9 * 16 * F(5, 6) * F(3, 4),
    "printer-pauses": printed(300),
    "two-kinds-of-coins": only(twos for twos in range(19) if 2 * twos + (18 - twos) == 27),
    "back-to-zero": sum([5, -5, 0]),
    "houses-in-use": 212 - 53,
    "strange-marks": 7 * 8,
    "count-zeros": str(10_020_300).count("0"),
    # eval_v2, core
    "tram-seats": 4 * 11 * 4 + 4 * 6,
    "jam-jars": F(7000, 350),
    "paint-coats": F(90, 12) * 2,
    "choir-rows": sum(range(8, 20, 2)),
    "tower-steps": 18 * len(range(3, 11)),
    "three-parcels": F(2400 + 3750 + 850, 1000),
    "museum-change": 100 - sum([9] * 3 + [4] * 7),
    "painted-cube": sum(set(corner) == {1} for corner in product(range(3), repeat=3)),
    "long-rectangle": only(w * 3 * w for w in range(1, 28) if 2 * (w + 3 * w) == 56),
    "fifth-test": only(mark for mark in range(20) if F(7 + 9 + 4 + 8 + mark, 5) == F("7.2")),
    "cake-left": F(3, 4) - F(3, 4) / 3,
    "up-and-down": 200 * F(110, 100) * F(90, 100),
    "diluted-juice": 3 * F(20, 100) / (3 + 2),
    "phone-battery": (F(75, 100) - F(25, 100)) / F(1, 8),
    "school-band": only(8 * k for k in range(1, 100) if 5 * k - 3 * k == 6),
    "fraction-midway": (F(1, 3) + F(1, 2)) / 2,
    "coat-before": F(84) / F(70, 100),
    "newspaper-readers": 240 * F(5, 8) * (1 - F(2, 5)),
    "runner-pace": F(5 * 60 + 15, 60) * 12,
    "van-fuel": F("8.5") / 100 * 340,
    "cyclist-metres": F(27_000, 3600) * 10,
    "field-hectares": F(450 * 320, 10_000),
    "day-and-a-half": timedelta(days=1.5) / MINUTE,
    "copy-film": F("4.5") * 1000 / 20,
    "map-path": F(14 * 25_000, 100 * 1000),
    "leap-february": (date(2024, 3, 5) - date(2024, 2, 20)).days,
    "night-train": (datetime(2025, 1, 2, 6, 15) - datetime(2025, 1, 1, 21, 48)) / MINUTE,
    "birthday-year": date(1987, 3, 1).replace(year=1987 + 65).year,
    "third-payment": (date(2025, 3, 31) - date(2025, 1, 31)).days,
    "third-friday": [day for day in range(1, 32) if weekdays_from("Tuesday")[day - 1] == "Friday"][2],
    "mother-and-son": only(age for age in range(1, 100) if age + 27 == 4 * age),
    "smallest-decimal": min(map(F, ("0.6", "0.57", "0.508", "0.61"))),
    "largest-fraction": max(map(F, ("3/5", "5/8", "4/7", "2/3"))),
    "queue-length": only(n for n in range(7, 50) if n - 7 + 1 == 4),
    "five-books": only(
        {order.index("black") + 1 for order in orders(("red", "blue", "green", "black", "other"), *BOOKS)}
    ),
    "band-and-choir": only(both for both in range(15) if (18 - both) + both + (14 - both) + 5 == 30),
    "socks-in-the-dark": 1 + max(n for n in range(7) for socks in combinations("bbggll", n) if len(set(socks)) == n),
    "odd-product": only({sum(n % 2 == 0 for n in four) for four in product(range(1, 5), repeat=4) if prod(four) % 2}),
    "own-length": len(["How", "many", "words", "does", "this", "question", "have?"]),
    "lanterns": 31 - (31 - 12),
    "pencils": 5 * 2 - 3,
    "pages-read": len(range(34, 61 + 1)),
    "lamps-on-the-path": len(range(0, 60 + 1, 12)),
    # eval_v2, trace_sensitive
    "discount-then-tip": 60 * F(85, 100) * F(110, 100),
    "two-taps": basin_minutes(),
    "there-and-back": F(2 * 60) / (F(60, 40) + F(60, 60)),
    "ant-colony": colony(400, 3),
    "standing-passengers": 40 - 15 + 22 - 8 + 16 - 52,
    "loan-rest": 1200 * F(3, 4) * F(2, 3) - 150,
    "painters-leave": painter_days(),
    "pool-border": sum(not (2 <= x < 18 and 2 <= y < 18) for x in range(20) for y in range(20)),
    "marbles-back": 84 - F(84, 3) + F(84, 3) / 4,
    "bank-fee": F(140 - 5) / F("0.9"),
    "day-workers": 20_000 * F(60, 100) * F(75, 100) * F(80, 100),
    "double-less-one": 2**6 + 1,
    "leaking-barrel": 100 - 3 * (20 - 15),
    "digits-of-a-number": sum(map(int, "4726")) * 4 - 6,
    "task-graph": max(3 + 2, 5) + 4,
    "league-points": only(won for won in range(12) if 3 * won + (14 - 3 - won) == 25),
    "rope-ends": 500 % 40 + 500 % 30,
    "two-red-balls": F([*permutations("rrrgg", 2)].count(("r", "r")), len([*permutations("rrrgg", 2)])),
    "working-days": working_day(date(2025, 4, 29), 4),
    "biscuit-flour": F(150, 12) * 5 * 16 + 50,
    "two-ages": only(AGES)[0],
    "lift-ride": last_floor(),
    "taxi-fare": F("3.50") + sum(F("1.80") if km < 5 else F("1.20") for km in range(12)),
    # eval_v2, edge_case
    "accented-letters": len("naïveté"),
    "unicode-minus": -7 - -12,
    "fullwidth-digits": int("１２") + int("３０"),
    "no-boxes": 0 * 25,
    "fifteen-nines": 10**15 - 1,
    "tiny-product": F("0.1") ** 3,
    "rounding-down": floor(F("-2.7")),
    "roman-year": roman("MCMXCIV"),
    "people-on-board": 163 + 6,
    "stray-space": only(n for n in range(3, 20) if F(360, n) == 60),
    "no-pears": 3 + 4,
    "empty-brackets": len("[]".strip("[]")),
    "control-token": 6 * 7,
}
WORDS = {
    # eval_v1
    "weekday-in-month": weekdays_from("Saturday")[20 - 3],
    "four-in-a-row": only(
        orders(
            ("Ann", "Bea", "Cleo", "Dora"),
            lambda at: at("Ann") < at("Bea") < at("Cleo"),
            lambda at: at("Ann") < at("Dora") < at("Bea"),
        )
    )[-1],
    "turtle-and-fish": yes(13 <= 12),
    "three-caps": only({jo for jo, kim, _ in permutations(("red", "green", "blue")) if jo != "red" and kim == "green"}),
    "notebook-without-o": "".join(letter for letter in "notebook" if letter != "o"),
    "first-letters": "".join(word[0] for word in ("every", "aunt", "reads", "novels")),
    "flight-east": clock("22:40", 7 * 60 + 35 + 2 * 60),
    # eval_v2, core
    "hundred-days": weekdays_from("Wednesday")[100],
    "tokyo-morning": clock("06:00", -9 * 60),
    "race-second": only(
        orders(
            ("Femi", "Gil", "Hana", "Ivo"),
            lambda at: at("Hana") < at("Femi") < at("Gil"),
            lambda at: at("Ivo") == 3,
        )
    )[1],
    "third-in-dictionary": sorted(("candle", "canary", "candy", "canal"))[2],
    "second-tallest": only(
        orders(
            ("Bo", "Cy", "Di", "Ed"),
            lambda at: at("Bo") < at("Cy"),
            lambda at: at("Cy") < at("Di"),
            lambda at: at("Ed") < at("Bo"),
        )
    )[1],
    "two-liars": yes(only({vic for una, vic in product((True, False), repeat=2) if una != (una and vic)})),
    "match-not-cancelled": yes(
        only({rain for rain, off in product((True, False), repeat=2) if (off or not rain) and not off})
    ),
    "switch-is-up": {1: "yes", 2: "unknown"}[
        len({on for on, up in product((True, False), repeat=2) if (up or not on) and up})
    ],
    "locked-boxes": yes(
        all(
            any(box and red for box, _, red in things)
            for things in combinations(product((True, False), repeat=3), 2)
            if all(locked for box, locked, _ in things if box) and any(locked and red for _, locked, red in things)
        )
    ),
    "three-labels": only(box for box in "ABC" if sum(says(box) for says in LABELS.values()) == 1),
    "most-frequent-letter": only(letter for letter, n in Counter("mediterranean").items() if n == 3),
    "last-letters": "".join(word[-1] for word in ("garlic", "sofa", "pearl", "album")),
    "palindrome": only(word for word in ("motor", "rotor", "actor", "meteor") if word == word[::-1]),
    "sixth-letter": "pineapple"[6 - 1],
    "carpet-to-brass": "trum" + "carpet".removeprefix("car"),
    "next-letter-code": "".join(chr(ord(letter) - 1) for letter in "tupof"),
    "day-before": calendar.day_name[(calendar.SUNDAY - 2 - 1) % 7],
    # eval_v2, trace_sensitive and edge_case
    "fast-clock": clock("15:30", 4 * (15 * 60 + 30 - 8 * 60) // 60),
    "fifth-meeting": clock("09:00", 5 * 45 + 4 * 10),
    "feathers-and-lead": max({"feathers": 1000, "lead": 900}.items(), key=lambda pair: pair[1])[0],
    "century-leap-year": yes(calendar.isleap(1900)),
}


@pytest.fixture(scope="module", params=WRITTEN)
def evalset(request):
    return BUILTIN_EVALSETS[request.param]()


@pytest.fixture(scope="module")
def items():
    return {item.id: item for name in WRITTEN for item in BUILTIN_EVALSETS[name]().items}


def is_number(text):
    return re.fullmatch(r"-?\d+(\.\d+)?(/\d+)?%?", text) is not None


def number(text):
    return F(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def score(name, item, answer):
    given = Completion(item_id=item.id, text=answer, answer=answer, status="ok", stop_reason="stop", tokens=1)
    return BUILTIN_SCORERS[name](item, given).value


def test_every_answer_is_computed_again(items):
    assert sorted([*COUNTS, *WORDS]) == sorted(items)
    assert all(is_number(items[name].expected_answer) for name in COUNTS)
    wrong = {name: value for name, value in COUNTS.items() if number(items[name].expected_answer) != F(value)}
    wrong |= {name: value for name, value in WORDS.items() if items[name].expected_answer != value}
    assert wrong == {}


def test_the_question_that_counts_its_own_words_is_the_one_that_was_counted(items):
    assert items["own-length"].prompt == "How many words does this question have?"


def test_the_sections_have_their_numbers():
    sections = {name: Counter(item.section for item in BUILTIN_EVALSETS[name]().items) for name in WRITTEN}
    assert sections == {
        "eval_v1": {"core": 15, "trace_sensitive": 6, "edge_case": 4},
        "eval_v2": {"core": 60, "trace_sensitive": 25, "edge_case": 15},
    }


def test_every_item_says_what_it_is(evalset):
    for item in evalset.items:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", item.id)
        assert item.category
        assert item.difficulty in ("easy", "medium", "hard")


def test_questions_of_several_steps_are_hard_more_often_than_easy(evalset):
    several = [item.difficulty for item in evalset.items if item.section == "trace_sensitive"]
    assert several.count("easy") <= 1
    assert several.count("hard") >= len(several) / 3


def test_no_prompt_is_in_two_evalsets_or_twice_in_one():
    prompts = [normalised_prompt(item.prompt) for offer in BUILTIN_EVALSETS.values() for item in offer().items]
    assert len(set(prompts)) == len(prompts)


def test_expected_answers_and_aliases_are_right_for_the_scorers(evalset):
    for item in evalset.items:
        for answer in (item.expected_answer, *item.aliases):
            assert score("exact", item, answer) == 1.0
            if is_number(item.expected_answer) and is_number(answer):
                assert score("numeric", item, answer) == 1.0, (item.id, answer)
        assert score("exact", item, "x") == 0.0
        assert score("numeric", item, "x") == (0.0 if is_number(item.expected_answer) else None), item.id


def test_answers_are_short(evalset):
    for item in evalset.items:
        for answer in (item.expected_answer, *item.aliases):
            assert len(answer) <= 24
            assert answer == answer.strip()


@pytest.mark.parametrize(
    ("name", "aliases"),
    [
        ("reduced-tent", {"104 euros", "€104"}),
        ("bank-fee", {"$150", "150 dollars"}),
        ("two-taps", {"3/2", "1.5 minutes", "1.5 min"}),
        ("discount-then-tip", {"56.1", "56.10 euros", "€56.1"}),
        ("jam-jars", {"20 jars"}),
        ("phone-battery", {"four", "4 hours", "4 h"}),
        ("stray-space", {"six", "6 sides"}),
        ("painted-cube", {"one"}),
        ("band-and-choir", {"seven"}),
        ("diluted-juice", {"12", "12 percent"}),
    ],
)
def test_a_good_answer_may_name_its_unit_or_write_a_small_number_out(items, name, aliases):
    assert aliases <= set(items[name].aliases)
    assert not any(re.search(r"\d (of|do|more|percents?)$", alias) for alias in set(items[name].aliases) - aliases)


def test_aliases_of_a_number_have_its_value(evalset):
    for item in evalset.items:
        numbers = [answer for answer in item.aliases if is_number(answer)]
        for alias in numbers:
            stated = item.expected_answer.removesuffix("%")
            assert number(alias) in (number(item.expected_answer), F(stated)), item.id
