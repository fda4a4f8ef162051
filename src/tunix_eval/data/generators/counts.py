"""Word problems about numbers of things and people."""

from __future__ import annotations

from tunix_eval.data.generators.problem import NAMES, Draw, Problem, TaskType, counted


def leftover(draw: Draw) -> Problem:
    """Equal shares with a remainder."""
    name, kind = draw.pick(NAMES), draw.pick(("sweets", "marbles", "stickers", "cards", "nuts"))
    bags, size, friends = draw.between(3, 9), draw.between(11, 29), draw.between(4, 9)
    total = bags * size
    each = total // friends
    return Problem(
        f"{name} opens {bags} bags of {size} {kind} each and shares them equally among {friends} friends, "
        f"as many as possible. How many {kind} are left over?",
        f"{total - each * friends}",
        (
            f"There are {bags} * {size} = {total} {kind}.",
            f"Each friend gets {each}, which takes {friends} * {each} = {friends * each} {kind}.",
            f"Left over are {total} - {friends * each} = {total - friends * each}.",
        ),
    )


def bus(draw: Draw) -> Problem:
    """Passengers get off and on at two stops."""
    vehicle = draw.pick(("bus", "tram", "train", "ferry"))
    start, off, new = draw.between(20, 60), draw.between(3, 15), draw.between(4, 20)
    if (start - off + new) % 2:
        new += 1
    after, more = start - off + new, draw.between(2, 14)
    return Problem(
        f"A {vehicle} leaves with {start} passengers. At the first stop {off} get off and {new} get on. At the second "
        f"stop half of the passengers get off and {more} get on. How many passengers are on the {vehicle} now?",
        f"{after // 2 + more}",
        (
            f"After the first stop there are {start} - {off} + {new} = {after} passengers.",
            f"Half of them get off, which leaves {after} / 2 = {after // 2}.",
            f"With the new ones there are {after // 2} + {more} = {after // 2 + more}.",
        ),
    )


