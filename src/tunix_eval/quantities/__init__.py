"""Quantities: numbers as people and models write them, with sign, scale, currency and unit.

One grammar for all who look for numbers: the `numeric` scorer, the answer rule `last_number`, and the splits of
`tunix-eval ingest`.
"""

from tunix_eval.quantities.grammar import Quantity
from tunix_eval.quantities.reading import LastNumber, Stated, answered_quantity, last_number, stated_quantity
from tunix_eval.quantities.units import PERCENT, Unit

__all__ = ["PERCENT", "LastNumber", "Quantity", "Stated", "Unit", "answered_quantity", "last_number", "stated_quantity"]
