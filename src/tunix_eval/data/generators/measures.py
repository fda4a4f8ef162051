"""Word problems about distances, areas, times, rates and temperatures."""

from __future__ import annotations

from tunix_eval.data.generators.problem import NAMES, Draw, Problem, TaskType, counted


def route(draw: Draw) -> Problem:
    """Two legs at two speeds, and what is left."""
    vehicle = draw.pick(("train", "coach", "lorry", "car"))
    v, h, w, k = draw.between(50, 110, step=5), draw.between(2, 5), draw.between(40, 95, step=5), draw.between(2, 4)
    done = v * h + w * k
    length = done + draw.between(20, 200)
    return Problem(
        f"A {vehicle} has a route of {length} km. It travels {h} hours at {v} km/h and then {k} hours at {w} km/h. "
        "How many kilometres are left?",
        f"{length - done}",
        (
            f"The first part is {h} * {v} = {h * v} km.",
            f"The second part is {k} * {w} = {k * w} km.",
            f"Together that is {h * v} + {k * w} = {done} km.",
            f"Left are {length} - {done} = {length - done} km.",
        ),
    )


def average_speed(draw: Draw) -> Problem:
    """Total distance over total time."""
    name, (verb, fast) = draw.pick(NAMES), draw.pick((("cycles", 90), ("walks", 24), ("rows", 36), ("skates", 60)))
    while True:
        d, e, h, k = draw.between(6, fast), draw.between(6, fast), draw.between(2, 4), draw.between(2, 5)
        if (d + e) % (h + k) == 0 and d != e:
            break
    return Problem(
        f"{name} {verb} {d} km in {h} hours, and after a rest {e} km in {k} hours. "
        "What is the average speed in km/h, without the rest?",
        f"{(d + e) // (h + k)}",
        (
            f"The whole distance is {d} + {e} = {d + e} km.",
            f"The whole time is {h} + {k} = {h + k} hours.",
            f"The average speed is {d + e} / {h + k} = {(d + e) // (h + k)} km/h.",
        ),
    )


def machines(draw: Draw) -> Problem:
    """A second machine joins in."""
    thing = draw.pick(("screws", "bottles", "boxes", "springs", "tiles"))
    r, s, alone, both = draw.between(20, 80), draw.between(20, 80), draw.between(2, 5), draw.between(2, 8)
    total = r * alone + (r + s) * both
    return Problem(
        f"One machine makes {r} {thing} an hour, another {s}. The first works alone for {alone} hours, then both work "
        f"until {total} {thing} are made. How many hours does it take in all?",
        f"{alone + both}",
        (
            f"Alone, the first machine makes {r} * {alone} = {r * alone} {thing}.",
            f"That leaves {total} - {r * alone} = {total - r * alone}.",
            f"Together they make {r} + {s} = {r + s} an hour.",
            f"They work together for {total - r * alone} / {r + s} = {both} hours.",
            f"In all it takes {alone} + {both} = {alone + both} hours.",
        ),
    )


def fence(draw: Draw) -> Problem:
    """A perimeter with a gap, at a price a metre."""
    place = draw.pick(("garden", "field", "playground", "orchard", "yard"))
    length, width = draw.between(20, 60), draw.between(8, 19)
    gate, cost = draw.between(2, 5), draw.between(4, 25)
    around = 2 * (length + width)
    return Problem(
        f"A rectangular {place} is {length} m long and {width} m wide. A fence at ${cost} a metre goes around it, "
        f"except for a gate of {gate} m. How many dollars does the fence cost?",
        f"{(around - gate) * cost}",
        (
            f"The perimeter is 2 * ({length} + {width}) = {around} m.",
            f"Without the gate it is {around} - {gate} = {around - gate} m.",
            f"The fence costs {around - gate} * {cost} = {(around - gate) * cost} dollars.",
        ),
    )


