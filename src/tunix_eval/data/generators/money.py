"""Word problems about money; every answer is a number of dollars or weeks."""

from __future__ import annotations

from tunix_eval.data.generators.problem import NAMES, Draw, Problem, TaskType, counted

_GOODS = ("pens", "notebooks", "mugs", "candles", "plants", "scarves", "posters", "lamps", "brushes", "baskets")
_WARES = ("jacket", "tent", "chair", "bicycle helmet", "suitcase", "radio", "blanket", "telescope")


def change(draw: Draw) -> Problem:
    """Two purchases, paid with one sum."""
    name, (first, second) = draw.pick(NAMES), draw.several(_GOODS, 2)
    n, m, p, q = draw.between(2, 9), draw.between(2, 9), draw.between(2, 15), draw.between(2, 15)
    total = n * p + m * q
    paid = (total // 50 + 1) * 50
    return Problem(
        f"{name} buys {n} {first} at ${p} each and {m} {second} at ${q} each, and pays with ${paid}. "
        f"How many dollars of change does {name} get?",
        f"{paid - total}",
        (
            f"The {first} cost {n} * {p} = {n * p} dollars.",
            f"The {second} cost {m} * {q} = {m * q} dollars.",
            f"Together that is {n * p} + {m * q} = {total} dollars.",
            f"The change is {paid} - {total} = {counted(paid - total, 'dollar')}.",
        ),
    )


def produce(draw: Draw) -> Problem:
    """What is left of a daily yield is sold."""
    name, kind = draw.pick(NAMES), draw.pick(("eggs", "melons", "cabbages", "loaves of bread", "jars of honey"))
    a, b, c, d = draw.between(20, 60), draw.between(3, 15), draw.between(2, 6), draw.between(3, 9)
    sold = a - b
    return Problem(
        f"{name}'s farm produces {a} {kind} a day. {name} keeps {b} of them and sells the rest at ${c} each. "
        f"How many dollars does the farm earn in {d} days?",
        f"{sold * c * d}",
        (
            f"Each day {a} - {b} = {sold} {kind} are sold.",
            f"That earns {sold} * {c} = {sold * c} dollars a day.",
            f"In {d} days it is {sold * c} * {d} = {sold * c * d} dollars.",
        ),
    )


def discount(draw: Draw) -> Problem:
    """A percentage off, then a voucher."""
    name, ware = draw.pick(NAMES), draw.pick(_WARES)
    price, percent, voucher = draw.between(40, 400, step=20), draw.between(10, 50, step=5), draw.between(3, 15)
    off = price * percent // 100
    return Problem(
        f"A {ware} costs ${price}. The shop takes {percent}% off, and {name} also has a voucher worth ${voucher}. "
        f"How many dollars does {name} pay?",
        f"{price - off - voucher}",
        (
            f"The shop takes off {price} * {percent} / 100 = {off} dollars.",
            f"That leaves {price} - {off} = {price - off} dollars.",
            f"With the voucher it is {price - off} - {voucher} = {price - off - voucher} dollars.",
        ),
    )


def split_bill(draw: Draw) -> Problem:
    """A tip on top, shared equally."""
    while True:
        bill, percent, people = draw.between(40, 300), draw.between(10, 25, step=5), draw.between(2, 6)
        if bill * percent % 100 == 0 and (bill + bill * percent // 100) % people == 0:
            break
    tip = bill * percent // 100
    share = (bill + tip) // people
    return Problem(
        f"{people} friends have a meal that costs ${bill}. They add a tip of {percent}% and share the total equally. "
        "How many dollars does each of them pay?",
        f"{share}",
        (
            f"The tip is {bill} * {percent} / 100 = {tip} dollars.",
            f"The total is {bill} + {tip} = {bill + tip} dollars.",
            f"Each pays {bill + tip} / {people} = {share} dollars.",
        ),
    )


def savings(draw: Draw) -> Problem:
    """Whole weeks until a price is reached."""
    name, ware = draw.pick(NAMES), draw.pick(_WARES)
    has, price, weekly, spent = draw.between(10, 80), draw.between(120, 400), draw.between(15, 40), draw.between(2, 9)
    missing, rate = price - has, weekly - spent
    weeks = -(-missing // rate)
    return Problem(
        f"{name} has ${has} and wants a {ware} for ${price}. Each week {name} earns ${weekly} and spends ${spent} of "
        "it. After how many whole weeks is there enough money?",
        f"{weeks}",
        (
            f"The missing amount is {price} - {has} = {missing} dollars.",
            f"Each week adds {weekly} - {spent} = {rate} dollars.",
            f"After {counted(weeks - 1, 'week')} there are {has} + {weeks - 1} * {rate} = "
            f"{has + (weeks - 1) * rate} dollars, which is too little.",
            f"After {weeks} weeks there are {has} + {weeks} * {rate} = {has + weeks * rate} dollars, which is enough.",
        ),
    )


def interest(draw: Draw) -> Problem:
    """Simple interest."""
    name = draw.pick(NAMES)
    sum_, percent, years = draw.between(200, 3000, step=100), draw.between(2, 9), draw.between(2, 8)
    yearly = sum_ * percent // 100
    return Problem(
        f"{name} puts ${sum_} into an account that pays {percent}% simple interest a year. "
        f"How many dollars are in the account after {years} years?",
        f"{sum_ + yearly * years}",
        (
            f"The interest of one year is {sum_} * {percent} / 100 = {yearly} dollars.",
            f"In {years} years it is {yearly} * {years} = {yearly * years} dollars.",
            f"The account then holds {sum_} + {yearly * years} = {sum_ + yearly * years} dollars.",
        ),
    )


def cheaper_shop(draw: Draw) -> Problem:
    """Two pack sizes compared over one amount."""
    name, goods = draw.pick(NAMES), draw.pick(_GOODS)
    while True:
        size_a, size_b = draw.several(range(2, 8), 2)
        price_a, price_b = draw.several(range(6, 30), 2)
        if price_a * size_b != price_b * size_a:
            break
    amount = size_a * size_b * draw.between(1, 3)
    cost_a, cost_b = amount // size_a * price_a, amount // size_b * price_b
    high, low = max(cost_a, cost_b), min(cost_a, cost_b)
    return Problem(
        f"Shop A sells {goods} in packs of {size_a} for ${price_a}, shop B in packs of {size_b} for ${price_b}. "
        f"{name} needs {amount} {goods}. How many dollars does {name} save by going to the cheaper shop?",
        f"{high - low}",
        (
            f"In shop A the packs cost {amount} / {size_a} * {price_a} = {cost_a} dollars.",
            f"In shop B the packs cost {amount} / {size_b} * {price_b} = {cost_b} dollars.",
            f"The cheaper shop saves {high} - {low} = {counted(high - low, 'dollar')}.",
        ),
    )


def overtime(draw: Draw) -> Problem:
    """Hours over 40 are paid one and a half times."""
    name = draw.pick(NAMES)
    wage, hours = draw.between(12, 30, step=2), draw.between(42, 56)
    normal, extra = 40 * wage, (hours - 40) * wage * 3 // 2
    return Problem(
        f"{name} earns ${wage} an hour, and one and a half times as much for every hour over 40 in a week. "
        f"How many dollars does {name} earn in a week of {hours} hours?",
        f"{normal + extra}",
        (
            f"The first 40 hours pay 40 * {wage} = {normal} dollars.",
            f"There are {hours} - 40 = {hours - 40} hours of overtime.",
            f"Each pays {wage} * 1.5 = {wage * 3 // 2} dollars, together {hours - 40} * {wage * 3 // 2} = {extra}.",
            f"In all it is {normal} + {extra} = {normal + extra} dollars.",
        ),
    )


MONEY: tuple[TaskType, ...] = (
    change,
    produce,
    discount,
    split_bill,
    savings,
    interest,
    cheaper_shop,
    overtime,
)
