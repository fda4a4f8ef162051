"""`tunix-eval list`: everything that has a name, as pytest in this folder sees it."""

from __future__ import annotations

import argparse
from collections import Counter

from tunix_eval.cli.terminal import columns
from tunix_eval.data import FAMILIES
from tunix_eval.errors import unknown_name
from tunix_eval.figures import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("kind", metavar="KIND", nargs="?", help="only this kind: dataset, evalset, renderer, ..")


def run(arguments: argparse.Namespace) -> tuple[list[str], int]:
    """Return a line a name; 1 where an offer is broken or two share a name."""
    from tunix_eval.cli.bridge import KINDS, Catalogue, with_registry

    asked = arguments.kind
    if asked is not None and asked.removesuffix("s") not in KINDS:
        raise unknown_name("kind of thing", asked, KINDS)
    kinds = [kind for kind in KINDS if asked is None or kind == asked.removesuffix("s")]

    def found(registry: Catalogue) -> tuple[dict[str, list[tuple[str, str]]], list[str]]:
        return {kind: registry.offers(kind) for kind in kinds}, registry.broken

    offers, broken = with_registry(found)
    lines: list[str] = []
    twice = []
    width = max((len(_shown(kind, *offer)) for kind in kinds for offer in offers[kind]), default=0)
    for kind in kinds:
        times = Counter(name for name, _ in offers[kind])
        twice += [f"two {kind}s are named '{name}'; rename one" for name, count in times.items() if count > 1]
        rows = [(_shown(kind, name, source).ljust(width), printable(source)) for name, source in offers[kind]]
        lines += [f"{kind}s ({len(rows):,})", *columns(rows or [("none", "")], indent="  ")]
    flaws = [*broken, *twice]
    if flaws:
        lines += ["broken", *(f"  {printable(flaw)}" for flaw in flaws)]
    return lines, 1 if flaws else 0


def _shown(kind: str, name: str, source: str) -> str:
    """Return a name, that of a family with the edition that it stands for."""
    alias = kind == "renderer" and source == "tunix-eval" and name in FAMILIES
    return f"{name} = {FAMILIES[name]}" if alias else printable(name)