def tiles(draw: Draw) -> Problem:
    """Tiles by area, bought in boxes."""
    room = draw.pick(("kitchen", "hall", "bathroom", "cellar"))
    length, width = draw.between(2, 8), draw.between(2, 6)
    side, box = draw.pick((20, 25, 50)), draw.pick((10, 12, 16, 18, 24))
    across, down = 100 // side * length, 100 // side * width
    count = across * down
    boxes = -(-count // box)
    return Problem(
        f"The floor of a {room} is {length} m by {width} m. It is covered with square tiles of {side} cm, which come "
        f"in boxes of {box}. How many boxes are needed?",
        f"{boxes}",
        (
            f"Along the length there are {length} * 100 / {side} = {across} tiles.",
            f"Along the width there are {width} * 100 / {side} = {down} tiles.",
            f"The floor needs {across} * {down} = {count} tiles.",
            f"One box fewer would hold {boxes - 1} * {box} = {(boxes - 1) * box} tiles, which is too few.",
            f"With {boxes} there are {boxes} * {box} = {boxes * box} tiles, which is enough.",
        ),
    )


def tank(draw: Draw) -> Problem:
    """Filling against a leak."""
    vessel = draw.pick(("tank", "pool", "pond", "cistern"))
    inflow, leak, start = draw.between(12, 40), draw.between(2, 9), draw.between(10, 90)
    minutes = draw.between(6, 45)
    rate = inflow - leak
    capacity = start + rate * minutes
    return Problem(
        f"A {vessel} for {capacity} litres holds {start} litres. Every minute {inflow} litres flow in and "
        f"{leak} litres leak out. After how many minutes is it full?",
        f"{minutes}",
        (
            f"There is room for {capacity} - {start} = {capacity - start} litres.",
            f"Each minute adds {inflow} - {leak} = {rate} litres.",
            f"It is full after {capacity - start} / {rate} = {minutes} minutes.",
        ),
    )


def clock(draw: Draw) -> Problem:
    """A time of day some minutes on."""
    event = draw.pick(("film", "concert", "play", "match", "lecture"))
    hour, minute = draw.between(8, 19), draw.between(0, 55, step=5)
    length, pause = draw.between(65, 150), draw.between(5, 25)
    total = length + pause
    full, rest = divmod(total, 60)
    end = hour * 60 + minute + total
    return Problem(
        f"A {event} starts at {hour:02d}:{minute:02d}. It lasts {length} minutes, and there is a break of {pause} "
        "minutes as well. At what time does it end? Answer as hh:mm on the 24-hour clock.",
        f"{end // 60:02d}:{end % 60:02d}",
        (
            f"With the break it takes {length} + {pause} = {total} minutes.",
            f"That is {full} h and {rest} min, because {total} - {full} * 60 = {rest}.",
            f"{full} h after {hour:02d}:{minute:02d} it is {hour + full:02d}:{minute:02d}.",
            f"{rest} min later it is {end // 60:02d}:{end % 60:02d}.",
        ),
    )


def temperature(draw: Draw) -> Problem:
    """A fall and a rise, possibly below zero."""
    place = draw.pick(("the harbour", "the summit", "the valley", "the airport", "the old mill"))
    start, fall, hours = draw.between(-5, 18), draw.between(2, 5), draw.between(3, 7)
    rise, more = draw.between(2, 4), draw.between(2, 5)
    low = start - fall * hours
    return Problem(
        f"At {place} it is {counted(start, 'degree')}. The temperature falls by {fall} degrees an hour for {hours} "
        f"hours, then rises by {rise} degrees an hour for {more} hours. How many degrees is it then?",
        f"{low + rise * more}",
        (
            f"It falls by {fall} * {hours} = {fall * hours} degrees, to {start} - {fall * hours} = {low}.",
            f"It rises by {rise} * {more} = {rise * more} degrees.",
            f"Then it is {low} + {rise * more} = {counted(low + rise * more, 'degree')}.",
        ),
    )


def recipe(draw: Draw) -> Problem:
    """A recipe for more people, with some of it at hand."""
    name, stuff = draw.pick(NAMES), draw.pick(("flour", "rice", "sugar", "butter", "lentils"))
    people, each = draw.between(2, 6), draw.between(20, 90, step=5)
    guests = people + draw.between(2, 12)
    has = draw.between(10, each * guests - 10, step=5)
    return Problem(
        f"A recipe for {people} people needs {people * each} g of {stuff}. {name} cooks it for {guests} people and has "
        f"{has} g of {stuff}. How many more grams are needed?",
        f"{each * guests - has}",
        (
            f"One person needs {people * each} / {people} = {each} g.",
            f"{guests} people need {guests} * {each} = {guests * each} g.",
            f"Still needed are {guests * each} - {has} = {guests * each - has} g.",
        ),
    )


MEASURES: tuple[TaskType, ...] = (
    route,
    average_speed,
    machines,
    fence,
    tiles,
    tank,
    clock,
    temperature,
    recipe,
)