def reading(draw: Draw) -> Problem:
    """Two reading speeds, whole days."""
    name = draw.pick(NAMES)
    slow, days, fast = draw.between(8, 25), draw.between(3, 7), draw.between(20, 45)
    pages = slow * days + draw.between(40, 250)
    rest = pages - slow * days
    extra = -(-rest // fast)
    before, until = fast * (extra - 1), fast * extra
    return Problem(
        f"{name} reads a book of {pages} pages: {slow} pages a day for {days} days, then {fast} pages a day. "
        f"On which day does {name} finish it?",
        f"{days + extra}",
        (
            f"The first {days} days cover {slow} * {days} = {slow * days} pages.",
            f"That leaves {pages} - {slow * days} = {rest} pages.",
            f"At {fast} a day, {counted(extra - 1, 'more day')} cover {fast} * {extra - 1} = {before} pages, "
            f"and {counted(extra, 'more day')} up to {fast} * {extra} = {until} pages.",
            f"The book is finished on day {days} + {extra} = {days + extra}.",
        ),
    )


def trucks(draw: Draw) -> Problem:
    """The smallest number of vehicles that is enough."""
    load, trips = draw.between(12, 40), draw.between(2, 6)
    capacity = load * trips
    boxes = capacity * draw.between(2, 9) + draw.between(1, capacity)
    needed = -(-boxes // capacity)
    too_few = (needed - 1) * capacity
    return Problem(
        f"A warehouse has to move {boxes} boxes in one day. A truck carries {load} boxes and makes {trips} trips a "
        "day. How many trucks are needed at least?",
        f"{needed}",
        (
            f"One truck moves {load} * {trips} = {capacity} boxes a day.",
            f"For {counted(needed - 1, 'truck')} that is {needed - 1} * {capacity} = {too_few} boxes, too few.",
            f"For {counted(needed, 'truck')} it is {needed} * {capacity} = {needed * capacity} boxes, which is enough.",
        ),
    )


def heads_and_legs(draw: Draw) -> Problem:
    """Two kinds of animals from two totals."""
    birds, beasts = draw.pick((("chickens", "cows"), ("ducks", "goats"), ("geese", "sheep"), ("turkeys", "pigs")))
    two, four = draw.between(5, 40), draw.between(3, 30)
    heads, legs = two + four, 2 * two + 4 * four
    return Problem(
        f"A farm has only {birds} and {beasts}. Together they have {heads} heads and {legs} legs. "
        f"How many {beasts} are there?",
        f"{four}",
        (
            f"If all {heads} animals were {birds}, there would be {heads} * 2 = {2 * heads} legs.",
            f"There are {legs} - {2 * heads} = {legs - 2 * heads} legs more than that.",
            f"Each of the {beasts} has 2 legs more, so there are {legs - 2 * heads} / 2 = {four} of them.",
        ),
    )


def school_sport(draw: Draw) -> Problem:
    """A part of a part."""
    sport = draw.pick(("football", "tennis", "handball", "hockey", "chess"))
    while True:
        students, percent, one_in = draw.between(200, 900, step=20), draw.between(15, 80, step=5), draw.between(3, 8)
        if students * percent // 100 % one_in == 0:
            break
    active = students * percent // 100
    chosen = active // one_in
    return Problem(
        f"A school has {students} students, and {percent}% of them are in a club. One in {one_in} of those is in the "
        f"{sport} club, and nobody is in two clubs. How many students are in another club?",
        f"{active - chosen}",
        (
            f"In a club are {students} * {percent} / 100 = {active} students.",
            f"In the {sport} club are {active} / {one_in} = {chosen}.",
            f"In another club are {active} - {chosen} = {active - chosen}.",
        ),
    )


def ratio(draw: Draw) -> Problem:
    """A sum shared in a ratio."""
    first, second = draw.several(NAMES, 2)
    low, high = sorted(draw.several(range(1, 10), 2))
    unit = draw.between(4, 30)
    total = unit * (low + high)
    kind = draw.pick(("coins", "stamps", "shells", "badges"))
    return Problem(
        f"{first} and {second} share {total} {kind} in the ratio {high} to {low}. "
        f"How many {kind} more than {second} does {first} get?",
        f"{unit * (high - low)}",
        (
            f"The ratio has {high} + {low} = {high + low} parts.",
            f"One part is {total} / {high + low} = {unit} {kind}.",
            f"{first} gets {high} - {low} = {counted(high - low, 'part')} more.",
            f"That is {high - low} * {unit} = {unit * (high - low)} {kind}.",
        ),
    )


def consecutive(draw: Draw) -> Problem:
    """Neighbouring numbers from their sum."""
    middle = draw.between(6, 120)
    return Problem(
        f"The sum of three consecutive whole numbers is {3 * middle}. "
        "What is the product of the smallest and the largest of them?",
        f"{(middle - 1) * (middle + 1)}",
        (
            f"The middle number is {3 * middle} / 3 = {middle}.",
            f"The smallest is {middle} - 1 = {middle - 1}, the largest {middle} + 1 = {middle + 1}.",
            f"Their product is {middle - 1} * {middle + 1} = {(middle - 1) * (middle + 1)}.",
        ),
    )


def ages(draw: Draw) -> Problem:
    """A multiple of an age, some years on."""
    older, younger = draw.several(NAMES, 2)
    times, age, years = draw.between(2, 6), draw.between(3, 14), draw.between(2, 20)
    now = times * age
    return Problem(
        f"{older} is {times} times as old as {younger}, who is {age} years old. "
        f"What will be the sum of their ages in {years} years?",
        f"{now + age + 2 * years}",
        (
            f"{older} is {times} * {age} = {now} years old.",
            f"In {years} years {older} will be {now} + {years} = {now + years} years old.",
            f"{younger} will be {age} + {years} = {age + years} years old.",
            f"The sum is {now + years} + {age + years} = {now + age + 2 * years}.",
        ),
    )


COUNTS: tuple[TaskType, ...] = (
    leftover,
    bus,
    reading,
    trucks,
    heads_and_legs,
    school_sport,
    ratio,
    consecutive,
    ages,
)
