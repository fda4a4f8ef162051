"""Units of measure and currencies: their spellings, and what of each makes another."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_TABLE = (
    # base, how many of it, spellings
    ("m", "1", "m meter meters metre metres"),
    ("m", "1000", "km kms kilometer kilometers kilometre kilometres"),
    ("m", "1/100", "cm cms centimeter centimeters centimetre centimetres"),
    ("m", "1/10", "dm decimeter decimeters decimetre decimetres"),
    ("m", "1/1000", "mm millimeter millimeters millimetre millimetres"),
    ("m", "1/1000000", "μm micrometer micrometers micrometre micrometres micron microns"),
    ("m", "1/1000000000", "nm nanometer nanometers nanometre nanometres"),
    ("m", "0.0254", 'in inch inches "'),
    ("m", "0.3048", "ft foot feet"),
    ("m", "0.9144", "yd yds yard yards"),
    ("m", "1609.344", "mi mile miles"),
    ("g", "1", "g gram grams gramme grammes"),
    ("g", "1000", "kg kgs kilo kilos kilogram kilograms kilogramme kilogrammes"),
    ("g", "1/1000", "mg milligram milligrams"),
    ("g", "1/1000000", "μg microgram micrograms"),
    ("g", "1000000", "tonne tonnes"),
    ("ton", "1", "ton tons"),
    ("lb", "1", "lb lbs"),
    ("pound", "1", "pound pounds"),
    ("lb", "1/16", "oz ounce ounces"),
    ("L", "1", "L l liter liters litre litres"),
    ("L", "1/1000", "mL ml milliliter milliliters millilitre millilitres"),
    ("L", "1/100", "cL cl centiliter centiliters centilitre centilitres"),
    ("L", "1/10", "dL dl deciliter deciliters decilitre decilitres"),
    ("gal", "1", "gal gallon gallons"),
    ("gal", "1/4", "qt quart quarts"),
    ("gal", "1/8", "pint pints"),
    ("s", "1", "s sec secs second seconds"),
    ("s", "1/1000", "ms millisecond milliseconds"),
    ("s", "60", "min mins minute minutes"),
    ("s", "3600", "h hr hrs hour hours"),
    ("s", "86400", "day days"),
    ("s", "604800", "wk wks week weeks"),
    ("month", "1", "month months"),
    ("month", "12", "yr yrs year years"),
    ("ha", "1", "ha hectare hectares"),
    ("acre", "1", "acre acres"),
    ("°", "1", "° deg degree degrees"),
    ("rad", "1", "rad rads radian radians"),
    ("°C", "1", "°C celsius"),
    ("°F", "1", "°F fahrenheit"),
    ("K", "1", "K kelvin kelvins"),
    ("N", "1", "N newton newtons"),
    ("N", "1000", "kN kilonewton kilonewtons"),
    ("J", "1", "J joule joules"),
    ("J", "1000", "kJ kilojoule kilojoules"),
    ("cal", "1", "cal calorie calories"),
    ("cal", "1000", "kcal kilocalorie kilocalories"),
    ("W", "1", "W watt watts"),
    ("W", "1000", "kW kilowatt kilowatts"),
    ("W", "1000000", "MW megawatt megawatts"),
    ("kWh", "1", "kWh kilowatt-hours"),
    ("V", "1", "V volt volts"),
    ("A", "1", "A amp amps ampere amperes"),
    ("Ω", "1", "Ω ohm ohms"),
    ("Pa", "1", "Pa pascal pascals"),
    ("Pa", "1000", "kPa kilopascal kilopascals"),
    ("Hz", "1", "Hz hertz"),
    ("Hz", "1000", "kHz kilohertz"),
    ("Hz", "1000000", "MHz megahertz"),
    ("Hz", "1000000000", "GHz gigahertz"),
    ("mol", "1", "mol mole moles"),
    ("$", "1", "$ US$ USD dollar dollars buck bucks"),
    ("$", "1/100", "¢ cent cents"),
    ("€", "1", "€ EUR euro euros"),
    ("£", "1", "£ GBP"),
    ("¥", "1", "¥ JPY yen"),
    ("₹", "1", "₹ INR Rs Rs. rupee rupees"),
    ("CN¥", "1", "CNY RMB yuan"),
    ("CHF", "1", "CHF franc francs"),
    ("CA$", "1", "CA$ C$ CAD"),
    ("AU$", "1", "AU$ A$ AUD"),
    ("%", "1", "% percent pct"),
)
_KNOWN = {word: (base, Fraction(size)) for base, size, words in _TABLE for word in words.split()}
_ANY_CASE = {word.casefold(): _KNOWN[word] for word in _KNOWN if len(word) > 2} | {
    word: _KNOWN[word] for word in ("km", "kg", "cm", "mm", "ml", "ft", "hr", "lb", "oz", "yd")
}
"""Spellings that are known in any case; M and m, MW and mW are not the same."""
_SPEEDS = {"mph": ("mi", "h"), "kph": ("km", "h"), "kmh": ("km", "h"), "kmph": ("km", "h"), "fps": ("ft", "s")}
_EITHER = {frozenset(("pound", "£")), frozenset(("pound", "lb"))}
"""Pounds are money or weight; who writes them does not say."""

_ATOM = re.compile(
    r"""
    (?:(?P<power_before>square|sq\.?|cubic|cu\.?)[ ])?
    (?P<name>(?:°[ ]?|degrees?[ ])(?:C(?:elsius)?|F(?:ahrenheit)?)(?![A-Za-z])|[A-Za-zμΩ]++|[°"¢])
    (?:\^\(?(?P<power>-?[1-9])\)?|(?P<raised>[²³])|[ ](?P<word>squared|cubed)(?!\w))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OVER = re.compile(r"[ ]?/[ ]?|[ ]per[ ]|[ ]?·[ ]?", re.IGNORECASE)
_INCHES = re.compile(r"\.?[ ]*(?:$|[.,;:)\n^²³])")
_RAISED = {"²": 2, "³": 3, "squared": 2, "cubed": 3, "square": 2, "sq": 2, "cubic": 3, "cu": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """A product of powers of bases, and how many of that product one unit is."""

    bases: tuple[tuple[str, int], ...]
    size: Fraction = Fraction(1)

    def same_kind(self, other: Unit) -> bool:
        """Tell whether two units measure the same, so that a number of one is a number of the other.

        >>> unit_of("km").same_kind(unit_of("inches")), unit_of("lbs").same_kind(unit_of("$"))
        (True, False)
        """
        if self.bases == other.bases:
            return True
        one, two = (unit.bases[0][0] if len(unit.bases) == 1 else "" for unit in (self, other))
        return frozenset((one, two)) in _EITHER


PERCENT = Unit((("%", 1),))


def unit_of(word: str) -> Unit:
    """Return a unit by one of its spellings.

    Raises:
        KeyError: it is not in the table.
    """
    base, size = _KNOWN[word]
    return Unit(((base, 1),), size)


def read_unit(text: str, at: int) -> tuple[Unit, int] | None:
    """Return the unit that stands at a place, and where it ends; None where there is none that is known.

    >>> read_unit("km/h, they say", 0)
    (Unit(bases=(('m', 1), ('s', -1)), size=Fraction(5, 18)), 4)
    >>> read_unit("square feet", 0)[0] == read_unit("ft^2", 0)[0], read_unit("in total", 0)
    (True, None)
    """
    powers: dict[str, int] = {}
    size, sign, end = Fraction(1), 1, at
    while True:
        atom = _ATOM.match(text, end)
        parts = _parts(atom, text) if atom else None
        if atom is None or parts is None:
            break
        power = sign * _power(atom)
        for base, factor, own in parts:
            powers[base] = powers.get(base, 0) + power * own
            size *= factor ** (power * own)
        end = over_at = atom.end()
        over = _OVER.match(text, end)
        if not over:
            break
        sign, end = (1 if "·" in over[0] else -1), over.end()
        following = _ATOM.match(text, end)
        if not following or _parts(following, text) is None:
            end = over_at
            break
    bases = tuple(sorted((base, power) for base, power in powers.items() if power))
    return (Unit(bases, size), end) if powers else None


def _parts(atom: re.Match[str], text: str) -> list[tuple[str, Fraction, int]] | None:
    """Return base, size and power of each unit in a name: `mph` is two."""
    name = atom["name"]
    if name[0] == "°" or name[:6].casefold() == "degree":
        scale = name.rstrip().removeprefix("°").lstrip("degrsDEGRS ").casefold()[:1]
        name = f"°{scale.upper()}" if scale in ("c", "f") else name
    if name == "in" and not _INCHES.match(text, atom.end()):
        return None
    if speed := _SPEEDS.get(name.casefold()):
        return [(*_KNOWN[speed[0]], 1), (*_KNOWN[speed[1]], -1)]
    known = _KNOWN.get(name) or _ANY_CASE.get(name.casefold())
    return [(*known, 1)] if known else None


def _power(atom: re.Match[str]) -> int:
    if atom["power"]:
        return int(atom["power"])
    word = atom["raised"] or atom["word"] or atom["power_before"]
    return _RAISED[word.casefold().rstrip(".")] if word else 1
